"""Where the topic of some settings ends, and what their group has committed of it."""

from __future__ import annotations

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from streamapp.settings import Settings
from tests.support import groups


def end_offsets(settings: Settings) -> dict[int, int]:
    """Return each partition's end."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers, "log_level": 0})
    asked = admin.list_offsets(
        {TopicPartition(settings.topic, p): OffsetSpec.latest() for p in range(settings.partitions)}
    )
    return {tp.partition: result.result().offset for tp, result in asked.items()}


def committed(settings: Settings) -> dict[int, int]:
    """Return what the group has committed of each partition; 0 where it has nothing yet, as in an empty one."""
    offsets = groups.committed(
        settings.kafka_bootstrap_servers, group=settings.app_id, topic=settings.topic, partitions=settings.partitions
    )
    return {partition: max(offset, 0) for partition, offset in enumerate(offsets)}
