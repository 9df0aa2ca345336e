"""The page /metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from streamapp.errors import StoreUnavailable
from streamapp.model.record import Reason
from streamapp.monitoring.consumer import ConsumerState
from streamapp.monitoring.metrics import MetricsPage
from streamapp.monitoring.readiness import OutageCheck, Readiness
from streamapp.monitoring.sink_metrics import MAX_VERSIONS, SinkMetrics
from streamapp.retry import OutageRetrier
from streamapp.sink.ports import Fates
from streamapp.transport.offset_tracker import Progress
from tests.support.factories import FakeRecord, a_letter

NOW = 1_000.0


class Consumer:
    """Has a partition with lag, and one whose progress is unknown."""

    in_flight = (2, 300)
    deleted_offsets = 5
    empty_offsets = 2
    rewinds = 1

    def progress(self) -> Sequence[Progress]:
        """Return both."""
        lagging: dict[str, Any] = {"settled": 5, "end": 15, "oldest_ms": int(NOW * 1_000) - 2_500}
        unknown: dict[str, Any] = {"settled": None, "end": None, "oldest_ms": None}
        return [
            Progress(topic="t", partition=number, topic_id=None, **values)
            for number, values in enumerate((lagging, unknown))
        ]


class World:
    """The metrics of a worker whose MongoDB is unreachable, and their sources."""

    def __init__(self) -> None:
        self.fates = Fates()
        self.state = ConsumerState(partitions=4)
        self.sink = SinkMetrics(now=lambda: NOW)
        outages = OutageRetrier("MongoDB", clock=lambda: NOW)
        for _ in range(2):
            outages._note_failure(StoreUnavailable("x"))
        self.page = MetricsPage(
            version="1.2.3",
            decoder="compiled",
            sink=self.sink,
            fates=lambda: self.fates,
            state=self.state,
            readiness=Readiness(
                state=self.state, is_agent_running=lambda: True, checks=[OutageCheck("dead_letters", [])]
            ),
            outages={"mongodb": outages},
            now=lambda: NOW,
        )

    @property
    def text(self) -> str:
        """The page, decoded."""
        return self.page.render().decode()


def samples(world: World) -> dict[str, float]:
    """Return each sample by name and labels, read with the parser of Prometheus' client."""
    families = text_string_to_metric_families(world.text)
    return {
        " ".join([sample.name, *(sample.labels[name] for name in sorted(sample.labels, reverse=True))]): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("streamapp_")
    }


def test_batches_are_counted() -> None:
    """Events by version, dead letters by reason, latencies and batch sizes in buckets."""
    world = World()
    world.fates = Fates(stored=2, duplicates=1, dead_lettered=1)
    world.sink.stored([FakeRecord(value=b"", timestamp=int(NOW * 1_000) - 20)] * 2, ["v1"] * 2)
    world.sink.settled([FakeRecord(value=b"")] * 4, [a_letter(reason=Reason.TOMBSTONE)])
    world.sink.inserted(0.02)

    found = samples(world)
    expected = {
        "streamapp_build_info 1.2.3 compiled": 1,
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
    assert expected == {name: found[name] for name in expected}


def test_unknown_is_absent() -> None:
    """Lag and offsets are absent before the consumer starts, and for a partition whose progress is unknown."""
    world = World()
    assert not [name for name in samples(world) if "lag" in name or "deleted_offsets" in name]

    world.state.consumer = Consumer()
    found = samples(world)
    assert {"streamapp_lag_records t 0": 10, "streamapp_lag_seconds t 0": 2.5} == {
        name: value for name, value in found.items() if "lag" in name
    }
    counts = ("deleted_offsets_total", "empty_offsets_total", "rewinds_total", "in_flight_slices", "in_flight_bytes")
    assert [5, 2, 1, 2, 300] == [found[f"streamapp_{name}"] for name in counts]


def test_number_of_versions_is_limited() -> None:
    """Events of further versions are counted as "other"."""
    world = World()
    for number in range(MAX_VERSIONS + 3):
        world.sink.stored([FakeRecord(value=b"")], [f"v{number}"])
    world.sink.stored([FakeRecord(value=b"")], ["v0"])

    found = samples(world)
    assert (2, 3) == (found["streamapp_events_total v0"], found["streamapp_events_total other"])


def test_names_follow_the_conventions() -> None:
    """Counters end in _total, units are seconds and bytes, and each metric has a help text."""
    world = World()
    world.state.consumer = Consumer()

    for family in text_string_to_metric_families(world.text):
        assert family.documentation
        assert re.fullmatch(r"(streamapp|process)_[a-z_]+", family.name)
        assert not re.search(r"_(ms|millis|minutes|kb|total)$", family.name)
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
