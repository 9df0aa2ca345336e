"""From the chosen range to the window of event time and its buckets; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A range that the page offers, and how fine its chart over time is."""

    key: str
    """As it stands on the button and in the address."""
    words: str
    """As it is read in a sentence, after "the"."""
    length: timedelta
    bucket: timedelta
    bucket_words: str


RANGES = (
    Range(
        key="15 min",
        words="last 15 minutes",
        length=timedelta(minutes=15),
        bucket=timedelta(minutes=1),
        bucket_words="minute",
    ),
    Range(key="1 h", words="last hour", length=timedelta(hours=1), bucket=timedelta(minutes=1), bucket_words="minute"),
    Range(
        key="6 h",
        words="last 6 hours",
        length=timedelta(hours=6),
        bucket=timedelta(minutes=10),
        bucket_words="10 minutes",
    ),
    Range(
        key="24 h",
        words="last 24 hours",
        length=timedelta(hours=24),
        bucket=timedelta(minutes=10),
        bucket_words="10 minutes",
    ),
    Range(key="7 d", words="last 7 days", length=timedelta(days=7), bucket=timedelta(hours=1), bucket_words="hour"),
)
DEFAULT = RANGES[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The half-open interval [start, end) of event time, cut into buckets of one width."""

    start: datetime
    end: datetime
    width: timedelta

    @property
    def buckets(self) -> tuple[datetime, ...]:
        """The start of every bucket; the last one is unfinished."""
        return tuple(self.start + i * self.width for i in range((self.end - self.start) // self.width))


def range_named(key: str | None) -> Range:
    """Return the range with this key, or the default."""
    return next((offered for offered in RANGES if offered.key == key), DEFAULT)


def window(chosen: Range, now: datetime) -> Window:
    """Return the window of the range that ends with the bucket that is running now.

    It starts at a bucket's start and so holds the whole range, plus what has passed of the running bucket.
    """
    running = bucket_start(now, chosen.bucket)
    return Window(start=running - chosen.length, end=running + chosen.bucket, width=chosen.bucket)


def bucket_start(at: datetime, width: timedelta) -> datetime:
    """Return the start of the bucket that holds the instant."""
    return EPOCH + (at - EPOCH) // width * width


def to_ms(at: datetime) -> int:
    """Return the instant as milliseconds since 1970, as `event_timestamp` counts them."""
    return (at - EPOCH) // MILLISECOND


def from_ms(ms: int) -> datetime:
    """Return the instant of an `event_timestamp`."""
    return EPOCH + ms * MILLISECOND
