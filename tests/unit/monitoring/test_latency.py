"""Latencies are counted in weighted samples, told in percentiles, and forgotten."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from streamapp.monitoring.latency import BOUNDS_MS, Latencies

NOW = 1_000_000.0


@dataclass(frozen=True)
class Stamped:
    """As much of a record as tells its age."""

    timestamp: int


def aged(milliseconds: float, n: int = 1) -> list[Stamped]:
    """Return records of this age."""
    return [Stamped(int(NOW * 1_000 - milliseconds))] * n


def test_no_event_has_no_percentile() -> None:
    """Unknown is not 0."""
    assert Latencies().histogram(now=NOW).percentile(0.5) is None


def test_percentile_lies_within_its_bin() -> None:
    """Half of the events of one bin are taken to lie below its middle."""
    latencies = Latencies()
    latencies.add(aged(700, n=10), now=NOW)

    assert latencies.histogram(now=NOW).percentile(0.5) == 750


def test_percentile_finds_the_slow_few() -> None:
    """Two slow events among a hundred are the slowest percent, not the median."""
    latencies = Latencies()
    latencies.add(aged(3, n=98), now=NOW)
    latencies.add(aged(20_000, n=2), now=NOW)

    seen = latencies.histogram(now=NOW)
    assert (seen.percentile(0.5) or 0) < 5
    assert (seen.percentile(0.99) or 0) > 10_000


@pytest.mark.parametrize("records", [0, 1, 63, 64, 65, 4_000])
def test_sample_stands_for_all(records: int) -> None:
    """However many records a batch has, all of them are counted."""
    latencies = Latencies()
    latencies.add(aged(10, n=records), now=NOW)

    assert latencies.histogram(now=NOW).n == records


def test_total_forgets_nothing() -> None:
    """Counts and the sum of all latencies, since the start."""
    latencies = Latencies()
    latencies.add(aged(10, n=100), now=NOW)
    latencies.add(aged(20, n=2), now=NOW)
    latencies.histogram(now=NOW + 10_000)

    assert latencies.total.n == 102
    assert latencies.total_ms == pytest.approx(1_040)


def test_clock_that_is_ahead_counts_as_no_time() -> None:
    """A record from the future was stored at once."""
    latencies = Latencies()
    latencies.add(aged(-5_000), now=NOW)

    assert latencies.histogram(now=NOW).counts[0] == 1


def test_beyond_the_last_bound_only_that_is_known() -> None:
    """A record of last year was stored after more than the last bound."""
    latencies = Latencies()
    latencies.add(aged(BOUNDS_MS[-1] * 365), now=NOW)

    assert latencies.histogram(now=NOW).percentile(0.5) == BOUNDS_MS[-1]


def test_what_is_older_than_the_window_is_forgotten() -> None:
    """Five minutes later, only what came since counts."""
    latencies = Latencies(window_seconds=300)
    latencies.add(aged(10), now=NOW)
    latencies.add(aged(10), now=NOW + 200)

    assert latencies.histogram(now=NOW + 100).n == 2
    assert latencies.histogram(now=NOW + 301).n == 1
    assert latencies.histogram(now=NOW + 501).n == 0
