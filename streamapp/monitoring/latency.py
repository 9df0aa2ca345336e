"""How long events took from Kafka's timestamp to MongoDB, over the last minutes: a histogram and its percentiles."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

#: Upper bounds of the histogram's bins, in milliseconds; one more bin holds what is above.
BOUNDS_MS = (
    *(5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000),
    *(300_000, 1_800_000, 3_600_000, 21_600_000, 86_400_000),
)
#: Records of a batch that are looked at; each stands for as many others.
SAMPLED_RECORDS = 64
#: Latencies are forgotten after this time, a tenth of it at once.
WINDOW_SECONDS = 300.0
_PARTS = 10


class Stamped(Protocol):
    """The part of a record that tells its age."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How many events took how long."""

    #: One number per bin of BOUNDS_MS, and one for what is above.
    counts: tuple[float, ...]

    @property
    def n(self) -> int:
        """All events."""
        return round(sum(self.counts))

    def percentile(self, share: float) -> float | None:
        """Milliseconds within which this share of the events was stored; None without events.

        Within a bin, events are taken as evenly spread; above the last bound, only that bound is known.
        """
        rest = share * sum(self.counts)
        for (low, high), count in zip(pairwise((0, *BOUNDS_MS)), self.counts, strict=False):
            if count and rest <= count:
                return low + (high - low) * rest / count
            rest -= count
        return float(BOUNDS_MS[-1]) if self.counts[-1] else None


class Latencies:
    """Latencies of the last minutes, in a memory that does not grow."""

    def __init__(self, *, window_seconds: float = WINDOW_SECONDS) -> None:
        self._part_seconds = window_seconds / _PARTS
        #: The number of each part of time that has events, and its bins; the oldest first.
        self._parts: deque[tuple[int, list[float]]] = deque()
        #: Of all time.
        self._total = _no_bins()
        self.total_ms = 0.0

    @property
    def total(self) -> Histogram:
        """What was stored since the start."""
        return Histogram(counts=tuple(self._total))

    def add(self, records: Sequence[Stamped], *, now: float) -> None:
        """Count records that were stored at `now`, in seconds since the epoch."""
        sampled = records[:: -(-len(records) // SAMPLED_RECORDS) or 1]
        bins = self._bins(now)
        for record in sampled:
            # A producer's clock may be ahead of ours.
            took, stands_for = max(0.0, now * 1_000 - record.timestamp), len(records) / len(sampled)
            index = bisect_left(BOUNDS_MS, took)
            bins[index] += stands_for
            self._total[index] += stands_for
            self.total_ms += took * stands_for

    def histogram(self, *, now: float) -> Histogram:
        """Return what was stored within the window."""
        self._forget(now)
        return Histogram(counts=tuple(map(sum, zip(*self._all_bins(), strict=True))))

    def _bins(self, now: float) -> list[float]:
        self._forget(now)
        part = int(now // self._part_seconds)
        if not self._parts or self._parts[-1][0] < part:
            self._parts.append((part, _no_bins()))
        return self._parts[-1][1]

    def _forget(self, now: float) -> None:
        while self._parts and self._parts[0][0] <= now // self._part_seconds - _PARTS:
            self._parts.popleft()

    def _all_bins(self) -> Iterable[list[float]]:
        return (_no_bins(), *(bins for _, bins in self._parts))


def _no_bins() -> list[float]:
    return [0.0] * (len(BOUNDS_MS) + 1)
