"""What stands still is noticed within 15 s, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamapp.monitoring.stall_detector import StallDetector
from streamapp.transport.offset_tracker import Progress

#: Seconds between two looks.
STEP = 1.5


def partition(*, settled: int | None, committed: int | None, end: int | None, number: int = 0) -> Progress:
    """Return how far a partition is."""
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
    """Return what is said at each look."""
    stall_detector, now, said = StallDetector(), 0.0, list[tuple[float, str, str]]()
    while now <= seconds:
        stall_detector.look(at(now), now)
        said.append((now, stall_detector.settling(now), stall_detector.commits(now)))
        now += STEP
    return said


def first_red(said: list[tuple[float, str, str]]) -> float | None:
    """Return when something was not ok for the first time."""
    return next((now for now, *what in said if what != ["ok", "ok"]), None)


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
def test_an_hour_without_fault_raises_no_alarm(at: Callable[[float], list[Progress]]) -> None:
    """However little or much there is to do."""
    assert first_red(states(at, 3_600)) is None


def test_records_that_are_not_settled_are_noticed_and_so_is_their_end() -> None:
    """Named with their offset."""

    def at(now: float) -> list[Progress]:
        settled = 5 if 60 <= now < 90 else 9
        return [
            partition(settled=settled, committed=settled, end=9),
            partition(settled=1, committed=1, end=1, number=1),
        ]

    said = states(at, 120)

    red = first_red(said)
    assert red is not None
    assert 60 < red <= 75
    assert next(s for now, s, _ in said if now == red).startswith("partition 0: records wait at offset 5, and none")
    assert first_red([look for look in said if look[0] >= 90]) is None


def test_a_stuck_commit_is_noticed() -> None:
    """Also the first one of a group."""
    said = states(lambda now: [partition(settled=int(now), committed=None, end=int(now))], 30)

    red = first_red(said)
    assert red is not None
    assert red <= 15
    assert "more is settled than the committed offset 0, for" in said[-1][2]
    assert said[-1][1] == "ok"


def test_the_oldest_trouble_is_named_and_the_rest_counted() -> None:
    """One line, whatever the number of partitions."""
    said = states(lambda _: [partition(settled=5, committed=5, end=9, number=n) for n in range(3)], 30)

    assert said[-1][1].endswith("and 2 more")


def test_records_of_an_open_transaction_do_not_wait() -> None:
    """The log goes on, and nothing of it may be read yet."""
    held = Progress(topic="t", partition=0, topic_id=None, settled=5, end=90, stable_end=5, oldest_ms=None, committed=5)

    assert first_red(states(lambda _: [held], 900)) is None


def test_time_in_which_nobody_looked_does_not_count() -> None:
    """A process that was stopped is not ready, and has to be seen standing still again when it goes on."""
    stall_detector, waiting = StallDetector(), [partition(settled=5, committed=3, end=9)]
    assert stall_detector.settling(0) == "not looked at yet"
    stall_detector.look(waiting, 0)
    assert stall_detector.settling(300) == "not looked at for 300 s"

    stall_detector.look(waiting, 300)
    assert ("ok", "ok") == (stall_detector.settling(300), stall_detector.commits(300))
