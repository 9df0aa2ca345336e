"""Events are counted by bucket, for any values."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from bson import DatetimeMS
from datasketches import hll_union
from hypothesis import given
from hypothesis import strategies as st

from streamapp.decode.document import Document, LazyDocument
from streamapp.model.record import PartitionId
from streamapp.rollups.keys import (
    ABSENT,
    CUBE,
    LG_K,
    MAX_CELLS,
    MAX_KEYS,
    NULL,
    OTHER,
    cell_of,
    id_of,
    key_of,
    keys_of,
    partition_id_of,
    value_of,
)
from streamapp.rollups.levels import LEVELS, kept_since
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.recount import difference
from streamapp.rollups.rollup import Rollup, unique
from tests.support.factories import NO_VALUES, NOW, TOPIC_ID
from tests.support.rollup_factory import a_cell

PARTITION = PartitionId(TOPIC_ID, 0)
MINUTE, TEN_MINUTES, HOUR, DAY = LEVELS


def an_event(offset: int = 0, *, device: str = "mobile", **changes: Any) -> Document:
    """Return the document of an event."""
    document = {
        "_id": f"{TOPIC_ID}-0-{offset}",
        "user_id": f"user-{offset}",
        "event_type": "click",
        "event_timestamp": NOW,
        "metadata": {"device": device, "location": "DE"},
        "browser": None,
        "schema_version": "v1",
        "kafka": {"topic": "user_events", "partition": 0, "offset": offset},
    }
    return document | changes


def counted(*events: Document) -> dict[str, Any]:
    """Return the rollup of the day in which they all are."""
    ((start, delta),) = PendingCounts.of(events).after(-1, DAY).items()
    rollup = Rollup(id_of(PARTITION, start))
    rollup.add(delta)
    return rollup.document()


@given(st.text(max_size=30))
def test_a_key_has_no_special_character_and_stands_for_one_value(text: str) -> None:
    """Dots and dollars have a meaning for MongoDB, bars separate the keys of a cell, and names have no NUL."""
    key = key_of(text)

    assert not set(".$|\0") & set(key)
    assert key not in {NULL, OTHER}
    assert text == value_of(key)


def test_null_and_other_have_reserved_keys() -> None:
    """No value has them as its key."""
    assert (NULL, None, OTHER) == (key_of(None), value_of(NULL), value_of(OTHER))
    assert ["%25null", "7"] == [key_of("%null"), key_of(7)]


def test_a_long_value_is_cut() -> None:
    """A megabyte of event type must not go into a rollup."""
    assert len(key_of("x" * 1_000_000)) == len(key_of("x" * 100)) == 100


def test_a_rollup_counts_by_each_dimension_and_by_cells() -> None:
    """Each user counts once, an empty user id too."""
    rollup = counted(
        an_event(0),
        an_event(1, browser="edge", schema_version="v2"),
        an_event(2, device="tv", user_id="user-0"),
        an_event(3, user_id=""),
    )

    assert rollup["n"] == 4
    assert {"mobile": 3, "tv": 1} == rollup["devices"]
    assert {NULL: 3, "edge": 1} == rollup["browsers"]
    assert {"v1": 3, "v2": 1} == rollup["versions"]
    assert {"DE": 4} == rollup["locations"]
    assert {
        a_cell("click", "mobile", NULL, "v1"): 2,
        a_cell("click", "mobile", "edge", "v2"): 1,
        a_cell("click", "tv", NULL, "v1"): 1,
    } == rollup["cells"]
    assert round(unique([rollup["users"]])) == 3


def test_values_beyond_the_limit_are_counted_together() -> None:
    """The sum stays complete."""
    browsers = counted(*[an_event(i, browser=f"b{i}") for i in range(1_000)])["browsers"]

    assert len(browsers) == MAX_KEYS + 1
    assert {OTHER: 1_000 - MAX_KEYS}.items() <= browsers.items()


def test_cells_have_their_own_limit() -> None:
    """Few values of each dimension can make many cells."""
    events = [an_event(i, event_type=f"t{i % 40}", device=f"d{i // 40}", browser=f"b{i % 3}") for i in range(40 * 40)]

    cells = counted(*events)["cells"]

    assert len(cells) <= MAX_CELLS
    assert sum(cells.values()) == len(events)


def test_values_of_other_types_are_counted_as_text() -> None:
    """The schema of another program may have a browser of any type."""
    browsers = counted(an_event(0, browser=["a"]), an_event(1, browser=7), an_event(2, browser=None))["browsers"]

    assert {"['a']": 1, "7": 1, NULL: 1} == browsers


def test_each_level_has_its_buckets() -> None:
    """Buckets are half-open; a late event belongs to the bucket of its event time."""
    times = [0, 59_999, 60_000, 600_000, 3_600_000, 86_399_999, 86_400_000]
    pending = PendingCounts.of([an_event(i, event_timestamp=at) for i, at in enumerate(reversed(times))])

    starts = {level.name: sorted(pending.after(-1, level)) for level in LEVELS}

    assert starts["1m"] == [0, 60_000, 600_000, 3_600_000, 86_340_000, 86_400_000]
    assert starts["10m"] == [0, 600_000, 3_600_000, 85_800_000, 86_400_000]
    assert starts["1h"] == [0, 3_600_000, 82_800_000, 86_400_000]
    assert starts["1d"] == [0, 86_400_000]
    assert ["rollups_1m", "rollups_1d"] == [MINUTE.collection, DAY.collection]


def test_only_events_past_an_offset_are_counted() -> None:
    """Also in joined pending counts."""
    pending = PendingCounts.joined([PendingCounts.of([an_event(0), an_event(3)]), PendingCounts.of([an_event(7)])])

    sizes = [sum(sum(d.cells.values()) for d in pending.after(at, HOUR).values()) for at in (-1, 0, 2, 3, 7)]

    assert [3, 2, 2, 1, 0] == sizes
    assert not pending.after(7, HOUR)
    assert pending.last_offset == 7


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("user", ["user-{}", "user-{}\N{BEER MUG}", "{}" + "u" * 500])
def test_the_size_of_pending_counts_is_their_memory(user: str, shared: bool) -> None:
    """Events share most of their values, and no users."""
    tracemalloc.start()
    try:
        values = [NO_VALUES._replace(browser=f"{n:030}") for n in ([0] * 2_000 if shared else range(2_000))]
        values = [values[0] if shared else each for each in values]
        pending = PendingCounts.of([LazyDocument(b"", n, NOW, user.format(n), each) for n, each in enumerate(values)])
        size = pending.size
        del values
        gc.collect()
        memory, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 0.7 * memory < size < 1.3 * memory


def test_numbers_stored_as_doubles_are_counted() -> None:
    """MongoDB's shell writes numbers as doubles."""
    pending = PendingCounts.of([an_event(0, event_timestamp=60_000.0), an_event(1.0)])

    assert sum(pending.after(-1, MINUTE)[60_000].cells.values()) == 1
    assert pending.last_offset == 1


def test_each_event_is_counted_with_its_own_user_and_values() -> None:
    """In joined pending counts, whole and from an offset on, in each minute."""
    events = [
        an_event(n, event_timestamp=60_000 * (n % 2), user_id=f"u{n}", event_type=f"t{n}", browser=f"b{n}")
        for n in range(6)
    ]
    pending = PendingCounts.joined([PendingCounts.of(events[:3]), PendingCounts.of(events[3:])])

    for offset, minute in product((-1, 1, 3), (0, 1)):
        delta = pending.after(offset, MINUTE)[60_000 * minute]
        numbers = [n for n in range(offset + 1, 6) if n % 2 == minute]
        assert [(f"t{n}", f"b{n}") for n in numbers] == sorted((keys[0], keys[2]) for keys in map(keys_of, delta.cells))
        both = hll_union(LG_K)
        delta.add_users_to(both)
        for n in numbers:
            both.update(f"u{n}")
        assert both.get_estimate() == pytest.approx(len(numbers), rel=0.01)


def test_pending_counts_out_of_order_are_refused() -> None:
    """They would be counted wrongly."""
    with pytest.raises(AssertionError, match="order"):
        PendingCounts.joined([PendingCounts.of([an_event(3)]), PendingCounts.of([an_event(3)])])


def test_a_stored_rollup_is_read_unchanged() -> None:
    """Its expected version is the stored one."""
    stored = counted(an_event(0)) | {"offset": 5}
    rollup = Rollup(stored["_id"], stored)

    assert (5, 1) == rollup.expected_version
    assert stored == rollup.document()
    assert Rollup("x:0:0").expected_version is None
    assert (PARTITION, stored["bucket"]) == (rollup.partition_id, DatetimeMS(rollup.bucket_ms))


def test_users_of_many_rollups_are_counted_together() -> None:
    """A user in both rollups counts once."""
    halves = [counted(*[an_event(i) for i in part]) for part in (range(100), range(50, 150))]

    assert round(unique(half["users"] for half in halves)) == 150


def test_buckets_about_to_be_deleted_are_not_counted() -> None:
    """The first bucket is the one that begins after the retention of the level."""
    now = datetime(2026, 1, 8, 12, 30, tzinfo=UTC)
    keep = {HOUR: timedelta(days=7)}

    assert datetime(2026, 1, 1, 13, tzinfo=UTC).timestamp() * 1000 == kept_since(HOUR, keep, now)
    assert kept_since(DAY, keep, now) < datetime(1, 1, 1, tzinfo=UTC).timestamp() * 1000


def test_an_event_is_counted_in_the_partition_that_its_id_names() -> None:
    """With the topic's name if the broker has no topic ids; foreign documents have a partition of their own."""
    kafka = {"topic": "user_events", "partition": 2, "offset": 5}
    events = [
        {"_id": f"{TOPIC_ID}-2-5", "kafka": kafka},
        {"_id": "user_events-2-5-1790000000000", "kafka": kafka},
        {"_id": 7},
        {"_id": 7, "kafka": "none"},
    ]

    found = Counter(map(partition_id_of, events))

    assert {PartitionId(TOPIC_ID, 2): 1, PartitionId("user_events", 2): 1, PartitionId("", -1): 2} == found


def test_a_cell_from_before_a_dimension_existed_lacks_its_key() -> None:
    """The keys that it has keep their meaning, since a new dimension comes last."""
    keys = [f"key {number}" for number in range(len(CUBE))]

    assert keys == keys_of(cell_of(keys))
    assert [*keys[:-1], ABSENT] == keys_of(cell_of(keys[:-1]))
    assert value_of(ABSENT) == ABSENT


def test_a_rollup_from_before_a_dimension_existed_is_added_to() -> None:
    """It counts new events by the dimension; a recount finds the difference."""
    stored = counted(an_event(0))
    del stored["locations"]

    rollup = Rollup(stored["_id"], stored)
    ((_, delta),) = PendingCounts.of([an_event(1)]).after(-1, DAY).items()
    rollup.add(delta)

    assert (2, {"DE": 1}) == (rollup.n, rollup.maps["locations"])
    expected = Rollup(rollup.id, counted(an_event(0), an_event(1)))
    assert difference(rollup, expected) == "locations: 'DE' is 1, and must be 2"
