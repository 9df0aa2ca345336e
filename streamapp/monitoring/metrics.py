"""What /metrics tells Prometheus: counted once per batch, collected when it is asked for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from streamapp.model.record import BatchRecord, DeadLetter
from streamapp.monitoring.heartbeat import Consumer, lag_seconds
from streamapp.monitoring.latency import BOUNDS_MS, Latencies
from streamapp.monitoring.readiness import Readiness
from streamapp.retry import OutageRetrier
from streamapp.sink.ports import Fates

#: Schema versions that are told apart; the rest is "other".
MOST_VERSIONS = 50

_BATCH_BUCKETS = (1, 10, 100, 500, 1_000, 2_000, 4_000)
_INSERT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

disable_created_metrics()


class Transport(Consumer, Protocol):
    """What tells of the transport besides how far it is."""

    @property
    def rewinds(self) -> int:
        """How often the offsets of a partition went back."""
        ...

    @property
    def empty_offsets(self) -> int:
        """Offsets that hold no record."""
        ...


class Metrics:
    """Gathers what the sink tells, and asks the others for what they know."""

    #: Of `page`.
    CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(
        self,
        *,
        version: str,
        readiness: Readiness,
        outages: Mapping[str, OutageRetrier],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.latencies = Latencies()
        self.rebalances = 0
        #: None until the worker reads.
        self.consumer: Transport | None = None
        self.fates: Callable[[], Fates] = Fates
        self._version = version
        self._readiness = readiness
        self._outages = outages
        self._now = now
        self._events = Counter[str]()
        self._dead_letters = Counter[str]()
        self._registry = CollectorRegistry()
        self._batches = Histogram(
            "streamapp_slice_records", "Records per settled slice.", buckets=_BATCH_BUCKETS, registry=self._registry
        )
        self._inserts = Histogram(
            "streamapp_insert_seconds",
            "Duration of an insert into MongoDB, failed ones too.",
            buckets=_INSERT_BUCKETS,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def page(self) -> bytes:
        """What Prometheus reads, in its text format."""
        return generate_latest(self._registry)

    def stored(self, records: Sequence[BatchRecord], versions: Sequence[str]) -> None:
        """Hear of events that are new in MongoDB, and of their schema versions."""
        self.latencies.add(records, now=self._now())
        for version, n in Counter(versions).items():
            is_told = version in self._events or len(self._events) < MOST_VERSIONS
            self._events[version if is_told else "other"] += n

    def settled(self, records: Sequence[BatchRecord], dead: Sequence[DeadLetter]) -> None:
        """Hear of a batch whose records have all had their fate."""
        self._batches.observe(len(records))
        self._dead_letters.update(letter.reason.value for letter in dead)

    def inserted(self, seconds: float) -> None:
        """Hear of an insert."""
        self._inserts.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield what is known at this moment; what is not known is absent."""
        yield InfoMetricFamily("streamapp_build", "Version of streamapp.", {"version": self._version})
        yield _counter("streamapp_records", "Records settled, by fate.", "fate", asdict(self.fates()))
        yield _counter("streamapp_events", "Events stored, by schema version.", "schema_version", self._events)
        yield _counter("streamapp_dead_letters", "Dead letters delivered, by reason.", "reason", self._dead_letters)
        yield self._latency()
        yield from self._dependencies()
        yield self._ready()
        yield CounterMetricFamily("streamapp_rebalances", "Assignments of partitions.", self.rebalances)
        if self.consumer is not None:
            yield from _transport(self.consumer)
            yield from self._lag(self.consumer)

    def _latency(self) -> Metric:
        name, total = "streamapp_end_to_end_latency_seconds", self.latencies.total
        bounds = [*(str(bound / 1_000) for bound in BOUNDS_MS), "+Inf"]
        buckets = [*zip(bounds, accumulate(map(round, total.counts)), strict=True)]
        family = HistogramMetricFamily(name, "From Kafka's timestamp to MongoDB, of new events.")
        family.add_metric([], buckets, sum_value=self.latencies.total_ms / 1_000)
        return family

    def _dependencies(self) -> Iterator[Metric]:
        known = self._outages.items()
        retries = {name: outages.retries for name, outages in known}
        yield _counter("streamapp_retries", "Operations repeated.", "dependency", retries)
        yield _counter("streamapp_outages", "Outages.", "dependency", {name: each.count for name, each in known})
        seconds = GaugeMetricFamily(
            "streamapp_outage_seconds", "Duration of the present outage, 0 without one.", labels=["dependency"]
        )
        for name, outages in known:
            seconds.add_metric([name], outages.outage_seconds)
        yield seconds

    def _ready(self) -> Metric:
        ready = GaugeMetricFamily("streamapp_ready", "Whether a part of /readyz is ok.", labels=["part"])
        for part, state in self._readiness.report()[1].items():
            ready.add_metric([part], state == "ok")
        return ready

    def _lag(self, consumer: Transport) -> Iterator[Metric]:
        labels, at = ["topic", "partition"], datetime.fromtimestamp(self._now(), UTC)
        lag = GaugeMetricFamily("streamapp_lag_records", "Offsets that are not settled.", labels=labels)
        age = GaugeMetricFamily("streamapp_lag_seconds", "Age of the oldest record not settled.", labels=labels)
        for progress in consumer.progress():
            place = [progress.topic, str(progress.partition)]
            if progress.lag is not None:
                lag.add_metric(place, progress.lag)
            if (seconds := lag_seconds(progress, at)) is not None:
                age.add_metric(place, seconds)
        yield from (lag, age)


def _counter(name: str, what: str, label: str, counts: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, what, labels=[label])
    for value, n in counts.items():
        family.add_metric([value], n)
    return family


def _transport(consumer: Transport) -> Iterator[Metric]:
    deleted, empty = consumer.deleted_offsets, consumer.empty_offsets
    yield CounterMetricFamily("streamapp_deleted_offsets", "Deleted by Kafka before they were read.", deleted)
    yield CounterMetricFamily("streamapp_empty_offsets", "Compacted, aborted, or control records.", empty)
    yield CounterMetricFamily("streamapp_rewinds", "Times that a partition's offsets went back.", consumer.rewinds)
    batches, held = consumer.in_flight
    yield GaugeMetricFamily("streamapp_in_flight_slices", "Slices delivered and not acked.", batches)
    yield GaugeMetricFamily("streamapp_in_flight_bytes", "Bytes of those slices.", held)
