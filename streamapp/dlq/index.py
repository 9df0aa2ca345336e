"""Dead letters as they lie in their topic: read from headers, chosen, counted, and what has become of each since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property

from streamapp.decode.document import id_of
from streamapp.model.record import Origin, Reason, Record, origin_from_headers, streamapp_headers

#: Of a schema id, which is an unsigned number of 32 bits.
_MOST_DIGITS = 10


class State(StrEnum):
    """What has become of a dead letter's event."""

    OPEN = "open"
    #: A record of it is in the topic that the worker's group has still to read.
    IN_TOPIC = "in topic"
    STORED = "stored"
    #: It failed again, or the same dead letter was delivered again: a later one stands for it.
    SUPERSEDED = "superseded"
    #: Not asked: MongoDB is away.
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, eq=False)
class Letter:
    """One dead letter, without the bytes of its record."""

    #: Where it lies in the dead-letter topic.
    partition: int
    offset: int
    origin: Origin
    reason: Reason
    error: str
    schema_id: int | None
    #: In UTC.
    failed_at: datetime
    #: Bytes of key and value.
    size: int

    @property
    def attempt(self) -> int:
        """How often the event has failed, this time included."""
        return self.origin.failures

    @cached_property
    def event_id(self) -> str:
        """The `_id` under which its event is stored, if it ever is."""
        return id_of(self.origin)

    def is_after(self, other: Letter) -> bool:
        """Whether it tells of a later failure of the same event."""
        return self._age > other._age

    @property
    def _age(self) -> tuple[int, datetime, int, int]:
        return self.attempt, self.failed_at, self.partition, self.offset


def letter_in(record: Record) -> Letter | None:
    """The dead letter that a record is; None if its headers are not ours."""
    origin, ours = origin_from_headers(record.headers), streamapp_headers(record.headers)
    try:
        failed_at = _utc(datetime.fromisoformat(ours["failed_at"].decode()))
        reason = Reason(ours["reason"].decode())
    except (KeyError, ValueError, OverflowError):
        return None
    return origin and Letter(
        partition=record.partition,
        offset=record.offset,
        origin=origin,
        reason=reason,
        error=ours.get("error", b"").decode(errors="replace"),
        schema_id=_number(ours.get("schema_id", b"")),
        failed_at=failed_at,
        size=len(record.key or b"") + len(record.value or b""),
    )


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= _MOST_DIGITS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters are meant; all of them where nothing is said."""

    reasons: Collection[str] = ()
    #: Of the original topic.
    partition: int | None = None
    #: The times at which they failed: from `since` on, before `until`.
    since: datetime | None = None
    until: datetime | None = None

    def has(self, letter: Letter) -> bool:
        """Whether this one is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.partition is None or letter.origin.partition == self.partition)
            and (self.since is None or letter.failed_at >= self.since)
            and (self.until is None or letter.failed_at < self.until)
        )


@dataclass(slots=True)
class DeadLetterIndex:
    """All dead letters of the topic, and which is the last of each event."""

    letters: list[Letter] = field(default_factory=list[Letter])
    #: Records that are no dead letters of ours: partition and offset.
    foreign: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    _last: dict[str, Letter] = field(default_factory=dict[str, Letter])

    def add(self, record: Record) -> None:
        """Put one more record of the dead-letter topic on it."""
        letter = letter_in(record)
        if letter is None:
            self.foreign.append((record.partition, record.offset))
            return
        self.letters.append(letter)
        before = self._last.get(letter.event_id)
        if before is None or letter.is_after(before):
            self._last[letter.event_id] = letter

    def is_last(self, letter: Letter) -> bool:
        """Whether no later one tells of the same event."""
        return self._last[letter.event_id] is letter

    def last_of(self, topic: str, partition: int, offset: int) -> Letter | None:
        """The last dead letter of what stood there; of the topic's latest life, if there are several."""
        place = (topic, partition, offset)
        found = [each for each in self._last.values() if each.origin[:3] == place]
        return max(found, key=lambda letter: letter.failed_at, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedDeadLetter:
    """A dead letter and what has become of it."""

    letter: Letter
    state: State


def classified(
    letters: Iterable[Letter], index: DeadLetterIndex, *, stored: Collection[str] | None, in_topic: Collection[str]
) -> Sequence[ClassifiedDeadLetter]:
    """Each with its state; `stored` and `in_topic` hold ids of events, and no `stored` means that nobody knows."""

    def state_of(letter: Letter) -> State:
        if not index.is_last(letter):
            return State.SUPERSEDED
        if stored is not None and letter.event_id in stored:
            return State.STORED
        if letter.event_id in in_topic:
            return State.IN_TOPIC
        return State.UNKNOWN if stored is None else State.OPEN

    return [ClassifiedDeadLetter(letter=letter, state=state_of(letter)) for letter in letters]


@dataclass(slots=True, kw_only=True)
class ReasonRow:
    """A reason, and how often it stands in dead letters."""

    reason: str
    first_failed_at: datetime
    last_failed_at: datetime
    states: Counter[State] = field(default_factory=Counter[State])
    #: How many letters there are of which attempt.
    attempts: Counter[int] = field(default_factory=Counter[int])

    def note(self, one: ClassifiedDeadLetter) -> None:
        """Count one more."""
        self.states[one.state] += 1
        self.attempts[one.letter.attempt] += 1
        self.first_failed_at = min(self.first_failed_at, one.letter.failed_at)
        self.last_failed_at = max(self.last_failed_at, one.letter.failed_at)


def histogram(letters: Iterable[ClassifiedDeadLetter]) -> Sequence[ReasonRow]:
    """The reasons, the most frequent first."""
    rows: dict[str, ReasonRow] = {}
    for one in letters:
        at = one.letter.failed_at
        fresh = ReasonRow(reason=one.letter.reason, first_failed_at=at, last_failed_at=at)
        rows.setdefault(one.letter.reason, fresh).note(one)
    return sorted(rows.values(), key=lambda row: (-row.states.total(), row.reason))


#: Why a dead letter is not replayed, but for its state.
OF_ANOTHER_TOPIC = "of another topic"
REPLAYED_OFTEN = "replayed too often"
BEYOND_LIMIT = "beyond the limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """What a replay does."""

    #: In the order in which the records once stood.
    letters: Sequence[Letter]
    skipped: Mapping[str, int]


def plan(letters: Iterable[ClassifiedDeadLetter], *, topic: str, max_replays: int, limit: int) -> ReplayPlan:
    """What is to be replayed, `limit` at most (0 means all), and how many are not, by the reason why."""
    chosen: list[Letter] = []
    skipped = Counter[str]()
    for one in sorted(letters, key=lambda one: (one.letter.origin.partition, one.letter.origin.offset)):
        why = _why_not(one, topic, max_replays) or (BEYOND_LIMIT if limit and len(chosen) == limit else None)
        if why:
            skipped[why] += 1
        else:
            chosen.append(one.letter)
    return ReplayPlan(letters=chosen, skipped=skipped)


def _why_not(one: ClassifiedDeadLetter, topic: str, max_replays: int) -> str | None:
    if one.state is not State.OPEN:
        return one.state
    if one.letter.origin.topic != topic:
        return OF_ANOTHER_TOPIC
    # The first failure is no replay.
    return REPLAYED_OFTEN if one.letter.attempt > max_replays else None
