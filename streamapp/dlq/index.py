"""Dead letters, parsed from their headers: filtered, classified by state, counted by reason, and planned for replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property

from streamapp.decode.document import id_of
from streamapp.model.omitted import omitted_size
from streamapp.model.record import Origin, Reason, Record, UnreadableRecords, origin_from_headers, streamapp_headers
from streamapp.model.replays import is_signed

#: Of a schema id, which is an unsigned 32-bit integer.
_MAX_ID_DIGITS = 10


class State(StrEnum):
    """The state of a dead letter's event."""

    OPEN = "open"
    #: The original topic has a record of it that the worker's group has not committed yet.
    IN_TOPIC = "in topic"
    STORED = "stored"
    #: The event failed again, or its dead letter was delivered twice: a later dead letter replaces this one.
    SUPERSEDED = "superseded"
    #: MongoDB is unreachable.
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, eq=False)
class Letter:
    """One dead letter, without key and value."""

    #: Its position in the dead-letter topic.
    partition: int
    offset: int
    origin: Origin
    reason: Reason
    error: str
    schema_id: int | None
    #: UTC.
    failed_at: datetime
    #: Bytes of key and value together.
    size: int
    #: Whether a worker believes the letter's coordinates once it is replayed: it is signed, or there is no signing key.
    is_trusted: bool = True

    @property
    def attempt(self) -> int:
        """How many times the event has failed, this failure included."""
        return self.origin.failures

    @cached_property
    def event_id(self) -> str:
        """The `_id` of its event in MongoDB, whether stored or not."""
        return id_of(self.origin)

    def is_after(self, other: Letter) -> bool:
        """Whether it is of a later failure of the same event than `other`."""
        return self._age > other._age

    @property
    def _age(self) -> tuple[int, datetime, int, int]:
        return self.attempt, self.failed_at, self.partition, self.offset


def parse_letter(record: Record, signing_key: bytes | None = None) -> Letter | None:
    """Parse a record of the dead-letter topic; return None if it lacks the headers of a dead letter."""
    origin, headers = origin_from_headers(record.headers), streamapp_headers(record.headers)
    try:
        failed_at = _utc(datetime.fromisoformat(headers["failed_at"].decode()))
        reason = Reason(headers["reason"].decode())
    except (KeyError, ValueError, OverflowError):
        return None
    return origin and Letter(
        partition=record.partition,
        offset=record.offset,
        origin=origin,
        reason=reason,
        error=headers.get("error", b"").decode(errors="replace"),
        schema_id=_number(headers.get("schema_id", b"")),
        failed_at=failed_at,
        size=len(record.key or b"") + len(record.value or b"") + omitted_size(record),
        is_trusted=signing_key is None or is_signed(signing_key, record.headers, record.key, record.value),
    )


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= _MAX_ID_DIGITS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Selects dead letters; the default selects all."""

    reasons: Collection[str] = ()
    #: Partition of the original topic.
    partition: int | None = None
    #: Half-open interval of the time of failure: `since` inclusive, `until` exclusive.
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, letter: Letter) -> bool:
        """Whether a dead letter is selected."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.partition is None or letter.origin.partition == self.partition)
            and (self.since is None or letter.failed_at >= self.since)
            and (self.until is None or letter.failed_at < self.until)
        )


@dataclass(slots=True)
class DeadLetterIndex:
    """All dead letters of the topic, and the latest one of each event."""

    letters: list[Letter] = field(default_factory=list[Letter])
    #: Partition and offset of records that are not dead letters of streamapp.
    unrecognized: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    #: Batches of the topic that cannot be read.
    unreadable: list[UnreadableRecords] = field(default_factory=list[UnreadableRecords])
    _latest: dict[str, Letter] = field(default_factory=dict[str, Letter])
    signing_key: bytes | None = field(default=None, repr=False)

    def add(self, record: Record) -> None:
        """Add a record of the dead-letter topic."""
        if isinstance(record, UnreadableRecords):
            self.unreadable.append(record)
            return
        letter = parse_letter(record, self.signing_key)
        if letter is None:
            self.unrecognized.append((record.partition, record.offset))
            return
        self.letters.append(letter)
        before = self._latest.get(letter.event_id)
        if before is None or letter.is_after(before):
            self._latest[letter.event_id] = letter

    def is_latest(self, letter: Letter) -> bool:
        """Whether there is no later dead letter of the same event."""
        return self._latest[letter.event_id] is letter

    def latest_of(self, topic: str, partition: int, offset: int) -> Letter | None:
        """Return the latest dead letter of an original record, of the latest topic id if there are several."""
        coordinates = (topic, partition, offset)
        found = [each for each in self._latest.values() if each.origin[:3] == coordinates]
        return max(found, key=lambda letter: letter.failed_at, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedDeadLetter:
    """A dead letter and the state of its event."""

    letter: Letter
    state: State


def classify(
    letters: Iterable[Letter],
    index: DeadLetterIndex,
    *,
    stored_ids: Collection[str] | None,
    unread_ids: Collection[str],
) -> Sequence[ClassifiedDeadLetter]:
    """Add to each dead letter its state.

    Args:
        letters: the dead letters to classify.
        index: all dead letters.
        stored_ids: event ids that are stored; None if MongoDB is unreachable.
        unread_ids: event ids with a record that the worker's group has not committed yet.
    """

    def state_of(letter: Letter) -> State:
        if not index.is_latest(letter):
            return State.SUPERSEDED
        if stored_ids is not None and letter.event_id in stored_ids:
            return State.STORED
        if letter.event_id in unread_ids:
            return State.IN_TOPIC
        return State.UNKNOWN if stored_ids is None else State.OPEN

    return [ClassifiedDeadLetter(letter=letter, state=state_of(letter)) for letter in letters]


@dataclass(slots=True, kw_only=True)
class ReasonSummary:
    """The dead letters of one reason, counted."""

    reason: str
    first_failed_at: datetime
    last_failed_at: datetime
    states: Counter[State] = field(default_factory=Counter[State])
    #: Number of dead letters by attempt.
    attempts: Counter[int] = field(default_factory=Counter[int])

    def add(self, one: ClassifiedDeadLetter) -> None:
        """Count a dead letter."""
        self.states[one.state] += 1
        self.attempts[one.letter.attempt] += 1
        self.first_failed_at = min(self.first_failed_at, one.letter.failed_at)
        self.last_failed_at = max(self.last_failed_at, one.letter.failed_at)


def histogram(letters: Iterable[ClassifiedDeadLetter]) -> Sequence[ReasonSummary]:
    """Count dead letters by reason; the most frequent reason comes first."""
    summaries: dict[str, ReasonSummary] = {}
    for one in letters:
        at = one.letter.failed_at
        empty = ReasonSummary(reason=one.letter.reason, first_failed_at=at, last_failed_at=at)
        summaries.setdefault(one.letter.reason, empty).add(one)
    return sorted(summaries.values(), key=lambda summary: (-summary.states.total(), summary.reason))


#: Why a replay skips a dead letter, besides its state.
OTHER_TOPIC = "of another topic"
TOO_MANY_REPLAYS = "replayed too often"
UNSIGNED = "without a valid signature"
OVER_LIMIT = "beyond the limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """The dead letters that a replay sends, and how many it skips."""

    #: By partition and offset of the original record.
    letters: Sequence[Letter]
    #: Number of skipped dead letters by reason of the skip.
    skipped: Mapping[str, int]


def plan_replay(letters: Iterable[ClassifiedDeadLetter], *, topic: str, max_replays: int, limit: int) -> ReplayPlan:
    """Choose the open dead letters of a topic that have fewer than `max_replays` replays; `limit` 0 means all."""
    chosen: list[Letter] = []
    skipped = Counter[str]()
    for one in sorted(letters, key=lambda one: (one.letter.origin.partition, one.letter.origin.offset)):
        reason = _skip_reason(one, topic, max_replays) or (OVER_LIMIT if limit and len(chosen) == limit else None)
        if reason:
            skipped[reason] += 1
        else:
            chosen.append(one.letter)
    return ReplayPlan(letters=chosen, skipped=skipped)


def _skip_reason(one: ClassifiedDeadLetter, topic: str, max_replays: int) -> str | None:
    if one.state is not State.OPEN:
        return one.state
    if one.letter.origin.topic != topic:
        return OTHER_TOPIC
    if not one.letter.is_trusted:
        return UNSIGNED
    # The first attempt is not a replay.
    return TOO_MANY_REPLAYS if one.letter.attempt > max_replays else None
