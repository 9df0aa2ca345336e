"""The latency of events, from their Kafka timestamp to MongoDB: a histogram over the last minutes, and percentiles."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

#: Upper bounds of the histogram's bins, in milliseconds; one more bin counts greater latencies.
BOUNDS_MS = (
    *(5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000),
    *(300_000, 1_800_000, 3_600_000, 21_600_000, 86_400_000),
)
#: Number of records per batch that are sampled; each sample has the weight of the records that it represents.
SAMPLED_RECORDS = 64
#: The length of the window, which moves in steps of a tenth.
WINDOW_SECONDS = 300.0
_STEPS = 10


class Stamped(Protocol):
    """A record with a timestamp."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """The number of events by latency."""

    #: One number per bin of BOUNDS_MS, and one for greater latencies.
    counts: tuple[float, ...]

    @property
    def n(self) -> int:
        """The number of events."""
        return round(sum(self.counts))

    def percentile(self, fraction: float) -> float | None:
        """Milliseconds within which this fraction of the events was stored; None without events.

        Interpolates linearly within a bin; above the last bound, returns that bound.
        """
        rest = fraction * sum(self.counts)
        for (low, high), count in zip(pairwise((0, *BOUNDS_MS)), self.counts, strict=False):
            if count and rest <= count:
                return low + (high - low) * rest / count
            rest -= count
        return float(BOUNDS_MS[-1]) if self.counts[-1] else None


class Latencies:
    """Counts the latencies of the last minutes and since the start, in constant memory."""

    def __init__(self, *, window_seconds: float = WINDOW_SECONDS) -> None:
        self._step_seconds = window_seconds / _STEPS
        #: The number and the bins of each step of the window that has events; the oldest first.
        self._steps: deque[tuple[int, list[float]]] = deque()
        self._total = _no_bins()
        #: The sum of all latencies since the start.
        self.total_ms = 0.0

    @property
    def total(self) -> Histogram:
        """The latencies since the start."""
        return Histogram(counts=tuple(self._total))

    def add(self, records: Sequence[Stamped], *, now: float) -> None:
        """Count records that were stored at `now` (seconds since the epoch); not those without a timestamp."""
        sampled = records[:: -(-len(records) // SAMPLED_RECORDS) or 1]
        bins = self._bins(now)
        for record in sampled:
            if record.timestamp < 0:
                continue
            # The producer's clock may be ahead of this clock.
            latency_ms, weight = max(0.0, now * 1_000 - record.timestamp), len(records) / len(sampled)
            index = bisect_left(BOUNDS_MS, latency_ms)
            bins[index] += weight
            self._total[index] += weight
            self.total_ms += latency_ms * weight

    def histogram(self, *, now: float) -> Histogram:
        """Return the latencies within the window that ends at `now`."""
        self._forget(now)
        return Histogram(counts=tuple(map(sum, zip(*self._all_bins(), strict=True))))

    def _bins(self, now: float) -> list[float]:
        self._forget(now)
        step = int(now // self._step_seconds)
        if not self._steps or self._steps[-1][0] < step:
            self._steps.append((step, _no_bins()))
        return self._steps[-1][1]

    def _forget(self, now: float) -> None:
        while self._steps and self._steps[0][0] <= now // self._step_seconds - _STEPS:
            self._steps.popleft()

    def _all_bins(self) -> Iterable[list[float]]:
        return (_no_bins(), *(bins for _, bins in self._steps))


def _no_bins() -> list[float]:
    return [0.0] * (len(BOUNDS_MS) + 1)
