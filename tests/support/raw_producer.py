"""Send a batch byte by byte, as clients in other languages can: with header names that are not UTF-8."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

#: Kafka's format with headers.
_MAGIC = 2
_TIMEOUT_MS = 20_000
_NAME = "odd-header-name"


def with_odd_header(key: bytes, value: bytes, timestamp: int) -> bytes:
    """Return a batch of one record with a header whose name is not UTF-8."""
    builder = DefaultRecordBatchBuilder(_MAGIC, 0, 0, -1, -1, -1, 1 << 20)
    builder.append(0, timestamp, key, value, [(_NAME, b"v")])
    data = bytearray(builder.build())
    data[data.index(_NAME.encode()) + 1] = 0xE4
    data[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
    return bytes(data)


def send(servers: str, topic: str, partition: int, batch: bytes) -> int:
    """Send a batch, and return its first offset."""
    return asyncio.run(_send(servers, TopicPartition(topic, partition), batch))


async def _send(servers: str, tp: TopicPartition, batch: bytes) -> int:
    client = AIOKafkaClient(bootstrap_servers=servers)
    await client.bootstrap()
    try:
        client.add_topic(tp.topic)
        await client.force_metadata_update()
        leader = client.cluster.leader_for_partition(tp)
        request = ProduceRequest(None, -1, _TIMEOUT_MS, [(tp.topic, [(tp.partition, batch)])])
        response: Any = await client.send(leader, request)
        (_, [(_, error_code, offset, *_)]) = response.topics[0]
        assert not error_code, error_code
        return offset
    finally:
        await client.close()
