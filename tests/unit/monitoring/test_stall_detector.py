"""A stalled partition is detected within 15 s; slow progress is not a stall."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamapp.monitoring.stall_detector import StallDetector
from streamapp.transport.offset_tracker import Progress

#: Seconds between two observations.
STEP = 1.5


def partition(*, settled: int | None, committed: int | None, end: int | None, number: int = 0) -> Progress:
    """Return the progress of a partition."""
    return Progress(
        topic="t",
        partition=number,
        topic_id=None,
        settled=settled,
        end=end,
        stable_end=end,
        oldest_ms=None,
        committed=committed,
    )


def states(at: Callable[[float], list[Progress]], seconds: float) -> list[tuple[float, str, str]]:
    """Return the state of both checks at each observation."""
    stall_detector, now, found = StallDetector(), 0.0, list[tuple[float, str, str]]()
    while now <= seconds:
        stall_detector.observe(at(now), now)
        found.append((now, stall_detector.settling(now), stall_detector.commits(now)))
        now += STEP
    return found


def first_failure(states: list[tuple[float, str, str]]) -> float | None:
    """Return the first instant at which a check failed."""
    return next((now for now, *checks in states if checks != ["ok", "ok"]), None)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(lambda _: [partition(settled=7, committed=7, end=7)], id="idle"),
        pytest.param(lambda _: [], id="nothing assigned"),
        pytest.param(lambda _: [partition(settled=None, committed=None, end=None)], id="unknown"),
        pytest.param(lambda _: [partition(settled=0, committed=None, end=0)], id="an empty topic"),
        pytest.param(
            # One record every 20 s, settled two seconds later, committed three seconds after that.
            lambda now: [
                partition(settled=int(max(0, now - 2) // 20), committed=int(max(0, now - 5) // 20), end=int(now // 20))
            ],
            id="a trickle",
        ),
        pytest.param(
            # Batches of 4,000 that take 8 s each, committed once they are settled, always behind.
            lambda now: [partition(settled=4_000 * int(now // 8), committed=4_000 * int(now // 9), end=10**9)],
            id="a drain on a slow machine",
        ),
    ],
)
def test_a_healthy_hour_passes(at: Callable[[float], list[Progress]]) -> None:
    """Neither an idle nor a busy partition is stalled."""
    assert first_failure(states(at, 3_600)) is None


def test_unsettled_records_are_detected_until_they_are_settled() -> None:
    """The text names the partition and the offset."""

    def at(now: float) -> list[Progress]:
        settled = 5 if 60 <= now < 90 else 9
        return [
            partition(settled=settled, committed=settled, end=9),
            partition(settled=1, committed=1, end=1, number=1),
        ]

    found = states(at, 120)

    failed_at = first_failure(found)
    assert failed_at is not None
    assert 60 < failed_at <= 75
    assert next(s for now, s, _ in found if now == failed_at).startswith(
        "partition 0: records wait at offset 5, and none"
    )
    assert first_failure([state for state in found if state[0] >= 90]) is None


def test_missing_commits_are_detected() -> None:
    """A group that has never committed counts as committed offset 0."""
    found = states(lambda now: [partition(settled=int(now), committed=None, end=int(now))], 30)

    failed_at = first_failure(found)
    assert failed_at is not None
    assert failed_at <= 15
    assert "the committed offset is still 0 after" in found[-1][2]
    assert found[-1][1] == "ok"


def test_longest_stall_is_named_and_the_others_are_counted() -> None:
    """The text is one line, whatever the number of partitions."""
    found = states(lambda _: [partition(settled=5, committed=5, end=9, number=n) for n in range(3)], 30)

    assert found[-1][1].endswith("(and 2 more partitions)")


def test_records_of_an_open_transaction_are_no_stall() -> None:
    """The log end advances, but the records may not be read yet."""
    held = Progress(topic="t", partition=0, topic_id=None, settled=5, end=90, stable_end=5, oldest_ms=None, committed=5)

    assert first_failure(states(lambda _: [held], 900)) is None


def test_time_without_observation_does_not_count() -> None:
    """A suspended process is not ready; after it resumes, a stall must be observed again."""
    stall_detector, waiting = StallDetector(), [partition(settled=5, committed=3, end=9)]
    assert stall_detector.settling(0) == "not checked yet"
    stall_detector.observe(waiting, 0)
    assert stall_detector.settling(300) == "not checked for 300 s"

    stall_detector.observe(waiting, 300)
    assert ("ok", "ok") == (stall_detector.settling(300), stall_detector.commits(300))
