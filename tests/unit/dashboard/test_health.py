"""The pipeline's status by what its workers wrote; what no worker has reported is unknown, never 0."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dashboard.model.health import Health, PipelineState, Status, health, unknown
from streamapp.monitoring.latency import BOUNDS_MS
from tests.support.doubles.dashboard_pipeline import partition, points, seconds, worker
from tests.support.doubles.dashboard_reader import NOON

HOUR_AGO = seconds(3_600)


def status(*partitions: dict[str, Any], **changes: Any) -> Status:
    values: dict[str, Any] = {"has_events": True, "last_received_at": HOUR_AGO}
    return health(PipelineState(partitions=partitions, **(values | changes)), NOON).status


def health_of(*partitions: dict[str, Any], **changes: Any) -> Health:
    return health(PipelineState(partitions=partitions, **changes), NOON)


def test_event_of_this_moment_is_live() -> None:
    assert Status.LIVE == status(partition(), last_received_at=seconds(9))


def test_live_without_a_worker_that_tells() -> None:
    """Events are stored: something works."""
    assert Status.LIVE == status(last_received_at=seconds(9))


def test_nothing_to_do_is_idle() -> None:
    assert Status.IDLE == status(partition(), last_received_at=seconds(11))


def test_lag_that_is_worked_off_is_live() -> None:
    assert Status.LIVE == status(partition(lag=50, recent=points(50, rate=10)))


def test_lag_without_heartbeat_is_stalled() -> None:
    assert Status.STALLED == status(partition(lag=1, at=seconds(16)), last_received_at=seconds(16))


def test_lag_that_stands_still_is_stalled() -> None:
    """In one partition, though another goes on and events come in."""
    assert Status.STALLED == status(
        partition(lag=50, recent=points(50, rate=0)), partition(1), last_received_at=seconds(1)
    )


def test_a_moment_without_progress_is_no_stall() -> None:
    assert Status.LIVE == status(partition(lag=50, recent=points(50, rate=0)[-4:]))


def test_rate_that_is_unknown_is_no_stall() -> None:
    assert Status.LIVE == status(partition(lag=50, recent=points(50, rate=None)))


def test_no_event_at_all_is_waiting() -> None:
    assert Status.WAITING == status(has_events=False, last_received_at=None)


@pytest.mark.parametrize("partitions", [(), (partition(at=seconds(16)),), (partition(lag=None),)])
def test_unknown_lag_is_unknown(partitions: tuple[dict[str, Any], ...]) -> None:
    """No worker has ever reported, or has reported recently, or knows."""
    assert Status.UNKNOWN == status(*partitions)


def test_lag_is_the_sum_and_its_age_the_oldest() -> None:
    shown = health_of(partition(lag=3, lag_seconds=1.5), partition(1, lag=4, lag_seconds=9.0))

    assert (7, 9.0) == (shown.lag, shown.lag_seconds)


@pytest.mark.parametrize("lag", [0, 5])
def test_lag_that_was_told_long_ago_is_unknown(lag: int) -> None:
    """Nothing waited when the worker died; what came since nobody knows. A trend and a word tell what was."""
    shown = health_of(partition(lag=lag, lag_seconds=0.0, at=seconds(16)))

    assert (None, None) == (shown.lag, shown.lag_seconds)
    assert ("5 events were waiting" in shown.why) == bool(lag)


def test_bound_of_the_age_is_known_as_one() -> None:
    """It is a bound only where it is beyond every age that is known."""
    bound = partition(lag=1, lag_seconds=None, lag_seconds_at_most=0.5)

    alone, beside = health_of(bound), health_of(bound, partition(1, lag=1, lag_seconds=9.0))

    assert [(0.5, True), (9.0, False)] == [(shown.lag_seconds, shown.lag_seconds_is_bound) for shown in (alone, beside)]


def test_one_unknown_partition_makes_the_lag_unknown() -> None:
    shown = health_of(partition(lag=3, lag_seconds=None), partition(1, lag=None))

    assert (None, None) == (shown.lag, shown.lag_seconds)


def test_earlier_life_of_the_topic_counts_no_more() -> None:
    earlier = partition(5, lag=99, incarnation="B" * 22, at=HOUR_AGO)

    assert 0 == health_of(partition(), earlier).lag


def test_workers_are_summed_and_those_that_are_gone_marked() -> None:
    """A worker that is gone has absorbed its duplicates, but does no work now."""
    old = worker("old", at=HOUR_AGO, rate=100.0, duplicates=5)

    shown = health_of(workers=[old, worker("new", rate=3.0, duplicates=2)])

    assert (3.0, 7) == (shown.rate, shown.duplicates)
    assert [("new", False), ("old", True)] == [(w.name, w.is_gone) for w in shown.workers]


def test_latency_is_of_all_workers_together() -> None:
    fast, slow = [0.0] * (len(BOUNDS_MS) + 1), [0.0] * (len(BOUNDS_MS) + 1)
    fast[0], slow[6] = 90, 10

    shown = health_of(workers=[worker("fast", counts=fast), worker("slow", counts=slow)])

    assert (shown.latency[50] or 0) < 5
    assert (shown.latency[95] or 0) > 250


def test_without_workers_all_is_unknown() -> None:
    shown = health_of()

    assert [None] * 4 == [shown.rate, shown.duplicates, shown.lag, shown.last_event_age]
    assert {50: None, 95: None, 99: None} == shown.latency
    assert shown.latency == unknown("why").latency


def test_dead_letters_are_summed_over_reasons() -> None:
    assert 5 == health_of(dead_letters=[{"_id": "empty", "n": 2}, {"_id": "tombstone", "n": 3}]).dead_letters


def test_age_of_the_last_event() -> None:
    assert timedelta(seconds=9) == health_of(last_received_at=seconds(9)).last_event_age


def test_a_worker_that_is_gone_is_named_with_its_last_heartbeat() -> None:
    shown = health_of(partition(lag=1, at=HOUR_AGO), workers=[worker("old", at=HOUR_AGO)])

    assert "No worker runs: the last heartbeat was" in shown.why


def test_a_partition_that_no_worker_reports_is_named() -> None:
    """Other partitions have a worker."""
    shown = health_of(partition(lag=1, at=seconds(16)), workers=[worker("new")])

    assert "For 15 s, no worker has reported on at least one partition." in shown.why
