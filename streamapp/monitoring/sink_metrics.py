"""Counters of what the sink does, updated once per batch or insert."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from prometheus_client import Histogram

from streamapp.model.record import BatchRecord, DeadLetter
from streamapp.monitoring.latency import Latencies

#: Number of schema versions that are counted separately; events of all further versions are counted as "other".
MAX_VERSIONS = 50

_BATCH_BUCKETS = (1, 10, 100, 500, 1_000, 2_000, 4_000)
_INSERT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class SinkMetrics:
    """The sink's observer: counts events, dead letters, batch sizes, insert durations and latencies."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self.latencies = Latencies()
        #: Stored events by schema version.
        self.events = Counter[str]()
        #: Events stored beside another event, because Kafka used its offset again.
        self.reused_offsets = 0
        #: Delivered dead letters by reason.
        self.dead_letters = Counter[str]()
        self.batch_records = Histogram(
            "streamapp_slice_records",
            "Number of records per settled partition batch.",
            buckets=_BATCH_BUCKETS,
            registry=None,
        )
        self.insert_seconds = Histogram(
            "streamapp_insert_seconds",
            "Duration of inserts into MongoDB, including failed inserts.",
            buckets=_INSERT_BUCKETS,
            registry=None,
        )
        self._now = now

    def stored(self, records: Sequence[BatchRecord], versions: Sequence[str]) -> None:
        """Count events that are new in MongoDB, and their schema versions."""
        self.latencies.add(records, now=self._now())
        for version, n in Counter(versions).items():
            is_listed = version in self.events or len(self.events) < MAX_VERSIONS
            self.events[version if is_listed else "other"] += n

    def reused(self, count: int) -> None:
        """Count events whose offset Kafka used again."""
        self.reused_offsets += count

    def settled(self, records: Sequence[BatchRecord], dead: Sequence[DeadLetter]) -> None:
        """Count a settled batch and its dead letters."""
        self.batch_records.observe(len(records))
        self.dead_letters.update(letter.reason.value for letter in dead)

    def inserted(self, seconds: float) -> None:
        """Count an insert."""
        self.insert_seconds.observe(seconds)
