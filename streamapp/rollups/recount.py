"""Count stored events again, and say how the stored rollups differ.

A recount counts in the order of event time, a worker in the order of the partition. So where a map does not hold all
values, the two can hold other keys. Of each key, both know the least and the greatest number of events: the two ranges
must have a number in common, and the sums of all keys must be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isclose
from operator import lt, ne
from typing import Any

from datasketches import hll_sketch, hll_union  # pyright: ignore[reportAttributeAccessIssue]

from streamapp.decode.document import EventRow, row_of
from streamapp.model.record import PartitionId
from streamapp.model.user_event import DIMENSIONS, TIME, USER
from streamapp.rollups import cells, frequent
from streamapp.rollups.counting import EventCounts, Events
from streamapp.rollups.frequent import Bounds, Counts
from streamapp.rollups.keys import FOREIGN, LG_K, MAPS, MAX_KEYS, OTHER, Document, by_partition, id_of
from streamapp.rollups.levels import Level
from streamapp.rollups.rollup import Delta, Rollup

#: Fields of an event's document that are needed to count it.
PROJECTION = (
    *dict.fromkeys((USER, TIME, *(each.path for each in DIMENSIONS))),
    "kafka.topic",
    "kafka.partition",
    "kafka.offset",
)

#: Rollups by their `_id`.
RollupsById = dict[str, Rollup]


class Recount:
    """The rollups of the events that were added, at some levels."""

    def __init__(self, levels: Iterable[Level]) -> None:
        self.rollups: Mapping[Level, RollupsById] = {level: {} for level in levels}

    def __len__(self) -> int:
        return sum(map(len, self.rollups.values()))

    def add(self, events: Iterable[Document], bounds: Mapping[PartitionId, int]) -> Mapping[PartitionId, int]:
        """Count events that came in order, up to the bound (an offset) of their partition, if it has one.

        Return the number of events above the bound of each partition.
        """
        above = dict[PartitionId, int]()
        for partition_id, rows in _rows(events).items():
            counted = [row for row in rows if partition_id not in bounds or row.offset <= bounds[partition_id]]
            if counted:
                last = max(row.offset for row in counted)
                self._add(partition_id, counted, lambda rollup, delta, last=last: _add(rollup, delta, last))
            above[partition_id] = len(rows) - len(counted)
        return above

    def copy(self) -> Recount:
        """A recount with the same contents."""
        copy = Recount(self.rollups)
        for level, rollups in self.rollups.items():
            copy.rollups[level].update({id_: rollup.copy() for id_, rollup in rollups.items()})
        return copy

    def with_out_of_order(self, events: Sequence[Document]) -> Recount:
        """Return this recount together with events that came out of order."""
        if not events:
            return self
        both = self.copy()
        both.add_out_of_order(events)
        return both

    def add_out_of_order(self, events: Iterable[Document]) -> None:
        """Count events that came out of order."""
        for partition_id, rows in _rows(events).items():
            self._add(partition_id, rows, Rollup.add_out_of_order)

    def take(self, before_ms: int) -> Recount:
        """Remove and return the rollups of buckets that end before an instant, epoch ms."""
        taken = Recount(self.rollups)
        for level, rollups in self.rollups.items():
            end = level.start_of(before_ms)
            for id_ in [id_ for id_, rollup in rollups.items() if rollup.bucket_ms < end]:
                taken.rollups[level][id_] = rollups.pop(id_)
        return taken

    def _add(self, partition_id: PartitionId, rows: Sequence[EventRow], add: Callable[[Rollup, Delta], None]) -> None:
        _, times, users, values = zip(*rows, strict=True)
        counts = EventCounts(Events(times, users, values))
        for level, rollups in self.rollups.items():
            for start, delta in counts.at(level).items():
                id_ = id_of(partition_id, start)
                add(rollups.setdefault(id_, Rollup(id_)), delta)


def difference(stored: Rollup | None, wanted: Rollup | None) -> str | None:
    """How a stored rollup differs from a recount, in words; None if it does not."""
    if stored is None or stored.is_new:
        return _missing(wanted)
    if wanted is None or wanted.is_new:
        return f"n is {stored.n}, and no such event is stored"
    return next(_wrongs(stored, wanted, may_have_more=False), None)


def shortfall(stored: Rollup | None, wanted: Rollup | None) -> str | None:
    """How a stored rollup counts fewer events than a recount of those that are left, in words; None if it does not."""
    if stored is None or stored.is_new:
        return _missing(wanted)
    if wanted is None or wanted.is_new:
        return None
    return next(_wrongs(stored, wanted, may_have_more=True), None)


def _missing(wanted: Rollup | None) -> str | None:
    return None if wanted is None or wanted.is_new else f"missing: {wanted.n} events are not counted"


def _wrongs(stored: Rollup, wanted: Rollup, *, may_have_more: bool) -> Iterator[str]:
    is_wrong = lt if may_have_more else ne
    if is_wrong(stored.n, wanted.n):
        yield f"n is {stored.n}, and {wanted.n} events are stored"
    if is_wrong(stored.out_of_order, wanted.out_of_order):
        yield f"apart is {stored.out_of_order}, and {wanted.out_of_order} such events are stored"
    if may_have_more and not stored.is_complete:
        return  # it was stored before a dimension existed: the events that were deleted cannot be counted by it
    for name in MAPS:
        if wrong := _wrong_map(stored, wanted, name, may_have_more=may_have_more):
            yield f"{name}: {wrong}"
    if wrong := _wrong_cells(stored.cells, wanted.cells, may_have_more=may_have_more):
        yield f"cells: {wrong}"
    if not _has_same_users(stored, wanted, may_have_more=may_have_more):
        yield "users: the sketch holds other users than the events"


def _wrong_map(stored: Rollup, wanted: Rollup, name: str, *, may_have_more: bool) -> str | None:
    counts, errors = stored.maps[name], frequent.errors_of(stored.maps[name], stored.errors.get(name))
    expected, expected_errors = wanted.maps[name], wanted.errors.get(name, {})
    if name in stored.maps_of_first_keys and OTHER in expected and not may_have_more:
        return f"an earlier release counted the first {MAX_KEYS} values, not the most frequent ones"
    for key in sorted({*counts, *expected} - {OTHER}):
        found, must_be = frequent.bounds(counts, errors, key), frequent.bounds(expected, expected_errors, key)
        if wrong := _wrong(key, found, must_be, may_have_more=may_have_more):
            return wrong
    if name in stored.errors and (largest := max(errors.values(), default=0)) * MAX_KEYS > stored.n:
        return f"an error is {largest}, and must be at most {stored.n // MAX_KEYS}"
    return _wrong_sum(counts, expected, may_have_more=may_have_more)


def _wrong_cells(stored: Counts, wanted: Counts, *, may_have_more: bool) -> str | None:
    for cell in sorted(cell for cell in {*stored, *wanted} if OTHER not in cell):
        found, must_be = (Bounds(n := each.get(cell, 0), n + cells.possible(each, cell)) for each in (stored, wanted))
        if wrong := _wrong(cell, found, must_be, may_have_more=may_have_more):
            return wrong
    return _wrong_sum(stored, wanted, may_have_more=may_have_more)


def _wrong(key: str, found: Bounds, must_be: Bounds, *, may_have_more: bool) -> str | None:
    if found.most >= must_be.least and (may_have_more or found.least <= must_be.most):
        return None
    return f"{key!r} is {found}, and must be {f'at least {must_be.least}' if may_have_more else must_be}"


def _wrong_sum(stored: Counts, wanted: Counts, *, may_have_more: bool) -> str | None:
    found, must_be = sum(stored.values()), sum(wanted.values())
    if found == must_be or (may_have_more and found > must_be):
        return None
    return f"{found} in all, and must be {'at least ' if may_have_more else ''}{must_be}"


def _has_same_users(stored: Rollup, wanted: Rollup, *, may_have_more: bool) -> bool:
    sketches = stored.users, wanted.users
    compared = sketches[:1] if may_have_more else sketches
    return all(isclose(_estimate(*sketches), _estimate(each)) for each in compared)


def _estimate(*sketches: bytes) -> float:
    union = hll_union(LG_K)
    # Twice: after a second merge the estimate depends on the users only, not on their order.
    for sketch in sketches * 2:
        union.update(hll_sketch.deserialize(sketch))
    return union.get_estimate()


def _add(rollup: Rollup, delta: Delta, last_offset: int) -> None:
    rollup.add(delta)
    rollup.offset = max(rollup.offset, last_offset)


def _rows(events: Iterable[Document]) -> dict[PartitionId, list[EventRow]]:
    return {
        partition_id: [_row(event, partition_id) for event in together]
        for partition_id, together in by_partition(events).items()
    }


def _row(event: Document, partition_id: PartitionId) -> EventRow:
    """The row of any stored document; absent fields count as null."""
    try:
        row = row_of(event)
    except (KeyError, TypeError):
        row = row_of(_completed(event))
    if partition_id != FOREIGN and type(row.at) is int:
        return row
    return row._replace(offset=-1 if partition_id == FOREIGN else row.offset, at=int(row.at))


def _completed(event: Document) -> Document:
    """The document with null for absent fields, and the offset -1."""
    kafka = {"offset": -1, **_mapping(event.get("kafka"))}
    completed: dict[str, Any] = {**event, USER: event.get(USER), "kafka": kafka}
    for each in DIMENSIONS:
        *parents, name = each.path.split(".")
        parent: dict[str, Any] = completed
        for step in parents:
            parent[step] = {**_mapping(parent.get(step))}
            parent = parent[step]
        parent.setdefault(name, None)
    return completed


def _mapping(value: object) -> Document:
    return value if isinstance(value, Mapping) else {}
