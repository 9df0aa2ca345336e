"""Count stored events anew, and tell what is wrong with the rollups that should hold them.

Events are counted in the order of event time here, and were in that of their partition before. So where a map is full,
other keys may stand in it: what has a key of its own in both is compared, and the sum of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isclose

from datasketches import hll_sketch, hll_union  # pyright: ignore[reportAttributeAccessIssue]

from streamapp.decode.document import Row, row_of
from streamapp.rollups.levels import Level
from streamapp.rollups.pending import Delta, Events, count, grouped
from streamapp.rollups.rollup import FOREIGN, LG_K, MAPS, OTHER, Document, Lane, Rollup, by_lane, id_of

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
Rollups = dict[str, Rollup]


class Recount:
    """The rollups that hold some events, at some levels."""

    def __init__(self, levels: Iterable[Level]) -> None:
        self.rollups: Mapping[Level, Rollups] = {level: {} for level in levels}

    def __len__(self) -> int:
        return sum(map(len, self.rollups.values()))

    def add(self, events: Iterable[Document], bounds: Mapping[Lane, int]) -> None:
        """Count events that came in their turn; of each lane that has a bound, those up to this offset."""
        for lane, rows in _rows(events).items():
            counted = [row for row in rows if lane not in bounds or row[0] <= bounds[lane]]
            if counted:
                last = max(row[0] for row in counted)
                self._add(lane, counted, lambda rollup, deltas, last=last: _add(rollup, deltas, last))

    def copy(self) -> Recount:
        """One that holds the same."""
        copy = Recount(self.rollups)
        for level, rollups in self.rollups.items():
            copy.rollups[level].update({id_: rollup.copy() for id_, rollup in rollups.items()})
        return copy

    def with_apart(self, events: Sequence[Document]) -> Recount:
        """The same, and events that came out of their turn."""
        if not events:
            return self
        both = self.copy()
        both.add_apart(events)
        return both

    def add_apart(self, events: Iterable[Document]) -> None:
        """Count events that came out of their turn."""
        for lane, rows in _rows(events).items():
            self._add(lane, rows, Rollup.add_apart)

    def take(self, before_ms: int) -> Recount:
        """Take out the rollups of the buckets that end before an instant, epoch ms."""
        taken = Recount(self.rollups)
        for level, rollups in self.rollups.items():
            end = level.start_of(before_ms)
            for id_ in [id_ for id_, rollup in rollups.items() if rollup.bucket_ms < end]:
                taken.rollups[level][id_] = rollups.pop(id_)
        return taken

    def _add(self, lane: Lane, rows: Sequence[Row], add: Callable[[Rollup, Sequence[Delta]], None]) -> None:
        _, times, users, values = zip(*rows, strict=True)
        minutes = count(Events(times, users, values))
        for level, rollups in self.rollups.items():
            for start, deltas in grouped(minutes, level).items():
                id_ = id_of(lane, start)
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
    if stored.apart != wanted.apart:
        yield f"apart is {stored.apart}, and {wanted.apart} such events are stored"
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


def _rows(events: Iterable[Document]) -> dict[Lane, list[Row]]:
    return {lane: [_row(event, lane) for event in together] for lane, together in by_lane(events).items()}


def _row(event: Document, lane: Lane) -> Row:
    """Whatever was stored counts, with what it has."""
    try:
        offset, at, user, values = row_of(event)
    except (KeyError, TypeError):
        offset, at, user, values = row_of(_completed(event))
    return (-1 if lane == FOREIGN else offset, int(at), "" if user is None else str(user), values)


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
