"""What Prometheus is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from streamapp.errors import StoreUnavailable
from streamapp.model.record import Reason
from streamapp.monitoring.metrics import MOST_VERSIONS, Metrics
from streamapp.monitoring.readiness import Readiness, Waiting
from streamapp.retry import OutageRetrier
from streamapp.sink.ports import Fates
from streamapp.transport.offset_tracker import Progress
from tests.support.factories import FakeRecord, a_letter

NOW = 1_000.0


class Transport:
    """Holds a partition that waits, and one of which nothing is known."""

    in_flight = (2, 300)
    deleted_offsets = 5
    empty_offsets = 2
    rewinds = 1

    def progress(self) -> Sequence[Progress]:
        """Return both."""
        waits: dict[str, Any] = {"settled": 5, "end": 15, "oldest_ms": int(NOW * 1_000) - 2_500}
        unknown: dict[str, Any] = {"settled": None, "end": None, "oldest_ms": None}
        return [
            Progress(topic="t", partition=number, topic_id=None, **values)
            for number, values in enumerate((waits, unknown))
        ]


def some_metrics() -> Metrics:
    """Return metrics of a worker whose MongoDB is away."""
    outages = OutageRetrier("MongoDB", clock=lambda: NOW)
    readiness = Readiness(parts=[Waiting("dead_letters", [])], partitions=4)
    metrics = Metrics(version="1.2.3", readiness=readiness, outages={"mongodb": outages}, now=lambda: NOW)
    outages._note_failure(StoreUnavailable("x"))
    outages._note_failure(StoreUnavailable("x"))
    return metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """Return each sample by name and labels, as Prometheus' own parser reads them."""
    families = text_string_to_metric_families(metrics.page().decode())
    return {
        " ".join([sample.name, *(sample.labels[name] for name in sorted(sample.labels, reverse=True))]): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("streamapp_")
    }


def test_slices_are_counted_as_they_are_told() -> None:
    """Events by version, dead letters by reason, latencies and sizes in buckets."""
    metrics = some_metrics()
    metrics.fates = lambda: Fates(stored=2, duplicates=1, dead_lettered=1)
    metrics.stored([FakeRecord(value=b"", timestamp=int(NOW * 1_000) - 20)] * 2, ["v1"] * 2)
    metrics.settled([FakeRecord(value=b"")] * 4, [a_letter(reason=Reason.TOMBSTONE)])
    metrics.inserted(0.02)

    told = samples(metrics)
    expected = {
        "streamapp_build_info 1.2.3": 1,
        "streamapp_records_total stored": 2,
        "streamapp_records_total duplicates": 1,
        "streamapp_records_total dead_lettered": 1,
        "streamapp_events_total v1": 2,
        "streamapp_dead_letters_total tombstone": 1,
        "streamapp_slice_records_bucket 10.0": 1,
        "streamapp_slice_records_sum": 4,
        "streamapp_insert_seconds_count": 1,
        "streamapp_end_to_end_latency_seconds_bucket 0.01": 0,
        "streamapp_end_to_end_latency_seconds_bucket 0.025": 2,
        "streamapp_end_to_end_latency_seconds_sum": 0.04,
        "streamapp_retries_total mongodb": 2,
        "streamapp_outages_total mongodb": 1,
        "streamapp_ready partitions": 1,
        "streamapp_ready settling": 0,
        "streamapp_ready dead_letters": 1,
    }
    assert expected == {name: told[name] for name in expected}


def test_unknown_is_absent() -> None:
    """Before the worker reads, and for a partition of which nothing is known."""
    metrics = some_metrics()
    assert not [name for name in samples(metrics) if "lag" in name or "offsets" in name]

    metrics.consumer = Transport()
    told = samples(metrics)
    assert {"streamapp_lag_records t 0": 10, "streamapp_lag_seconds t 0": 2.5} == {
        name: value for name, value in told.items() if "lag" in name
    }
    counts = ("deleted_offsets_total", "empty_offsets_total", "rewinds_total", "in_flight_slices", "in_flight_bytes")
    assert [5, 2, 1, 2, 300] == [told[f"streamapp_{name}"] for name in counts]


def test_versions_do_not_grow_without_end() -> None:
    """The rest is together."""
    metrics = some_metrics()
    for number in range(MOST_VERSIONS + 3):
        metrics.stored([FakeRecord(value=b"")], [f"v{number}"])
    metrics.stored([FakeRecord(value=b"")], ["v0"])

    told = samples(metrics)
    assert (2, 3) == (told["streamapp_events_total v0"], told["streamapp_events_total other"])


def test_names_follow_the_conventions() -> None:
    """Counters end in _total, units are seconds and bytes, and everything is explained."""
    metrics = some_metrics()
    metrics.consumer = Transport()

    for family in text_string_to_metric_families(metrics.page().decode()):
        assert family.documentation
        assert re.fullmatch(r"(streamapp|process)_[a-z_]+", family.name)
        assert not re.search(r"_(ms|millis|minutes|kb|total)$", family.name)
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
