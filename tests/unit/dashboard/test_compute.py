"""From counts to what the page shows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dashboard.model import compute, time_window
from dashboard.model.snapshot import NEW, Changes, Filter, Part, Query, Users
from streamapp.model.user_event import CHARTS
from tests.support.doubles.dashboard_reader import NOON, FakeReader, document, v1

if TYPE_CHECKING:
    from dashboard.model.snapshot import Snapshot


def snapshot(*documents: dict[str, Any], v2_number: int = 2, **changes: Any) -> Snapshot:
    reader = FakeReader(documents or [document(NOON - timedelta(days=30))], numbers={2: v2_number})
    for name, value in changes.items():
        setattr(reader, name, value)
    return snapshot_of(reader)


def snapshot_of(reader: FakeReader, query: Query = Query(chosen=time_window.DEFAULT)) -> Snapshot:  # noqa: B008 - frozen
    shown = time_window.window(query.chosen, NOON)
    overview = reader.overview()
    assert overview is not None
    found = reader.found(shown, query.filter, settled_at=NOON)
    return compute.snapshot(query=query, window=shown, read_at=NOON, overview=overview, found=found)


def labels_and_counts(parts: tuple[Part, ...]) -> list[tuple[str, int]]:
    return [(part.label, part.n) for part in parts]


def test_nothing_in_range() -> None:
    """Counts are 0, shares are unknown."""
    shown = snapshot()

    assert (0, Users(n=0, is_exact=True), None, None) == (
        shown.total,
        shown.users,
        shown.adoption,
        shown.main_action,
    )
    assert ((), {()}) == (shown.volume, {*shown.parts.values()})


def test_adoption_leaves_unregistered_events_out_of_both_numbers() -> None:
    """2 of the 3 events with a registered version."""
    shown = snapshot(document(), document(), v1(), document(schema_version="unregistered"))

    assert Part(label="V2 or later", n=2, of=3) == shown.adoption


def test_adoption_over_unregistered_events_alone_is_unknown() -> None:
    """A share of nothing is not 0 %."""
    assert snapshot(document(schema_version="unregistered")).adoption is None


def test_adoption_over_v1_alone_is_zero() -> None:
    """A share that is known to be 0."""
    assert Part(label="V2 or later", n=0, of=2) == snapshot(v1(), v1()).adoption


def test_adoption_counts_from_the_version_that_v2_has_under_the_subject() -> None:
    """Where others registered before us, V2 is not version 2."""
    shown = snapshot(
        document(schema_version="v2"), document(schema_version="v3"), document(schema_version="v10"), v2_number=3
    )

    assert Part(label="V2 or later", n=2, of=3) == shown.adoption


def test_main_action_is_the_most_frequent_type_and_ties_go_by_name() -> None:
    """The same data always has the same main action."""
    shown = snapshot(*(document(event_type=name) for name in ("search", "click", "search", "click", "login")))

    assert Part(label="click", n=2, of=5) == shown.main_action


def test_volume_has_a_number_for_every_bucket_and_versions_in_order() -> None:
    """Buckets without events are 0; unregistered comes last, v10 after v2."""
    first = NOON - timedelta(minutes=15)
    shown = snapshot(
        document(schema_version="unregistered"), document(schema_version="v10"), document(), v1(first), v1()
    )

    assert ["v1", "v2", "v10", "unregistered"] == [series.version for series in shown.volume]
    assert (1, *[0] * 14, 1) == shown.volume[0].per_bucket
    assert (*[0] * 15, 1) == shown.volume[1].per_bucket


def test_browser_of_v1_is_not_an_empty_browser_of_v2() -> None:
    """V1 has no such field; V2 leaves it empty."""
    shown = snapshot(
        v1(), v1(), document(browser=None), document(browser="edge"), document(browser="edge"), document(browser="edge")
    )

    assert [("edge", 3), ("n/a (v1)", 2), ("not given", 1)] == labels_and_counts(shown.parts["browsers"])


def test_many_values_end_in_all_others() -> None:
    """Eight bars at the most, and they add up to all events."""
    shown = snapshot(*(document(event_type=f"type-{i}") for i in range(10) for _ in range(10 - i)))

    assert 8 == len(shown.parts["types"])
    assert ("all others", 3 + 2 + 1) == labels_and_counts(shown.parts["types"])[-1]
    assert shown.total == sum(part.n for part in shown.parts["types"])


def test_missing_values_are_named() -> None:
    """An event without a device is counted, under a name."""
    assert [("not given", 1)] == labels_and_counts(snapshot(document(metadata={})).parts["devices"])


BEFORE = NOON - timedelta(minutes=20)
FINISHED = NOON - timedelta(minutes=5)


def test_changes_leave_out_the_bucket_that_is_still_filling() -> None:
    """Three finished events against two, whatever came in this minute."""
    shown = snapshot(
        v1(BEFORE), document(BEFORE), document(FINISHED), document(FINISHED), v1(FINISHED, user_id="user-2"), v1(), v1()
    )

    assert Changes(total=0.5, users=1.0, adoption=2 / 3 - 1 / 2, main_action=0.0) == shown.changes


def test_what_had_nothing_before_is_new() -> None:
    """Neither growth without end nor 0 %."""
    assert Changes(total=NEW, users=NEW) == snapshot(document(FINISHED)).changes


def test_what_had_next_to_nothing_before_is_new() -> None:
    """Ten times as many are a change, eleven times are not."""
    totals = [snapshot(document(BEFORE), *[document(FINISHED)] * n).changes.total for n in (10, 11)]

    assert [9.0, NEW] == totals


def test_period_before_is_counted_per_bucket() -> None:
    """The buckets of both periods are in the same order, without the one that is still filling."""
    before = snapshot(document(NOON - timedelta(minutes=20)), document(FINISHED), document()).before

    assert 1 == sum(n or 0 for n in before)
    assert (None, 15, 16) == (before[-1], len([n for n in before if n is not None]), len(before))


def test_nothing_finished_after_something_before() -> None:
    """All is gone, and shares of nothing are not compared."""
    assert Changes(total=-1.0, users=-1.0) == snapshot(document(BEFORE), document()).changes


def test_direct_count_is_compared_with_nothing() -> None:
    """The period before was not read."""
    reader = FakeReader([document(BEFORE), document(FINISHED)])
    shown = time_window.window(time_window.DEFAULT, NOON)
    overview = reader.overview()
    assert overview
    query, found = Query(chosen=time_window.DEFAULT), reader.found_directly(shown, Filter())

    counted = compute.snapshot(query=query, window=shown, read_at=NOON, overview=overview, found=found)

    assert Changes() == counted.changes


def test_users_under_a_filter_of_too_many_events_are_unknown() -> None:
    """Which is not 0, and has no change."""
    reader = FakeReader([document(BEFORE), document(FINISHED), document(FINISHED)])
    reader.most_for_users = 1
    wanted = Filter(types=("click",))

    shown = snapshot_of(reader, Query(chosen=time_window.DEFAULT, filter=wanted))

    assert shown.users is None
    assert shown.changes.users is None
    assert 2 == shown.total


def test_many_users_are_an_estimate() -> None:
    """A sketch is exact only for some 190."""
    shown = snapshot(*(document(user_id=f"user-{i}") for i in range(191)))

    assert Users(n=191, is_exact=False) == shown.users


def test_adoption_in_each_bucket() -> None:
    """Buckets without events have none."""
    shown = snapshot(document(), v1(), v1(FINISHED))

    assert {0: None, 10: 0.0, 15: 0.5} == {i: shown.adopted[i] for i in (0, 10, 15)}


def test_later_versions_are_marked_where_they_were_first_seen() -> None:
    """In this window; the first of all marks no change."""
    times = (("v1", FINISHED, NOON), ("v2", FINISHED, NOON), ("v3", BEFORE, NOON))

    assert (("v2", FINISHED),) == snapshot(document(), version_times=times).marks


def test_breakdowns_by_name() -> None:
    """For an export."""
    assert [each.plural for each in CHARTS] == list(snapshot(document()).parts)
