"""Events are counted by bucket, whatever their values are."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from datasketches import hll_union
from hypothesis import given
from hypothesis import strategies as st

from streamapp.decode.document import Document
from streamapp.model.record import PartitionId
from streamapp.model.user_event import DimensionValues
from streamapp.rollups.keys import LG_K, MAX_CELLS, MAX_KEYS, NULL, OTHER, id_of, key_of, partition_id_of, value_of
from streamapp.rollups.levels import LEVELS, kept_since
from streamapp.rollups.pending import Events, PendingCounts
from streamapp.rollups.rollup import Rollup, unique
from tests.support.factories import NOW, TOPIC_ID

LANE = PartitionId(TOPIC_ID, 0)
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
    ((start, deltas),) = PendingCounts.of(events).after(-1, DAY).items()
    rollup = Rollup(id_of(LANE, start))
    rollup.add(deltas)
    return rollup.document()


@given(st.text(max_size=30))
def test_a_key_has_no_awkward_character_and_stands_for_one_value(text: str) -> None:
    """Dots and dollars mean paths to MongoDB, bars are ours, and NUL is no character of a name."""
    key = key_of(text)

    assert not set(".$|\0") & set(key)
    assert key not in {NULL, OTHER}
    assert text == value_of(key)


def test_null_and_the_rest_have_keys_of_their_own() -> None:
    """No value is escaped to them."""
    assert (NULL, None, OTHER) == (key_of(None), value_of(NULL), value_of(OTHER))
    assert ["%25null", "7"] == [key_of("%null"), key_of(7)]


def test_a_long_value_is_cut() -> None:
    """A megabyte of event type must not go into a rollup."""
    assert len(key_of("x" * 1_000_000)) == len(key_of("x" * 100)) == 100


def test_a_rollup_counts_by_each_value_and_by_all_together() -> None:
    """And the users once each, the one without a name too."""
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
    assert {"click|mobile|%null|v1": 2, "click|mobile|edge|v2": 1, "click|tv|%null|v1": 1} == rollup["cells"]
    assert round(unique([rollup["users"]])) == 3


def test_a_thousand_browsers_are_the_first_ones_and_the_rest() -> None:
    """None of them is lost from the sum."""
    browsers = counted(*[an_event(i, browser=f"b{i}") for i in range(1_000)])["browsers"]

    assert len(browsers) == MAX_KEYS + 1
    assert {OTHER: 1_000 - MAX_KEYS}.items() <= browsers.items()


def test_cells_have_a_limit_of_their_own() -> None:
    """Few values of each kind can make many cells."""
    events = [an_event(i, event_type=f"t{i % 40}", device=f"d{i // 40}", browser=f"b{i % 3}") for i in range(40 * 40)]

    cells = counted(*events)["cells"]

    assert len(cells) == MAX_CELLS + 1
    assert sum(cells.values()) == len(events)


def test_values_that_are_no_texts_are_counted_as_their_text() -> None:
    """A foreign schema may have a browser of any type, one that cannot be a key among them."""
    browsers = counted(an_event(0, browser=["a"]), an_event(1, browser=7), an_event(2, browser=None))["browsers"]

    assert {"['a']": 1, "7": 1, NULL: 1} == browsers


def test_each_level_has_its_buckets() -> None:
    """Half-open, and late events belong to the one they happened in."""
    times = [0, 59_999, 60_000, 600_000, 3_600_000, 86_399_999, 86_400_000]
    pending = PendingCounts.of([an_event(i, event_timestamp=at) for i, at in enumerate(reversed(times))])

    starts = {level.name: sorted(pending.after(-1, level)) for level in LEVELS}

    assert starts["1m"] == [0, 60_000, 600_000, 3_600_000, 86_340_000, 86_400_000]
    assert starts["10m"] == [0, 600_000, 3_600_000, 85_800_000, 86_400_000]
    assert starts["1h"] == [0, 3_600_000, 82_800_000, 86_400_000]
    assert starts["1d"] == [0, 86_400_000]
    assert ["rollups_1m", "rollups_1d"] == [MINUTE.collection, DAY.collection]


def test_only_what_lies_past_an_offset_is_counted() -> None:
    """Of pending counts that go on from one another."""
    pending = PendingCounts.joined([PendingCounts.of([an_event(0), an_event(3)]), PendingCounts.of([an_event(7)])])

    sizes = [
        sum(sum(d.cells.values()) for ds in pending.after(at, HOUR).values() for d in ds) for at in (-1, 0, 2, 3, 7)
    ]

    assert [3, 2, 2, 1, 0] == sizes
    assert not pending.after(7, HOUR)
    assert pending.last_offset == 7


def test_what_a_tally_holds_grows_with_what_its_events_have_of_their_own() -> None:
    """Texts that many share count once."""
    browser, events = "b" * 1_000, 100
    sizes = [
        PendingCounts(range(events), Events([0] * events, [user] * events, [values] * events)).size
        for user, values in ((user, DimensionValues("", "", browser, "", "")) for user in ("", "u" * 1_000))
    ]

    assert sizes[1] - sizes[0] == 1_000 * events
    assert 50 * events + 1_000 < sizes[0] < 150 * events + 1_000


def test_numbers_that_were_made_doubles_count() -> None:
    """As whoever changes a document in MongoDB's shell may leave it."""
    pending = PendingCounts.of([an_event(0, event_timestamp=60_000.0), an_event(1.0)])

    assert [1] == [sum(each.cells.values()) for each in pending.after(-1, MINUTE)[60_000]]
    assert pending.last_offset == 1


def test_each_event_is_counted_with_its_own_user_and_values() -> None:
    """Of pending counts that go on from one another, whole and from an offset on, each minute by itself."""
    events = [
        an_event(n, event_timestamp=60_000 * (n % 2), user_id=f"u{n}", event_type=f"t{n}", browser=f"b{n}")
        for n in range(6)
    ]
    pending = PendingCounts.joined([PendingCounts.of(events[:3]), PendingCounts.of(events[3:])])

    for offset, minute in product((-1, 1, 3), (0, 1)):
        (delta,) = pending.after(offset, MINUTE)[60_000 * minute]
        numbers = [n for n in range(offset + 1, 6) if n % 2 == minute]
        assert [(f"t{n}", f"b{n}") for n in numbers] == sorted((key[0], key[2]) for key in delta.cells)
        both = hll_union(LG_K)
        both.update(delta.users)
        for n in numbers:
            both.update(f"u{n}")
        assert both.get_estimate() == pytest.approx(len(numbers), rel=0.01)


def test_tallies_out_of_order_are_refused() -> None:
    """They would be counted wrongly without anyone knowing."""
    with pytest.raises(AssertionError, match="order"):
        PendingCounts.joined([PendingCounts.of([an_event(3)]), PendingCounts.of([an_event(3)])])


def test_a_stored_rollup_goes_on_where_it_was() -> None:
    """Its guard is what was read."""
    stored = counted(an_event(0)) | {"offset": 5}
    rollup = Rollup(stored["_id"], stored)

    assert (5, 1) == rollup.expected_version
    assert stored == rollup.document()
    assert Rollup("x:0:0").expected_version is None


def test_users_of_many_rollups_are_counted_together() -> None:
    """Those who are in both, once."""
    halves = [counted(*[an_event(i) for i in part]) for part in (range(100), range(50, 150))]

    assert round(unique(half["users"] for half in halves)) == 150


def test_what_is_about_to_be_deleted_is_not_counted() -> None:
    """The first bucket is the one that begins after the time for which the level is kept."""
    now = datetime(2026, 1, 8, 12, 30, tzinfo=UTC)
    keep = {HOUR: timedelta(days=7)}

    assert datetime(2026, 1, 1, 13, tzinfo=UTC).timestamp() * 1000 == kept_since(HOUR, keep, now)
    assert kept_since(DAY, keep, now) < datetime(1, 1, 1, tzinfo=UTC).timestamp() * 1000


def test_an_event_is_counted_in_the_lane_that_its_id_names() -> None:
    """Or its topic's, where the broker knows no topic id; foreign documents have one of their own."""
    kafka = {"topic": "user_events", "partition": 2, "offset": 5}
    events = [
        {"_id": f"{TOPIC_ID}-2-5", "kafka": kafka},
        {"_id": "user_events-2-5-1790000000000", "kafka": kafka},
        {"_id": 7},
        {"_id": 7, "kafka": "none"},
    ]

    found = Counter(map(partition_id_of, events))

    assert {PartitionId(TOPIC_ID, 2): 1, PartitionId("user_events", 2): 1, PartitionId("", -1): 2} == found
