"""From counts to what the page shows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dashboard import compute, timeplan
from dashboard.snapshot import Part
from tests.dashboard_fakes import NOON, FakeReader, document, v1

if TYPE_CHECKING:
    from dashboard.snapshot import Snapshot


def snapshot(*documents: dict[str, Any], v2_version: int = 2) -> Snapshot:
    reader = FakeReader(documents or [document(NOON - timedelta(days=30))], v2_version=v2_version)
    shown = timeplan.window(timeplan.DEFAULT, NOON)
    overview = reader.overview()
    assert overview is not None
    return compute.snapshot(
        chosen=timeplan.DEFAULT, window=shown, read_at=NOON, overview=overview, counts=reader.counts(shown)
    )


def labels_and_counts(parts: tuple[Part, ...]) -> list[tuple[str, int]]:
    return [(part.label, part.n) for part in parts]


def test_nothing_in_range() -> None:
    """Counts are 0, shares are unknown."""
    shown = snapshot()

    assert (0, 0, None, None) == (shown.total, shown.users, shown.adoption, shown.main_action)
    assert ((), (), (), ()) == (shown.volume, shown.types, shown.browsers, shown.devices)


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
        document(schema_version="v2"), document(schema_version="v3"), document(schema_version="v10"), v2_version=3
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

    assert [("edge", 3), ("n/a (v1)", 2), ("not given", 1)] == labels_and_counts(shown.browsers)


def test_many_values_end_in_all_others() -> None:
    """Eight bars at the most, and they add up to all events."""
    shown = snapshot(*(document(event_type=f"type-{i}") for i in range(10) for _ in range(10 - i)))

    assert 8 == len(shown.types)
    assert ("all others", 3 + 2 + 1) == labels_and_counts(shown.types)[-1]
    assert shown.total == sum(part.n for part in shown.types)


def test_missing_values_are_named() -> None:
    """An event without a device is counted, under a name."""
    assert [("not given", 1)] == labels_and_counts(snapshot(document(metadata={})).devices)
