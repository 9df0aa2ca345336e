"""Where a consumer group goes on in a topic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.record import PartitionId


def next_offsets(connection: KafkaConnection, topic: str, group: str) -> Mapping[PartitionId, int]:
    """The offset that a group reads next, of each partition; none if the topic does not exist or has no topic id.

    It is the committed offset; or the first that Kafka still has, if that is higher, or if the committed offset is
    beyond the end, as after the topic was deleted and re-created.

    Raises:
        BrokerUnavailable: Kafka does not answer in time.
        BrokerAccessRefused: the login, or the right to describe the topic or the group, is refused.
        SettingsError: a setting cannot be right.
    """
    with TopicReader(connection, topic, group=group) as reader:
        partitions = reader.partitions()
        topic_id = asyncio.run(KafkaAdmin(connection).topic_id_of(topic)) if partitions else None
        if topic_id is None:
            return {}
        committed = reader.committed(group)
        bounds = {partition: reader.bounds(partition) for partition in partitions}
    return {
        PartitionId(topic_id, each): _next(committed.get(each, first), first, end)
        for each, (first, end) in bounds.items()
    }


def _next(committed: int, first: int, end: int) -> int:
    return first if committed > end else max(committed, first)
