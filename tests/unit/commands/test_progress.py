"""The rate limit of commands that send."""

from __future__ import annotations

import pytest

from streamapp.commands import progress


class Clock:
    """A clock that advances in `sleep`, and by a fixed time for each item sent."""

    def __init__(self, send_seconds: float = 0.0) -> None:
        self.now = 100.0
        self.sleeps = 0
        self._send_seconds = send_seconds

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        self.now += seconds

    def sent_at(self, rate: float | None, count: int) -> list[float]:
        """Return for each item the seconds from the start to its sending."""
        began, times = self.now, []
        for _ in progress.paced(range(count), rate):
            times.append(self.now - began)
            self.now += self._send_seconds
        return times


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.mark.parametrize("rate", [0.5, 100, 5_000, 1e6])
def test_each_item_is_sent_when_it_is_due_or_up_to_5_ms_later(clock: Clock, rate: float) -> None:
    late = [at - index / rate for index, at in enumerate(clock.sent_at(rate, 1_000))]

    assert -1e-9 < min(late)
    assert max(late) < 0.005 + 1e-9


def test_there_are_at_most_200_sleeps_per_second(clock: Clock) -> None:
    """A sleep costs more CPU than most events do."""
    clock.sent_at(5_000, 10_000)

    assert clock.sleeps <= 2 * 200


def test_delayed_items_are_sent_without_further_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The average rate from the first to the last item is the given one."""
    clock = Clock(send_seconds=0.000_9)
    monkeypatch.setattr(progress, "time", clock)

    assert clock.sent_at(1_000, 5_001)[-1] == pytest.approx(5.0, abs=0.006)


def test_without_a_rate_no_item_waits(clock: Clock) -> None:
    assert clock.sent_at(None, 1_000) == [0.0] * 1_000
    assert clock.sleeps == 0
