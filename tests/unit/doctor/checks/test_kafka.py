"""Findings about Kafka."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.doctor.checks import kafka as checks
from streamapp.doctor.checks.finding import Finding
from streamapp.doctor.checks.kafka import Bounds, PartitionFacts, TopicFacts
from streamapp.kafka.cli_hints import KafkaCli

TOOLS = KafkaCli(servers="k:9092")
HEALTHY = PartitionFacts(replicas=3, in_sync=3)


def a_topic(
    partition: PartitionFacts = HEALTHY, count: int = 4, topic_id: str | None = "id", **config: str
) -> TopicFacts:
    names = {name.replace("_", "."): value for name, value in config.items()}
    return TopicFacts(name="t", partitions=dict.fromkeys(range(count), partition), config=names, topic_id=topic_id)


def of(found: Any) -> dict[str, Finding]:
    return {finding.check: finding for finding in found}


def of_topic(topic: TopicFacts, *, wanted: int = 4, is_loopback: bool = False) -> dict[str, str]:
    found = checks.check_topic(topic, partitions=wanted, is_loopback=is_loopback, tools=TOOLS)
    return {finding.check: str(finding.verdict) for finding in found if finding.verdict != "ok"}


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (a_topic(), {}),
        (a_topic(topic_id=None), {"kafka.topic_id": "warning"}),
        (a_topic(count=2), {"kafka.partitions": "warning"}),
        (a_topic(count=8), {"kafka.partitions": "warning"}),
        (a_topic(PartitionFacts(replicas=3, in_sync=3, has_leader=False)), {"kafka.partitions": "fault"}),
        (a_topic(min_insync_replicas="4"), {"kafka.replicas": "fault"}),
        (a_topic(PartitionFacts(replicas=3, in_sync=1), min_insync_replicas="2"), {"kafka.replicas": "fault"}),
        (a_topic(PartitionFacts(replicas=3, in_sync=2), min_insync_replicas="2"), {"kafka.replicas": "warning"}),
        (a_topic(PartitionFacts(replicas=1, in_sync=1)), {"kafka.replicas": "warning"}),
        (a_topic(cleanup_policy="compact"), {"kafka.cleanup": "warning"}),
        (a_topic(retention_ms="60000"), {"kafka.retention": "warning"}),
        (a_topic(retention_ms="7200000"), {"kafka.retention": "warning"}),
        (a_topic(retention_ms="604800000"), {}),
        (a_topic(retention_bytes="1000"), {"kafka.retention": "warning"}),
    ],
)
def test_topic(topic: TopicFacts, expected: dict[str, str]) -> None:
    """Each fault is found by one check."""
    assert expected == of_topic(topic)


def test_one_replica_is_ok_on_loopback() -> None:
    """A Kafka on the same machine is for development."""
    assert {} == of_topic(a_topic(PartitionFacts(replicas=1, in_sync=1)), is_loopback=True)


def test_findings_have_values_and_commands() -> None:
    """An operator can copy the command."""
    found = of(checks.check_topic(a_topic(retention_ms="60000", count=2), partitions=4, is_loopback=True, tools=TOOLS))

    assert "for 60 s" in found["kafka.retention"].seen
    assert "kafka-topics --bootstrap-server k:9092 --alter --topic t --partitions 4" in found["kafka.partitions"].fix


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, {}),
        ({"max_message_bytes": "10"}, {"dlq.size": "warning"}),
        ({"cleanup_policy": "compact"}, {"dlq.kept": "fault"}),
        ({"retention_ms": "1"}, {"dlq.kept": "warning"}),
        ({"min_insync_replicas": "4"}, {"dlq.replicas": "fault"}),
    ],
)
def test_dead_letter_topic(config: dict[str, str], expected: dict[str, str]) -> None:
    """It must accept and keep every dead letter."""
    found = checks.check_dead_letters(a_topic(**config), 1000, is_loopback=False, tools=TOOLS)

    assert expected == {finding.check: str(finding.verdict) for finding in found if finding.verdict != "ok"}


def test_advertised_brokers() -> None:
    """Every advertised broker must be reachable, not only the bootstrap server."""
    assert "ok" == checks.check_advertised({"k:9092": None}, TOOLS).verdict
    found = checks.check_advertised({"k:9092": None, "inner:9092": "no such host"}, TOOLS)

    assert "fault" == found.verdict
    assert "inner:9092 (no such host)" in found.seen
    assert "advertised.listeners=PLAINTEXT://k:9092" in found.fix


def test_compression_codecs() -> None:
    """Other producers may use any of them."""
    assert "ok" == checks.check_codecs({"gzip": True, "lz4": True}).verdict
    assert "fault" == checks.check_codecs({"gzip": True, "lz4": False}).verdict


def of_group(committed: dict[int, int]) -> dict[str, Finding]:
    bounds = {0: Bounds(start=10, end=20), 1: Bounds(start=0, end=5)}
    return of(checks.check_group(bounds, committed, topic="t", group="g", tools=TOOLS))


def test_group_without_committed_offsets() -> None:
    """All records count as lag."""
    assert "15 records wait" in of_group({})["group.offsets"].seen


def test_group_with_committed_offsets() -> None:
    """The lag of a partition without a committed offset counts from its start."""
    found = of_group({0: 15})

    assert {"group.offsets": "ok", "group.lag": "ok"} == {check: str(f.verdict) for check, f in found.items()}
    assert "10 records" in found["group.lag"].seen


def test_group_with_committed_offsets_that_do_not_exist() -> None:
    """Offsets beyond the end, and deleted ones, are counted by partition."""
    found = of_group({0: 7, 1: 6})

    assert "fault" == found["group.offsets"].verdict
    assert "1: 6" in found["group.offsets"].seen
    assert "deleted 3 offsets" in found["group.deleted"].seen
    assert "--reset-offsets --to-earliest" in found["group.offsets"].fix
