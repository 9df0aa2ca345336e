"""Count event documents by minute, so that they can be added to rollups."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from types import NoneType
from typing import Any

from datasketches import hll_sketch, tgt_hll_type  # pyright: ignore[reportAttributeAccessIssue]

from streamapp.document import row_of
from streamapp.levels import Level
from streamapp.rollup import LG_K, Document, key_of

_MINUTE_MS = 60_000
_PLAIN = {str, NoneType}


@dataclass(slots=True, eq=False)
class Delta:
    """Some events of one bucket, counted."""

    #: Keyed by the keys of CUBE.
    cells: Counter[tuple[str, ...]] = field(default_factory=Counter[tuple[str, ...]])
    locations: Counter[str] = field(default_factory=Counter[str])
    users: hll_sketch = field(default_factory=lambda: hll_sketch(LG_K, tgt_hll_type.HLL_4))


#: Deltas by the start of their bucket, epoch ms.
Buckets = Mapping[int, Sequence[Delta]]


class Tally:
    """Events of one lane as far as rollups are concerned, by their offset, ascending."""

    def __init__(self, offsets: Sequence[int], columns: Sequence[Sequence[Any]]) -> None:
        self.offsets = offsets
        self.columns = columns
        self._minutes: dict[int, Mapping[int, Delta]] = {}
        self._buckets: dict[tuple[int, Level], Buckets] = {}

    @classmethod
    def of(cls, documents: Sequence[Document]) -> Tally:
        """The tally of event documents."""
        offsets, *columns = zip(*map(row_of, documents), strict=True)
        return cls(offsets, columns)

    @classmethod
    def joined(cls, tallies: Sequence[Tally]) -> Tally:
        """One tally of several, each of which goes on where the one before it ends."""
        if len(tallies) == 1:
            return tallies[0]
        if any(later.offsets[0] <= earlier.last_offset for earlier, later in pairwise(tallies)):
            raise AssertionError("events to count are not in the order of their partition")
        together = zip(*[[tally.offsets, *tally.columns] for tally in tallies], strict=True)
        offsets, *columns = [[*chain.from_iterable(parts)] for parts in together]
        return cls(offsets, columns)

    @property
    def last_offset(self) -> int:
        """The offset of its last event."""
        return self.offsets[-1]

    def after(self, offset: int, level: Level) -> Buckets:
        """The events past `offset`, counted; in each bucket one delta per minute."""
        begin = bisect_right(self.offsets, offset)
        if (begin, level) not in self._buckets:
            self._buckets[begin, level] = grouped(self._minutes_from(begin), level)
        return self._buckets[begin, level]

    def _minutes_from(self, begin: int) -> Mapping[int, Delta]:
        if begin not in self._minutes:
            self._minutes[begin] = count([column[begin:] if begin else column for column in self.columns])
        return self._minutes[begin]


def grouped(minutes: Mapping[int, Delta], level: Level) -> Buckets:
    """Deltas of minutes by the wider bucket that holds them."""
    buckets: dict[int, list[Delta]] = {}
    for minute, delta in minutes.items():
        buckets.setdefault(level.start_of(minute), []).append(delta)
    return buckets


def count(columns: Sequence[Sequence[Any]]) -> dict[int, Delta]:
    """Count events by minute.

    Args:
        columns: event time in epoch ms, user id, location, and the four of CUBE; one row per event.
    """
    at, users, *rest = columns
    minutes = [ms // _MINUTE_MS * _MINUTE_MS for ms in at]
    values = [column if _PLAIN.issuperset(map(type, column)) else _plain(column) for column in rest]
    keys = {value: key_of(value) for column in values for value in set(column)}
    deltas = {minute: Delta() for minute in set(minutes)}
    for (minute, location, *cube), n in Counter(zip(minutes, *values, strict=True)).items():
        delta = deltas[minute]
        delta.cells[tuple([keys[value] for value in cube])] += n
        delta.locations[keys[location]] += n
    for minute, user in set(zip(minutes, users, strict=True)):
        deltas[minute].users.update(user or "\0")  # it leaves out empty ones
    return deltas


def _plain(column: Iterable[object]) -> list[str | None]:
    return [value if value is None or isinstance(value, str) else str(value) for value in column]
