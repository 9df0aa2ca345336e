"""The window of event time of a chosen range, its buckets, and the level of rollups to read; pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from streamapp.rollups.levels import LEVELS, Keep, Level, kept_since

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

#: The longest window of each level: a chart has about 180 points at most.
_UP_TO = tuple(zip(LEVELS, (timedelta(hours=3), timedelta(hours=26), timedelta(days=7), timedelta.max), strict=True))
_BUCKET_WORDS = dict(zip(LEVELS, ("minute", "10 minutes", "hour", "day (UTC)"), strict=True))
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=400)
_LAST = datetime(2999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A range that the page offers, or one that a visitor drew."""

    key: str
    """Text on the button and in the address."""
    words: str
    """Text in a sentence, after "the"."""
    length: timedelta
    start: datetime | None = None
    """None: it ends now."""

    @property
    def is_custom(self) -> bool:
        """Whether it is a fixed period."""
        return self.start is not None


RANGES = (
    Range(key="15 min", words="last 15 minutes", length=timedelta(minutes=15)),
    Range(key="1 h", words="last hour", length=timedelta(hours=1)),
    Range(key="6 h", words="last 6 hours", length=timedelta(hours=6)),
    Range(key="24 h", words="last 24 hours", length=timedelta(hours=24)),
    Range(key="7 d", words="last 7 days", length=timedelta(days=7)),
    Range(key="30 d", words="last 30 days", length=timedelta(days=30)),
    Range(key="90 d", words="last 90 days", length=timedelta(days=90)),
)
DEFAULT = RANGES[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The half-open interval [start, end) of event time, in whole buckets of one level."""

    start: datetime
    end: datetime
    level: Level
    is_running: bool
    """Whether its last bucket is unfinished."""
    ends_now: bool = False
    """Whether it is that of a range that ends now: a moment later, the range has another window."""

    @property
    def range(self) -> Hashable:
        """What all windows of the same range have in common."""
        return (self.level, self.end - self.start) if self.ends_now else self

    @property
    def width(self) -> timedelta:
        """How long a bucket is."""
        return self.level.width

    @property
    def bucket_words(self) -> str:
        """How long a bucket is, after "per"."""
        return _BUCKET_WORDS[self.level]

    @property
    def buckets(self) -> tuple[datetime, ...]:
        """The start of every bucket."""
        return tuple(self.start + i * self.width for i in range((self.end - self.start) // self.width))

    @property
    def finished_end(self) -> datetime:
        """The end of the last bucket that is finished."""
        return self.end - self.width if self.is_running else self.end

    @property
    def previous_start(self) -> datetime:
        """The start of the period before it that is as long as its finished part."""
        return self.start - (self.finished_end - self.start)


def range_named(key: str | None) -> Range:
    """Return the range with this key, or the default."""
    return next((offered for offered in RANGES if offered.key == key), DEFAULT)


def custom(start_ms: str | None, end_ms: str | None) -> Range | None:
    """Return the range between two instants in epoch ms, None if they are none."""
    try:
        start, end = from_ms(int(start_ms or "")), from_ms(int(end_ms or ""))
    except (ValueError, OverflowError):
        return None
    # An address can have any period; a chart of a million buckets would take too long.
    if start < EPOCH or end > _LAST or not SHORTEST <= end - start <= LONGEST:
        return None
    return Range(key=f"{start_ms}-{end_ms}", words="chosen period", length=end - start, start=start)


def drawn(edges: Sequence[str], zone: tzinfo) -> tuple[int, int] | None:
    """Return the ends, epoch ms, of a period drawn over a chart, whose edges have no time zone."""
    try:
        start, end = sorted(to_ms(datetime.fromisoformat(edge).replace(tzinfo=zone)) for edge in edges)
    except (ValueError, TypeError):
        return None
    return (start, end) if from_ms(end) - from_ms(start) >= SHORTEST else (start, start + SHORTEST // MILLISECOND)


def window(chosen: Range, now: datetime, keep: Keep | None = None) -> Window:
    """Return the window of the range; a range that ends now ends with the running bucket.

    It starts at the start of a bucket, and so holds the whole range and the elapsed part of the running bucket.
    """
    start = chosen.start or now - chosen.length
    level = _level(chosen.length, max(EPOCH, start - chosen.length), now, keep or {})
    last = start + chosen.length - (MILLISECOND if chosen.is_custom else timedelta())
    running = bucket_start(last, level.width)
    return Window(
        start=bucket_start(start, level.width),
        end=running + level.width,
        level=level,
        is_running=running + level.width > now,
        ends_now=not chosen.is_custom,
    )


def bucket_start(at: datetime, width: timedelta) -> datetime:
    """Return the start of the bucket that holds the instant."""
    return EPOCH + (at - EPOCH) // width * width


def to_ms(at: datetime) -> int:
    """Return the instant as milliseconds since 1970, as `event_timestamp` counts them."""
    return (at - EPOCH) // MILLISECOND


def from_ms(ms: int) -> datetime:
    """Return the instant of an `event_timestamp`."""
    return EPOCH + ms * MILLISECOND


def _level(length: timedelta, start: datetime, now: datetime, keep: Keep) -> Level:
    """The finest level for this length that has all buckets since the start."""
    fit = [level for level, longest in _UP_TO if length <= longest]
    return next((level for level in fit if to_ms(start) >= kept_since(level, keep, now)), LEVELS[-1])
