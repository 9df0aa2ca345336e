"""Count events by bucket, at any level: the events are grouped by minute once, and a bucket is a range of minutes."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import NamedTuple, Self, TypeVar

from streamapp.model.user_event import STANDALONE_DIMENSIONS, DimensionValues
from streamapp.rollups.keys import CUBE, cell_of, key_of
from streamapp.rollups.levels import LEVELS, Level
from streamapp.rollups.rollup import Delta

_MINUTE = LEVELS[0]
#: Up to so many events, to count them one by one takes less time than a Counter.
_FEW_EVENTS = 16

T = TypeVar("T")


class Events(NamedTuple):
    """Rows of events as columns, which take half the memory."""

    times: Sequence[int]
    users: Iterable[str]
    values: Sequence[DimensionValues]

    @classmethod
    def joined(cls, parts: Sequence[Events]) -> Self:
        """The events of several parts, in their order."""
        times, users, values = zip(*parts, strict=True)
        return cls(concatenated(times), [*chain(*users)], [*chain(*values)])

    def since(self, index: int) -> Events:
        """The events from an index on."""
        return Events(self.times[index:], [*self.users][index:], self.values[index:]) if index else self


class Buckets(Mapping[int, Delta]):
    """Counts by the start of their bucket, epoch ms.

    A bucket is counted when it is read: the counts of all buckets can take far more memory than the events.
    """

    def __init__(self, ranges: Mapping[int, range], counts: EventCounts) -> None:
        self._ranges = ranges
        self._counts = counts

    def __getitem__(self, start: int) -> Delta:
        return self._counts.of(self._ranges[start])

    def __iter__(self) -> Iterator[int]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)


class EventCounts:
    """Counts of some events of one partition."""

    def __init__(self, events: Events) -> None:
        self._users = [*events.users]
        self._combinations = _Combinations()
        numbers = [*map(self._combinations.__getitem__, events.values)]
        #: The number of each event's cell: to count numbers takes a quarter of the time.
        self._cells = [*map(self._combinations.cells.__getitem__, numbers)]
        #: The key of each event, for each of STANDALONE_DIMENSIONS.
        self._standalone = [[*map(keys.__getitem__, numbers)] for keys in self._combinations.standalone]
        #: Bucket starts of each level so far, from the finest on, and the range of their events in the columns.
        self._ranges: dict[Level, Mapping[int, range]] = {_MINUTE: self._group(events.times)}
        self._last: tuple[range, Delta] | None = None

    def at(self, level: Level) -> Buckets:
        """The counts by bucket of a level."""
        return Buckets(self._ranges_at(level), self)

    def _ranges_at(self, level: Level) -> Mapping[int, range]:
        if level not in self._ranges:
            finer, width = self._ranges_at(LEVELS[LEVELS.index(level) - 1]), level.width_ms
            ranges: dict[int, range] = {}
            for at, found in finer.items():
                start = at // width * width
                before = ranges.get(start)
                ranges[start] = range(before.start, found.stop) if before else found
            self._ranges[level] = ranges
        return self._ranges[level]

    def of(self, events: range) -> Delta:
        """Count a range of the events."""
        # Events that are sent and read together usually lie in one minute: all levels have the same counts.
        if self._last is None or self._last[0] != events:
            self._last = events, self._count(events)
        return self._last[1]

    def _group(self, times: Sequence[int]) -> dict[int, range]:
        """Order the columns by minute, and by offset within a minute."""
        if not times:
            return {}
        first, last = _MINUTE.start_of(min(times)), _MINUTE.start_of(max(times))
        if first == last:  # the usual case
            return {first: range(len(times))}
        indexes = _indexes_by_minute(times)
        order, ranges, begin = array("q"), dict[int, range](), 0
        for minute in sorted(indexes):
            order.extend(indexes[minute])
            ranges[minute] = range(begin, begin := len(order))
        self._users = _ordered(self._users, order)
        self._cells = _ordered(self._cells, order)
        self._standalone = [_ordered(column, order) for column in self._standalone]
        return ranges

    def _count(self, events: range) -> Delta:
        part = slice(events.start, events.stop)
        cells, maps = dict[str, int](), [dict[str, int]() for _ in CUBE]
        for number, n in _counted(self._cells[part]):
            cell, keys = self._combinations.keys_of[number]
            cells[cell] = cells.get(cell, 0) + n
            for counts, key in zip(maps, keys, strict=True):
                counts[key] = counts.get(key, 0) + n
        for column in self._standalone:
            counts = dict[str, int]()
            for key, n in _counted(column[part]):
                counts[key] = counts.get(key, 0) + n
            maps.append(counts)
        return Delta(len(events), maps, cells, {*self._users[part]})


def _ordered(column: Sequence[T], order: Iterable[int]) -> list[T]:
    return [*map(column.__getitem__, order)]


def _counted(values: Sequence[T]) -> Iterable[tuple[T, int]]:
    """Values with their number; of few values, each by itself: a Counter would take longer."""
    return Counter(values).items() if len(values) > _FEW_EVENTS else zip(values, repeat(1))


class _Combinations(dict[DimensionValues, int]):
    """Combinations of values, numbered as they come.

    Those that differ only in STANDALONE_DIMENSIONS share a cell, and there are far fewer cells: cells have numbers too.
    """

    def __init__(self) -> None:
        super().__init__()
        #: By the number of a combination: the number of its cell; its key of each of STANDALONE_DIMENSIONS.
        self.cells: list[int] = []
        self.standalone: Sequence[list[str]] = [[] for _ in STANDALONE_DIMENSIONS]
        #: By the number of a cell: its text, and its keys.
        self.keys_of: list[tuple[str, Sequence[str]]] = []
        self._numbers: dict[str, int] = {}
        self._keys = _KeysOfValues()

    def __missing__(self, values: DimensionValues) -> int:
        keys = [*map(self._keys.__getitem__, values)]
        cell = cell_of(in_cell := keys[: len(CUBE)])
        if cell not in self._numbers:
            self._numbers[cell] = len(self.keys_of)
            self.keys_of.append((cell, in_cell))
        self.cells.append(self._numbers[cell])
        for column, key in zip(self.standalone, keys[len(CUBE) :], strict=True):
            column.append(key)
        self[values] = number = len(self)
        return number


class _KeysOfValues(dict[str | None, str]):
    """The key of each value, computed once."""

    def __missing__(self, value: str | None) -> str:
        self[value] = key = key_of(value)
        return key


def _indexes_by_minute(times: Sequence[int]) -> Mapping[int, Sequence[int]]:
    width = _MINUTE.width_ms
    indexes: defaultdict[int, list[int]] = defaultdict(list)
    for index, at in enumerate(times):
        indexes[at // width].append(index)
    return {minute * width: found for minute, found in indexes.items()}


def concatenated(arrays: Sequence[Sequence[int]]) -> Sequence[int]:
    """The integers of several sequences as one array."""
    together = array("q")
    for each in arrays:
        together.extend(each)
    return together
