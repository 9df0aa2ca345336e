"""Events that wait to be added to rollups, and their counts by minute."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple, Self

from streamapp.decode.document import LazyDocument, row_of
from streamapp.model.user_event import DimensionValues
from streamapp.rollups.keys import CUBE, Document, key_of
from streamapp.rollups.levels import Level
from streamapp.rollups.rollup import Delta

_MINUTE_MS = 60_000
#: Approximate memory of an event without its strings, measured with tracemalloc.
EVENT_BYTES = 90


#: Deltas by the start of their bucket, epoch ms.
Buckets = Mapping[int, Sequence[Delta]]


class Events(NamedTuple):
    """Rows of events as columns: thousands of events wait for a second, and rows would take twice the memory."""

    times: Sequence[int]
    users: Sequence[str]
    values: Sequence[DimensionValues]

    @classmethod
    def joined(cls, parts: Sequence[Events]) -> Self:
        """The events of several parts, in their order."""
        times, users, values = zip(*parts, strict=True)
        return cls(_concatenated(times), [*chain(*users)], [*chain(*values)])

    def since(self, index: int) -> Events:
        """The events from an index on."""
        return Events(self.times[index:], self.users[index:], self.values[index:]) if index else self


class PendingCounts:
    """Events of one partition that are not in the rollups yet, by ascending offset."""

    def __init__(self, offsets: Sequence[int], events: Events) -> None:
        self.offsets = offsets
        self.events = events
        self._minutes: dict[int, Mapping[int, Delta]] = {}
        self._buckets: dict[tuple[int, Level], Buckets] = {}

    @classmethod
    def of(cls, documents: Sequence[Document]) -> PendingCounts:
        """The pending counts of event documents."""
        rows = [each if type(each) is LazyDocument else row_of(each) for each in documents]
        return cls(
            _packed([row.offset for row in rows]),
            Events(
                _packed([row.at for row in rows]),
                [row.user_id for row in rows],
                [row.dimensions for row in rows],
            ),
        )

    @classmethod
    def joined(cls, pending_counts: Sequence[PendingCounts]) -> PendingCounts:
        """The events of several pending counts, given in offset order."""
        if len(pending_counts) == 1:
            return pending_counts[0]
        if any(later.offsets[0] <= earlier.last_offset for earlier, later in pairwise(pending_counts)):
            raise AssertionError("events to count are not in the order of their partition")
        offsets = _concatenated([pending.offsets for pending in pending_counts])
        return cls(offsets, Events.joined([pending.events for pending in pending_counts]))

    @property
    def last_offset(self) -> int:
        """Offset of the last event."""
        return self.offsets[-1]

    @property
    def size(self) -> int:
        """Approximate memory in bytes; events share most of their values."""
        _, users, values = self.events
        shared = dict(zip(map(id, values), values, strict=True)).values()
        texts = sum(len(text) for text in chain.from_iterable(shared) if text)
        return len(users) * EVENT_BYTES + sum(map(len, map(str, users))) + texts

    def after(self, offset: int, level: Level) -> Buckets:
        """Counts of the events past `offset`: in each bucket one delta per minute."""
        begin = bisect_right(self.offsets, offset)
        if (begin, level) not in self._buckets:
            self._buckets[begin, level] = grouped(self._minutes_from(begin), level)
        return self._buckets[begin, level]

    def _minutes_from(self, begin: int) -> Mapping[int, Delta]:
        if begin not in self._minutes:
            self._minutes[begin] = count(self.events.since(begin))
        return self._minutes[begin]


def _packed(numbers: Sequence[int]) -> Sequence[int]:
    # Three times as fast as `array("q", numbers)`.
    try:
        packed = struct.pack(f"{len(numbers)}q", *numbers)
    except struct.error:  # doubles, as MongoDB's shell writes numbers
        packed = struct.pack(f"{len(numbers)}q", *map(int, numbers))
    return array("q", packed)


def _concatenated(arrays: Sequence[Sequence[int]]) -> Sequence[int]:
    together = array("q")
    for each in arrays:
        together.extend(each)
    return together


def grouped(minutes: Mapping[int, Delta], level: Level) -> Buckets:
    """Deltas by the bucket of a level that contains their minute."""
    buckets: dict[int, list[Delta]] = {}
    for minute, delta in minutes.items():
        buckets.setdefault(level.start_of(minute), []).append(delta)
    return buckets


def count(events: Events) -> dict[int, Delta]:
    """Count events by minute."""
    keys = _Keys()
    return {minute: _counted(users, values, keys) for minute, (users, values) in _by_minute(events).items()}


class _Keys(dict[str | None, str]):
    """Value → key, computed once per value."""

    def __missing__(self, value: str | None) -> str:
        self[value] = key = key_of(value)
        return key


def _by_minute(events: Events) -> Mapping[int, tuple[Sequence[str], Sequence[DimensionValues]]]:
    """Users and values of each minute."""
    times, users, values = events
    if not times:
        return {}
    first, last = min(times) // _MINUTE_MS, max(times) // _MINUTE_MS
    if first == last:  # the usual case: events read together were sent together
        return {first * _MINUTE_MS: (users, values)}
    minutes: defaultdict[int, tuple[list[str], list[DimensionValues]]] = defaultdict(lambda: ([], []))
    for at, user, value in zip(times, users, values, strict=True):
        minute_users, minute_values = minutes[at // _MINUTE_MS * _MINUTE_MS]
        minute_users.append(user)
        minute_values.append(value)
    return minutes


def _counted(users: Sequence[str], values: Sequence[DimensionValues], keys: _Keys) -> Delta:
    delta = Delta()
    for each, n in Counter(values).items():
        of_event = [keys[value] for value in each]
        delta.cells[tuple(of_event[: len(CUBE)])] += n
        for counts, key in zip(delta.standalone, of_event[len(CUBE) :], strict=True):
            counts[key] += n
    for user in {*users}:
        delta.users.update(user or "\0")  # the sketch ignores empty strings
    return delta
