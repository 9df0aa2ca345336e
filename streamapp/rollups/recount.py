"""Count stored events again, and tell what is wrong with the rollups that should hold them.

Events are counted in the order of event time here, and were in that of their partition before. So where a map is full,
other keys may stand in it: what has a key of its own in both is compared, and the sum of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isclose

from datasketches import hll_sketch, hll_union  # pyright: ignore[reportAttributeAccessIssue]

from streamapp.decode.document import Row, row_of
from streamapp.model.record import PartitionId
from streamapp.rollups.keys import FOREIGN, LG_K, MAPS, OTHER, Document, by_partition, id_of
from streamapp.rollups.levels import Level
from streamapp.rollups.pending import Events, count, grouped
from streamapp.rollups.rollup import Delta, Rollup

#: What is read of an event to count it.
FIELDS = (
    "user_id",
    "event_type",
    "event_timestamp",
    "metadata.device",
    "metadata.location",
    "browser",
    "schema_version",
    "kafka.topic",
    "kafka.partition",
    "kafka.offset",
)

#: Rollups by their `_id`.
RollupsById = dict[str, Rollup]


class Recount:
    """The rollups that hold some events, at some levels."""

    def __init__(self, levels: Iterable[Level]) -> None:
        self.rollups: Mapping[Level, RollupsById] = {level: {} for level in levels}

    def __len__(self) -> int:
        return sum(map(len, self.rollups.values()))

    def add(self, events: Iterable[Document], bounds: Mapping[PartitionId, int]) -> None:
        """Count events that came in order; of each partition that has a bound, those up to this offset."""
        for partition_id, rows in _rows(events).items():
            counted = [row for row in rows if partition_id not in bounds or row[0] <= bounds[partition_id]]
            if counted:
                last = max(row[0] for row in counted)
                self._add(partition_id, counted, lambda rollup, deltas, last=last: _add(rollup, deltas, last))

    def copy(self) -> Recount:
        """One that holds the same."""
        copy = Recount(self.rollups)
        for level, rollups in self.rollups.items():
            copy.rollups[level].update({id_: rollup.copy() for id_, rollup in rollups.items()})
        return copy

    def with_out_of_order(self, events: Sequence[Document]) -> Recount:
        """The same, and events that came out of order."""
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
        """Take out the rollups of the buckets that end before an instant, epoch ms."""
        taken = Recount(self.rollups)
        for level, rollups in self.rollups.items():
            end = level.start_of(before_ms)
            for id_ in [id_ for id_, rollup in rollups.items() if rollup.bucket_ms < end]:
                taken.rollups[level][id_] = rollups.pop(id_)
        return taken

    def _add(
        self, partition_id: PartitionId, rows: Sequence[Row], add: Callable[[Rollup, Sequence[Delta]], None]
    ) -> None:
        _, times, users, values = zip(*rows, strict=True)
        minutes = count(Events(times, users, values))
        for level, rollups in self.rollups.items():
            for start, deltas in grouped(minutes, level).items():
                id_ = id_of(partition_id, start)
                add(rollups.setdefault(id_, Rollup(id_)), deltas)


def difference(stored: Rollup | None, wanted: Rollup | None) -> str | None:
    """What is wrong with a stored rollup, in words; None where it is as it must be."""
    if stored is None or stored.is_new:
        return None if wanted is None or wanted.is_new else f"missing: {wanted.n} events are not counted"
    if wanted is None or wanted.is_new:
        return f"n is {stored.n}, and no such event is stored"
    return next(_wrongs(stored, wanted), None)


def _wrongs(stored: Rollup, wanted: Rollup) -> Iterator[str]:
    if stored.n != wanted.n:
        yield f"n is {stored.n}, and {wanted.n} events are stored"
    for name in MAPS:
        if wrong := _wrong(stored.maps[name], wanted.maps[name]):
            yield f"{name}: {wrong}"
    if wrong := _wrong(stored.cells, wanted.cells):
        yield f"cells: {wrong}"
    if stored.out_of_order != wanted.out_of_order:
        yield f"apart is {stored.out_of_order}, and {wanted.out_of_order} such events are stored"
    if not _has_same_users(stored, wanted):
        yield "users: the sketch holds other users than the events"


def _wrong(stored: Mapping[str, int], wanted: Mapping[str, int]) -> str | None:
    is_cut = any(OTHER in key for key in (*stored, *wanted))
    for key in sorted({*stored, *wanted}):
        is_comparable = not is_cut or (key in stored and key in wanted and OTHER not in key)
        if is_comparable and stored.get(key) != wanted.get(key):
            return f"{key!r} is {stored.get(key, 0)}, and must be {wanted.get(key, 0)}"
    total = sum(stored.values()), sum(wanted.values())
    return f"{total[0]} in all, and must be {total[1]}" if total[0] != total[1] else None


def _has_same_users(stored: Rollup, wanted: Rollup) -> bool:
    sketches = stored.users, wanted.users
    return all(isclose(_estimate(*sketches), _estimate(each)) for each in sketches)


def _estimate(*sketches: bytes) -> float:
    union = hll_union(LG_K)
    # Twice: only of what was merged does the estimate depend on nothing but the users, not on their order.
    for sketch in sketches * 2:
        union.update(hll_sketch.deserialize(sketch))
    return union.get_estimate()


def _add(rollup: Rollup, deltas: Iterable[Delta], last_offset: int) -> None:
    rollup.add(deltas)
    rollup.offset = max(rollup.offset, last_offset)


def _rows(events: Iterable[Document]) -> dict[PartitionId, list[Row]]:
    return {
        partition_id: [_row(event, partition_id) for event in together]
        for partition_id, together in by_partition(events).items()
    }


def _row(event: Document, partition_id: PartitionId) -> Row:
    """Whatever was stored counts, with what it has."""
    try:
        offset, at, user, values = row_of(event)
    except (KeyError, TypeError):
        offset, at, user, values = row_of(_completed(event))
    return (-1 if partition_id == FOREIGN else offset, int(at), "" if user is None else str(user), values)


def _completed(event: Document) -> Document:
    kafka, metadata = ({**_mapping(event.get(name))} for name in ("kafka", "metadata"))
    return {
        **dict.fromkeys(("user_id", "event_type", "browser", "schema_version")),
        **event,
        "kafka": {"offset": -1, **kafka},
        "metadata": {"device": None, "location": None, **metadata},
    }


def _mapping(value: object) -> Document:
    return value if isinstance(value, Mapping) else {}
