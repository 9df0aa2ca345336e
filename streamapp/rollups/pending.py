"""Count event documents by minute, so that they can be added to rollups."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple, Self

from streamapp.decode.document import row_of
from streamapp.decode.transcoder import Values
from streamapp.rollups.keys import Document, key_of
from streamapp.rollups.levels import Level
from streamapp.rollups.rollup import Delta

_MINUTE_MS = 60_000
#: What Python needs for an event beside its texts, as tracemalloc tells, roughly.
EVENT_BYTES = 90


#: Deltas by the start of their bucket, epoch ms.
Buckets = Mapping[int, Sequence[Delta]]


class Events(NamedTuple):
    """What rollups count events by, in columns: thousands wait for a second, and rows would take twice the memory."""

    times: Sequence[int]
    users: Sequence[str]
    values: Sequence[Values]

    @classmethod
    def joined(cls, parts: Sequence[Events]) -> Self:
        """Those of several, one after the other."""
        times, users, values = zip(*parts, strict=True)
        return cls(_end_to_end(times), [*chain(*users)], [*chain(*values)])

    def since(self, index: int) -> Events:
        """Those from an index on."""
        return Events(self.times[index:], self.users[index:], self.values[index:]) if index else self


class PendingCounts:
    """Events of one partition as far as rollups are concerned, by their offset, ascending."""

    def __init__(self, offsets: Sequence[int], events: Events) -> None:
        self.offsets = offsets
        self.events = events
        self._minutes: dict[int, Mapping[int, Delta]] = {}
        self._buckets: dict[tuple[int, Level], Buckets] = {}

    @classmethod
    def of(cls, documents: Sequence[Document]) -> PendingCounts:
        """The pending counts of event documents."""
        offsets, times, users, values = zip(*map(row_of, documents), strict=True)
        return cls(_packed(offsets), Events(_packed(times), users, values))

    @classmethod
    def joined(cls, pending_counts: Sequence[PendingCounts]) -> PendingCounts:
        """One pending counts of several, each of which goes on where the one before it ends."""
        if len(pending_counts) == 1:
            return pending_counts[0]
        if any(later.offsets[0] <= earlier.last_offset for earlier, later in pairwise(pending_counts)):
            raise AssertionError("events to count are not in the order of their partition")
        offsets = _end_to_end([pending.offsets for pending in pending_counts])
        return cls(offsets, Events.joined([pending.events for pending in pending_counts]))

    @property
    def last_offset(self) -> int:
        """The offset of its last event."""
        return self.offsets[-1]

    @property
    def size(self) -> int:
        """Bytes that it holds, roughly; events share most of their values."""
        _, users, values = self.events
        shared = dict(zip(map(id, values), values, strict=True)).values()
        texts = sum(len(text) for text in chain.from_iterable(shared) if text)
        return len(users) * EVENT_BYTES + sum(map(len, map(str, users))) + texts

    def after(self, offset: int, level: Level) -> Buckets:
        """The events past `offset`, counted; in each bucket one delta per minute."""
        begin = bisect_right(self.offsets, offset)
        if (begin, level) not in self._buckets:
            self._buckets[begin, level] = grouped(self._minutes_from(begin), level)
        return self._buckets[begin, level]

    def _minutes_from(self, begin: int) -> Mapping[int, Delta]:
        if begin not in self._minutes:
            self._minutes[begin] = count(self.events.since(begin))
        return self._minutes[begin]


def _packed(numbers: Sequence[int]) -> Sequence[int]:
    # Three times as fast as what `array` does with numbers.
    try:
        packed = struct.pack(f"{len(numbers)}q", *numbers)
    except struct.error:  # MongoDB's shell makes doubles of numbers, where somebody has changed a document
        packed = struct.pack(f"{len(numbers)}q", *map(int, numbers))
    return array("q", packed)


def _end_to_end(arrays: Sequence[Sequence[int]]) -> Sequence[int]:
    together = array("q")
    for each in arrays:
        together.extend(each)
    return together


def grouped(minutes: Mapping[int, Delta], level: Level) -> Buckets:
    """Deltas of minutes by the wider bucket that holds them."""
    buckets: dict[int, list[Delta]] = {}
    for minute, delta in minutes.items():
        buckets.setdefault(level.start_of(minute), []).append(delta)
    return buckets


def count(events: Events) -> dict[int, Delta]:
    """Count events by minute."""
    keys = _Keys()
    return {minute: _counted(users, values, keys) for minute, (users, values) in _by_minute(events).items()}


class _Keys(dict[str | None, str]):
    """Keys by their values."""

    def __missing__(self, value: str | None) -> str:
        self[value] = key = key_of(value)
        return key


def _by_minute(events: Events) -> Mapping[int, tuple[Sequence[str], Sequence[Values]]]:
    """Users and values of each minute."""
    times, users, values = events
    if not times:
        return {}
    first, last = min(times) // _MINUTE_MS, max(times) // _MINUTE_MS
    if first == last:  # as nearly always: what is read together was sent together
        return {first * _MINUTE_MS: (users, values)}
    minutes: defaultdict[int, tuple[list[str], list[Values]]] = defaultdict(lambda: ([], []))
    for at, user, value in zip(times, users, values, strict=True):
        of_minute = minutes[at // _MINUTE_MS * _MINUTE_MS]
        of_minute[0].append(user)
        of_minute[1].append(value)
    return minutes


def _counted(users: Sequence[str], values: Sequence[Values], keys: _Keys) -> Delta:
    delta = Delta()
    for each, n in Counter(values).items():
        location, *cube = [keys[value] for value in each]
        delta.cells[tuple(cube)] += n
        delta.locations[location] += n
    for user in {*users}:
        delta.users.update(user or "\0")  # it leaves out empty ones
    return delta
