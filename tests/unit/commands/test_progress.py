"""The pace of commands that send."""

from __future__ import annotations

import pytest

from streamapp.commands import progress


class Clock:
    """Time that passes only in sleep, and, by itself, while one thing is sent."""

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
        """Seconds since the begin at which each thing is passed on."""
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
def test_each_is_passed_on_when_it_is_due_or_up_to_5_ms_later(clock: Clock, rate: float) -> None:
    late = [at - index / rate for index, at in enumerate(clock.sent_at(rate, 1_000))]

    assert -1e-9 < min(late)
    assert max(late) < 0.005 + 1e-9


def test_many_a_second_take_few_sleeps(clock: Clock) -> None:
    """Each costs more than most events do: 200 a second at the most."""
    clock.sent_at(5_000, 10_000)

    assert clock.sleeps <= 2 * 200


def test_what_was_held_up_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace is that from the first to the last."""
    clock = Clock(send_seconds=0.000_9)
    monkeypatch.setattr(progress, "time", clock)

    assert clock.sent_at(1_000, 5_001)[-1] == pytest.approx(5.0, abs=0.006)


def test_without_a_rate_nothing_waits(clock: Clock) -> None:
    assert clock.sent_at(None, 1_000) == [0.0] * 1_000
    assert clock.sleeps == 0
