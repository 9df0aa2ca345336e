"""The page /metrics: the worker's metrics in the text format of Prometheus, read at each scrape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from streamapp.monitoring.consumer import Consumer, ConsumerState, MeteredConsumer
from streamapp.monitoring.heartbeat import lag_seconds
from streamapp.monitoring.latency import BOUNDS_MS, Latencies
from streamapp.monitoring.readiness import Readiness
from streamapp.monitoring.sink_metrics import SinkMetrics
from streamapp.retry import OutageRetrier
from streamapp.sink.ports import Fates

disable_created_metrics()


class MetricsPage:
    """Collects the metrics of one worker."""

    CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(  # noqa: PLR0913 - one argument per source of metrics
        self,
        *,
        version: str,
        decoder: str,
        sink: SinkMetrics,
        fates: Callable[[], Fates],
        state: ConsumerState,
        readiness: Readiness,
        outages: Mapping[str, OutageRetrier],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._build = {"version": version, "decoder": decoder}
        self._sink = sink
        self._fates = fates
        self._state = state
        self._readiness = readiness
        self._outages = outages
        self._now = now
        self._registry = CollectorRegistry()
        for collector in (sink.batch_records, sink.insert_seconds):
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics whose values are read at the scrape; a metric without a known value is absent."""
        yield InfoMetricFamily("streamapp_build", "Version of streamapp, and its decoder.", self._build)
        yield _counter("streamapp_records", "Settled records by fate.", "fate", asdict(self._fates()))
        yield _counter("streamapp_events", "Stored events by schema version.", "schema_version", self._sink.events)
        yield _counter("streamapp_dead_letters", "Delivered dead letters by reason.", "reason", self._sink.dead_letters)
        yield _latency(self._sink.latencies)
        yield from self._dependencies()
        yield self._ready()
        yield CounterMetricFamily("streamapp_rebalances", "Partition assignments.", self._state.rebalances)
        reused = "Events stored beside another event whose offset Kafka used again."
        yield CounterMetricFamily("streamapp_reused_offsets", reused, self._sink.reused_offsets)
        if self._state.consumer is not None:
            yield from _transport(self._state.consumer)
            yield from self._lag(self._state.consumer)

    def _dependencies(self) -> Iterator[Metric]:
        known = self._outages.items()
        retries = {name: outages.retries for name, outages in known}
        counts = {name: outages.count for name, outages in known}
        yield _counter("streamapp_retries", "Retried operations by dependency.", "dependency", retries)
        yield _counter("streamapp_outages", "Outages by dependency.", "dependency", counts)
        seconds = GaugeMetricFamily(
            "streamapp_outage_seconds", "Duration of the current outage; 0 without an outage.", labels=["dependency"]
        )
        for name, outages in known:
            seconds.add_metric([name], outages.outage_seconds)
        yield seconds

    def _ready(self) -> Metric:
        ready = GaugeMetricFamily("streamapp_ready", "1 if this part of /readyz is ok, else 0.", labels=["part"])
        for name, state in self._readiness.report()[1].items():
            ready.add_metric([name], state == "ok")
        return ready

    def _lag(self, consumer: Consumer) -> Iterator[Metric]:
        labels, at = ["topic", "partition"], datetime.fromtimestamp(self._now(), UTC)
        lag = GaugeMetricFamily("streamapp_lag_records", "Offsets that are not settled.", labels=labels)
        age = GaugeMetricFamily("streamapp_lag_seconds", "Age of the oldest record that is not settled.", labels=labels)
        for progress in consumer.progress():
            values = [progress.topic, str(progress.partition)]
            if progress.lag is not None:
                lag.add_metric(values, progress.lag)
            if (seconds := lag_seconds(progress, at)) is not None:
                age.add_metric(values, seconds)
        yield from (lag, age)


def _counter(name: str, what: str, label: str, counts: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, what, labels=[label])
    for value, n in counts.items():
        family.add_metric([value], n)
    return family


def _latency(latencies: Latencies) -> Metric:
    bounds = [*(str(bound / 1_000) for bound in BOUNDS_MS), "+Inf"]
    buckets = [*zip(bounds, accumulate(map(round, latencies.total.counts)), strict=True)]
    family = HistogramMetricFamily(
        "streamapp_end_to_end_latency_seconds",
        "Time from the Kafka timestamp of a new event until it is stored in MongoDB.",
    )
    family.add_metric([], buckets, sum_value=latencies.total_ms / 1_000)
    return family


def _transport(consumer: MeteredConsumer) -> Iterator[Metric]:
    deleted, empty = consumer.deleted_offsets, consumer.empty_offsets
    yield CounterMetricFamily("streamapp_deleted_offsets", "Offsets that Kafka deleted before they were read.", deleted)
    yield CounterMetricFamily(
        "streamapp_empty_offsets", "Offsets without a record: compacted, aborted, or control records.", empty
    )
    yield CounterMetricFamily("streamapp_rewinds", "Times that the offsets of a partition went back.", consumer.rewinds)
    batches, held = consumer.in_flight
    yield GaugeMetricFamily(
        "streamapp_in_flight_slices", "Partition batches that are delivered and not acked.", batches
    )
    yield GaugeMetricFamily(
        "streamapp_in_flight_bytes", "Bytes of partition batches that are delivered and not acked.", held
    )
