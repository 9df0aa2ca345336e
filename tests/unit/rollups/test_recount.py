"""Events are counted again, and differences of stored rollups are reported."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import bson
import pytest

from streamapp.decode.batch import parts
from streamapp.decode.document import Document, EventTimes, LazyDocument
from streamapp.decode.writer_schema import writer_schema
from streamapp.model import event
from streamapp.model.record import PartitionId
from streamapp.rollups.keys import MAX_KEYS, NULL, OTHER, id_of
from streamapp.rollups.levels import LEVELS
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.recount import Recount, difference, shortfall
from streamapp.rollups.rollup import Rollup
from tests.support import factories
from tests.support.factories import NOW, TOPIC_ID, FakeRecord, a_batch, wire
from tests.support.rollup_factory import a_cell, an_event

PARTITION = PartitionId(TOPIC_ID, 0)
CELL = a_cell("click", "mobile", NULL, "v1")
MINUTE, _, HOUR, DAY = LEVELS


def counted(events: Sequence[Document]) -> Rollup:
    """Return the rollup of the one day in which they all are."""
    recount = Recount([DAY])
    recount.add(events, {})
    (rollup,) = recount.rollups[DAY].values()
    return rollup


def changed(rollup: Rollup, **changes: Any) -> Rollup:
    """Return a rollup that was stored with other values."""
    return Rollup(rollup.id, rollup.document() | changes)


def test_events_are_counted_up_to_the_bound_of_their_partition() -> None:
    """Without a bound all are counted."""
    recount = Recount(LEVELS)

    assert {PARTITION: 1} == recount.add([an_event(3), an_event(8), an_event(5)], {PARTITION: 5})
    assert {PARTITION: 1} == recount.add([an_event(9)], {PARTITION: 5})

    assert {2} == {rollup.n for rollups in recount.rollups.values() for rollup in rollups.values()}
    assert {5} == {rollup.offset for rollups in recount.rollups.values() for rollup in rollups.values()}
    assert len(recount) == 4
    assert counted([an_event(3), an_event(8)]).n == 2


def test_events_out_of_order_are_added_to_a_copy() -> None:
    """They do not change the offset; without any the recount itself is returned."""
    recount = Recount([DAY])
    recount.add([an_event(3)], {})
    (id_,) = recount.rollups[DAY]

    both = recount.with_out_of_order([an_event(7)])

    assert (2, 1, 3) == (both.rollups[DAY][id_].n, both.rollups[DAY][id_].out_of_order, both.rollups[DAY][id_].offset)
    assert recount.rollups[DAY][id_].n == 1
    assert recount.with_out_of_order([]) is recount


def test_finished_buckets_are_taken_out() -> None:
    """At each level those that end before the instant."""
    recount = Recount([MINUTE, HOUR])
    recount.add([an_event(n, event_timestamp=NOW + n * 60_000) for n in range(3)], {})

    taken = recount.take(NOW + 2 * 60_000)

    assert ([1, 1], [1]) == (
        [r.n for r in taken.rollups[MINUTE].values()],
        [r.n for r in recount.rollups[MINUTE].values()],
    )
    assert ([], [3]) == ([*taken.rollups[HOUR]], [r.n for r in recount.rollups[HOUR].values()])


def test_absent_fields_count_as_null() -> None:
    """Documents of other programs have a partition of their own, or that of their `_id`."""
    foreign = [
        {"_id": 1, "event_timestamp": NOW + 0.5},
        {"_id": 2, "event_timestamp": NOW, "user_id": 7, "metadata": "none", "kafka": 8, "browser": ["a"]},
    ]
    recount = Recount([DAY])

    recount.add([*foreign, {"_id": f"{TOPIC_ID}-0-5", "event_timestamp": NOW, "kafka": an_event(5)["kafka"]}], {})

    start = DAY.start_of(NOW)
    theirs, ours = (
        recount.rollups[DAY][id_of(PartitionId("", -1), start)],
        recount.rollups[DAY][id_of(PARTITION, start)],
    )
    assert (2, -1, {"%null": 1, "['a']": 1}) == (theirs.n, theirs.offset, theirs.maps["browsers"])
    assert (1, 5, {"%null": 1}) == (ours.n, ours.offset, ours.maps["devices"])


def test_a_rollup_equal_to_the_recount_has_no_difference() -> None:
    """In any order of the events, with an estimate of users, and with full maps."""
    events = [an_event(n, browser=f"b{n % (2 * MAX_KEYS)}", event_type=f"t{n % 3}") for n in range(3_000)]
    shuffled = random.Random(1).sample(events, len(events))
    first, second = Recount([DAY]), Recount([DAY])
    for at in range(0, len(events), 100):
        first.add(events[at : at + 100], {})
        second.add(shuffled[at : at + 100], {})
    (one,), (other,) = first.rollups[DAY].values(), second.rollups[DAY].values()

    assert one.maps["browsers"].keys() != other.maps["browsers"].keys()
    assert difference(changed(one), other) is None
    assert difference(None, None) is None
    assert difference(None, Rollup(one.id)) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"n": 3}, "n is 3, and 2 events are stored"),
        ({"types": {"click": 1, "tap": 1}}, "types: 'click' is 1, and must be 2"),
        ({"locations": {}}, "locations: 'DE' is 0, and must be 2"),
        ({"devices": {"mobile": 2, "%other": 1}}, "devices: 3 in all, and must be 2"),
        ({"cells": {CELL: 3}}, f"cells: '{CELL}' is 3, and must be 2"),
        ({"apart": 1}, "apart is 1, and 0 such events are stored"),
        ({"users": b"no sketch"}, "users: the sketch holds other users than the events"),
    ],
)
def test_the_first_difference_is_reported(changes: dict[str, Any], why: str) -> None:
    """In the order of the document's fields."""
    right = counted([an_event(0), an_event(1)])

    assert why == difference(changed(right, **changes), right)


def test_missing_and_unexpected_rollups_are_reported() -> None:
    """No events, or no rollup."""
    rollup = counted([an_event(0)])

    assert difference(rollup, None) == "n is 1, and no such event is stored"
    assert difference(None, rollup) == "missing: 1 events are not counted"


@pytest.mark.parametrize(
    ("kind", "encoded"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, b"\x80\xb0\x83\xc5\x98\x68"),
        ({"type": "int", "logicalType": "date"}, b"\x02"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, b"\x02\x96"),
        ({"type": "enum", "name": "Browser", "symbols": ["chrome"]}, b"\0"),
        ({"type": "array", "items": {"type": "long", "logicalType": "timestamp-micros"}}, b"\x02\x02\0"),
        ({"type": "map", "values": "bytes"}, b"\0"),
        ("bytes", b"\x04\0\xff"),
        ("boolean", b"\x01"),
        ("double", b"\0" * 8),
        ("long", b"\xfe\xff\xff\xff\x7f"),
    ],
    ids=str,
)
def test_a_recount_counts_a_value_by_the_workers_text(kind: Any, encoded: bytes) -> None:
    """A worker counts what it decodes, a recount what MongoDB returns; `browser` may have any type."""
    fields = [*event.schema(1)["fields"], {"name": "browser", "type": kind}]
    writer = writer_schema({**event.schema(1), "fields": fields}, schema_id=9, version="v9")
    record = FakeRecord(value=wire(factories.an_event(), schema_id=9) + encoded)
    times = EventTimes(earliest=0, ahead=2**60)
    (decoded,) = parts(a_batch(record), {9: writer}, times=times, received_at=datetime.now(UTC))

    (worker,) = PendingCounts.of(decoded.events.documents).after(-1, MINUTE).values()
    (stored,) = (bson.decode(each.raw) for each in decoded.events.documents if isinstance(each, LazyDocument))
    (recount,) = PendingCounts.of([stored]).after(-1, MINUTE).values()

    assert worker.cells == recount.cells


def test_a_rollup_may_count_events_that_were_deleted() -> None:
    """It is right if it counts at least the events that are left, by every field."""
    left = counted([an_event(1), an_event(2)])
    all_events = counted([an_event(0), an_event(1, event_type="view"), an_event(1), an_event(2)])

    assert shortfall(all_events, left) is None
    assert shortfall(left, left) is None
    assert shortfall(left, None) is None
    assert shortfall(None, None) is None
    assert shortfall(None, left) == "missing: 2 events are not counted"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n": 1}, "n is 1, and 2 events are stored"),
        ({"apart": -1}, "apart is -1, and 0 such events are stored"),
        ({"types": {"click": 1, "view": 2}}, "types: 'click' is 1, and must be at least 2"),
        ({"users": counted([an_event(7)]).users}, "users: the sketch holds other users than the events"),
    ],
)
def test_a_rollup_must_count_the_events_that_are_left(changes: dict[str, Any], expected: str) -> None:
    """The first value that is too low is reported."""
    left = counted([an_event(1), an_event(2)])
    stored = changed(counted([an_event(0), an_event(1), an_event(2)]), **changes)

    assert shortfall(stored, left) == expected


def test_a_rollup_without_a_new_dimension_is_compared_by_its_number_of_events() -> None:
    """The events that were deleted cannot be counted by a dimension that was added since."""
    left = counted([an_event(1), an_event(2)])
    stored = counted([an_event(0), an_event(1), an_event(2)])

    assert shortfall(changed(stored, devices={}, cells={}), left) is None
    assert shortfall(changed(stored, devices={}, cells={}, n=1), left) == "n is 1, and 2 events are stored"


#: 300 values, each more frequent than the one after it; three out of four events are left.
MANY = [an_event(n, browser=f"b{min(n % 300, n % 7 * 40)}") for n in range(4_000)]
LEFT = MANY[1_000:]


def in_steps(events: Sequence[Document]) -> Rollup:
    """Return the rollup of the one day, counted as batches come: so its map has errors."""
    recount = Recount([DAY])
    for at in range(0, len(events), 100):
        recount.add(events[at : at + 100], {})
    (rollup,) = recount.rollups[DAY].values()
    return rollup


def test_a_rollup_with_errors_may_count_events_that_were_deleted() -> None:
    """Both count the most frequent values only; the upper bound of each must reach what is left."""
    stored, left = in_steps(MANY), in_steps(LEFT)

    assert stored.errors["browsers"]
    assert left.errors["browsers"]
    assert shortfall(stored, left) is None
    assert shortfall(stored, counted(LEFT[-2:])) is None
    assert difference(stored, left) == "n is 4000, and 3000 events are stored"


@pytest.mark.parametrize(
    ("count", "errors", "expected"),
    [
        (10, {}, r"'b0' is 10, and must be at least \d+"),
        (0, {"b0": 3}, r"'b0' is 0 to 3, and must be at least \d+"),
        (584, {OTHER: 41}, "an error is 41, and must be at most 40"),
    ],
)
def test_a_rollup_with_errors_must_count_the_events_that_are_left(
    count: int, errors: dict[str, int], expected: str
) -> None:
    """A value whose upper bound is too low, or an error that is larger than the algorithm allows, is reported."""
    stored, left = in_steps(MANY), in_steps(LEFT)
    counts = stored.maps["browsers"]
    moved = {"b0": count, OTHER: counts[OTHER] + counts["b0"] - count}
    changes = {"browsers": counts | moved, "errors": {"browsers": stored.errors["browsers"] | errors}}

    found = shortfall(changed(stored, **changes), left)

    assert re.fullmatch(f"browsers: {expected}", found or "")
