"""Count stored events again, and say how the stored rollups differ.

A recount counts in the order of event time, a worker in the order of the partition. So a full map may have other keys
here: the keys that both have are compared, and the sum of all.
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
from streamapp.rollups.keys import FOREIGN, LG_K, MAPS, OTHER, Document, by_partition, id_of
from streamapp.rollups.levels import Level
from streamapp.rollups.pending import Events, count, grouped
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

    def add(self, events: Iterable[Document], bounds: Mapping[PartitionId, int]) -> None:
        """Count events that came in order, up to the bound (an offset) of their partition, if it has one."""
        for partition_id, rows in _rows(events).items():
            counted = [row for row in rows if partition_id not in bounds or row.offset <= bounds[partition_id]]
            if counted:
                last = max(row.offset for row in counted)
                self._add(partition_id, counted, lambda rollup, deltas, last=last: _add(rollup, deltas, last))

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

    def _add(
        self, partition_id: PartitionId, rows: Sequence[EventRow], add: Callable[[Rollup, Sequence[Delta]], None]
    ) -> None:
        _, times, users, values = zip(*rows, strict=True)
        minutes = count(Events(times, users, values))
        for level, rollups in self.rollups.items():
            for start, deltas in grouped(minutes, level).items():
                id_ = id_of(partition_id, start)
                add(rollups.setdefault(id_, Rollup(id_)), deltas)


def difference(stored: Rollup | None, wanted: Rollup | None) -> str | None:
    """How a stored rollup differs from a recount, in words; None if it does not."""
    if stored is None or stored.is_new:
        return _missing(wanted)
    if wanted is None or wanted.is_new:
        return f"n is {stored.n}, and no such event is stored"
    return next(_wrongs(stored, wanted, ne), None)


def shortfall(stored: Rollup | None, wanted: Rollup | None) -> str | None:
    """How a stored rollup counts fewer events than a recount of those that are left, in words; None if it does not."""
    if stored is None or stored.is_new:
        return _missing(wanted)
    if wanted is None or wanted.is_new:
        return None
    return next(_wrongs(stored, wanted, lt), None)


def _missing(wanted: Rollup | None) -> str | None:
    return None if wanted is None or wanted.is_new else f"missing: {wanted.n} events are not counted"


def _wrongs(stored: Rollup, wanted: Rollup, is_wrong: Callable[[int, int], bool]) -> Iterator[str]:
    """The differences; `is_wrong` compares a stored count with the wanted one."""
    at_least = "at least " if is_wrong is lt else ""
    if is_wrong(stored.n, wanted.n):
        yield f"n is {stored.n}, and {wanted.n} events are stored"
    if is_wrong(stored.out_of_order, wanted.out_of_order):
        yield f"apart is {stored.out_of_order}, and {wanted.out_of_order} such events are stored"
    if is_wrong is lt and not stored.is_complete:
        return  # it was stored before a dimension existed: the events that were deleted cannot be counted by it
    for name, (counts, wanted_counts) in _counts(stored, wanted):
        if wrong := _wrong(counts, wanted_counts, is_wrong):
            yield f"{name}: {wrong[0]}, and must be {at_least}{wrong[1]}"
    if not _has_same_users(stored, wanted, may_have_more=is_wrong is lt):
        yield "users: the sketch holds other users than the events"


def _counts(stored: Rollup, wanted: Rollup) -> Iterator[tuple[str, tuple[Mapping[str, int], Mapping[str, int]]]]:
    for name in MAPS:
        yield name, (stored.maps[name], wanted.maps[name])
    yield "cells", (stored.cells, wanted.cells)


def _wrong(
    stored: Mapping[str, int], wanted: Mapping[str, int], is_wrong: Callable[[int, int], bool]
) -> tuple[str, int] | None:
    """The first count that is wrong, in words, and what it must be."""
    is_cut = any(OTHER in key for key in (*stored, *wanted))
    for key in sorted({*stored, *wanted}):
        is_comparable = not is_cut or (key in stored and key in wanted and OTHER not in key)
        if is_comparable and is_wrong(stored.get(key, 0), wanted.get(key, 0)):
            return f"{key!r} is {stored.get(key, 0)}", wanted.get(key, 0)
    total = sum(stored.values()), sum(wanted.values())
    return (f"{total[0]} in all", total[1]) if is_wrong(*total) else None


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


def _add(rollup: Rollup, deltas: Iterable[Delta], last_offset: int) -> None:
    rollup.add(deltas)
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
    if partition_id != FOREIGN and type(row.at) is int and type(row.user_id) is str:
        return row
    user: Any = row.user_id
    offset = -1 if partition_id == FOREIGN else row.offset
    return EventRow(offset, int(row.at), "" if user is None else str(user), row.dimensions)


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
