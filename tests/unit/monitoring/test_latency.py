"""The latencies of the last minutes, counted in weighted samples."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from streamapp.monitoring.latency import BOUNDS_MS, Latencies

NOW = 1_000_000.0


@dataclass(frozen=True)
class Stamped:
    """A record with a timestamp only."""

    timestamp: int


def aged(milliseconds: float, n: int = 1) -> list[Stamped]:
    """Return `n` records of this age."""
    return [Stamped(int(NOW * 1_000 - milliseconds))] * n


def test_no_event_has_no_percentile() -> None:
    """Unknown is not 0."""
    assert Latencies().histogram(now=NOW).percentile(0.5) is None


def test_percentile_lies_within_its_bin() -> None:
    """Within a bin, the percentile is interpolated linearly."""
    latencies = Latencies()
    latencies.add(aged(700, n=10), now=NOW)

    assert latencies.histogram(now=NOW).percentile(0.5) == 750


def test_few_slow_events_raise_only_the_high_percentile() -> None:
    """Two slow events among a hundred raise the 99th percentile, not the median."""
    latencies = Latencies()
    latencies.add(aged(3, n=98), now=NOW)
    latencies.add(aged(20_000, n=2), now=NOW)

    seen = latencies.histogram(now=NOW)
    assert (seen.percentile(0.5) or 0) < 5
    assert (seen.percentile(0.99) or 0) > 10_000


@pytest.mark.parametrize("records", [0, 1, 63, 64, 65, 4_000])
def test_samples_are_weighted(records: int) -> None:
    """The count is the number of records, whatever the size of the batch."""
    latencies = Latencies()
    latencies.add(aged(10, n=records), now=NOW)

    assert latencies.histogram(now=NOW).n == records


@pytest.mark.parametrize("pairs", [5, 3_232])
def test_records_without_a_timestamp_are_not_counted(pairs: int) -> None:
    """Their latency is unknown. Of the larger batch, each 101st record is a sample."""
    latencies = Latencies()
    latencies.add([Stamped(-1), *aged(10)] * pairs, now=NOW)
    latencies.add([Stamped(-1)], now=NOW)

    assert latencies.histogram(now=NOW).n == pairs


def test_total_counts_since_the_start() -> None:
    """The total keeps events that have left the window."""
    latencies = Latencies()
    latencies.add(aged(10, n=100), now=NOW)
    latencies.add(aged(20, n=2), now=NOW)
    latencies.histogram(now=NOW + 10_000)

    assert latencies.total.n == 102
    assert latencies.total_ms == pytest.approx(1_040)


def test_timestamp_in_the_future_counts_as_latency_0() -> None:
    """The clock of a producer may be ahead."""
    latencies = Latencies()
    latencies.add(aged(-5_000), now=NOW)

    assert latencies.histogram(now=NOW).counts[0] == 1


def test_percentile_is_at_most_the_last_bound() -> None:
    """Above the last bound there is no further bin."""
    latencies = Latencies()
    latencies.add(aged(BOUNDS_MS[-1] * 2), now=NOW)

    assert latencies.histogram(now=NOW).percentile(0.5) == BOUNDS_MS[-1]


def test_events_leave_the_window() -> None:
    """Five minutes later, only newer events count."""
    latencies = Latencies(window_seconds=300)
    latencies.add(aged(10), now=NOW)
    latencies.add(aged(10), now=NOW + 200)

    assert latencies.histogram(now=NOW + 100).n == 2
    assert latencies.histogram(now=NOW + 301).n == 1
    assert latencies.histogram(now=NOW + 501).n == 0
