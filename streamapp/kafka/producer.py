"""A producer for records of any size that the topic accepts, acknowledged by all in-sync replicas.

The bytes and the records that wait in its queue are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from confluent_kafka import Producer

from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka.admin import silent_logger
from streamapp.model.record import Record

#: The most bytes of values and the most records that wait in a producer; one larger value may wait alone.
QUEUE_BYTES = 32 * 1024 * 1024
QUEUE_RECORDS = 10_000
#: Seconds between two attempts to add a record to a full queue.
_QUEUE_FULL_SECONDS = 0.1

#: The values that librdkafka accepts for message.max.bytes.
_MIN_MESSAGE_BYTES, _MAX_MESSAGE_BYTES = 1_000, 1_000_000_000


def producer(
    connection: KafkaConnection, *, max_message_bytes: int, timeout_seconds: float, is_compressed: bool = False
) -> Producer:
    """Create a producer for a topic with this max.message.bytes.

    Args:
        connection: of Kafka.
        max_message_bytes: max.message.bytes of the topic.
        timeout_seconds: a record that is not acknowledged within this time counts as not delivered.
        is_compressed: compress the records, and send those that are too large without compression, too. The broker's
            limit is one of compressed bytes. The bytes that wait in the queue are not bounded then.
    """
    limit = min(max(max_message_bytes, _MIN_MESSAGE_BYTES), _MAX_MESSAGE_BYTES)
    config: dict[str, str | int | bool] = {
        "message.max.bytes": limit,
        # At least one record of the largest size: otherwise it would find the queue full for ever.
        "queue.buffering.max.kbytes": -(-max(QUEUE_BYTES, limit) // 1024),
        "queue.buffering.max.messages": QUEUE_RECORDS,
        # The partitioner of the Java client, which Faust's producer uses, too.
        "partitioner": "murmur2_random",
        "delivery.timeout.ms": int(timeout_seconds * 1000),
        "linger.ms": 5,
        "log_level": 0,
    }
    if is_compressed:
        config |= {
            # librdkafka applies its limit before it compresses.
            "message.max.bytes": _MAX_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": _MAX_MESSAGE_BYTES // 1024 + 1,
            # The topic's limit is one of a batch: only a record alone may be larger before compression.
            "batch.size": limit,
            # A broker may create a topic that a client asks for, with settings of its own.
            "allow.auto.create.topics": False,
            # Report a missing topic before the record's own timeout.
            "topic.metadata.propagation.max.ms": int(timeout_seconds * 1000 / 4),
        }
    return connection.producer(config, compression="zstd" if is_compressed else "none", logger=silent_logger)


def enqueue(producer: Producer, produce: Callable[[], None], *, until: Callable[[], bool] = lambda: False) -> None:
    """Call `produce` once the queue has room; give up when `until` returns true."""
    while not until():
        try:
            produce()
        except BufferError:
            producer.poll(_QUEUE_FULL_SECONDS)
        else:
            return


def record_size(record: Record, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Bytes of a record's key and value together with these headers."""
    header_bytes = sum(len(name.encode()) + len(value or b"") for name, value in headers)
    return len(record.key or b"") + len(record.value or b"") + header_bytes
