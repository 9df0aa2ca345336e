"""Records of others, delivered as they are: each acknowledged by all in-sync replicas, up to what a topic takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from confluent_kafka import Producer

from streamapp.kafka.admin import silent
from streamapp.model.record import Record

#: Bytes of values, and records with their headers, that wait in a producer; or one value.
QUEUE_BYTES = 32 * 1024 * 1024
QUEUE_RECORDS = 10_000
#: Seconds until a full queue is looked at again.
_WAIT = 0.1

#: What librdkafka takes for message.max.bytes.
_LEAST_LIMIT, _MOST_LIMIT = 1_000, 1_000_000_000


def producer(bootstrap_servers: str, *, max_message_bytes: int, timeout_seconds: float) -> Producer:
    """A producer for a topic with this max.message.bytes; what is not acknowledged in time counts as not delivered."""
    limit = min(max(max_message_bytes, _LEAST_LIMIT), _MOST_LIMIT)
    config: dict[str, str | int | bool] = {
        "bootstrap.servers": bootstrap_servers,
        "acks": "all",
        "enable.idempotence": True,
        "message.max.bytes": limit,
        # Never less than a record has: it would find the queue full for ever.
        "queue.buffering.max.kbytes": -(-max(QUEUE_BYTES, limit) // 1024),
        "queue.buffering.max.messages": QUEUE_RECORDS,
        # As the Java client, and so the worker's own producer, spreads keys.
        "partitioner": "murmur2_random",
        "delivery.timeout.ms": int(timeout_seconds * 1000),
        "linger.ms": 5,
        "log_level": 0,
    }
    return Producer(config, logger=silent)


def hand_over(producer: Producer, produce: Callable[[], None], *, until: Callable[[], bool] = lambda: False) -> None:
    """Produce once the queue has room, which records make that are delivered or out of time; or give up `until`."""
    while not until():
        try:
            produce()
        except BufferError:
            producer.poll(_WAIT)
        else:
            return


def size_of(record: Record, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Bytes of a record's key and value, with these headers."""
    of_headers = sum(len(name.encode()) + len(value or b"") for name, value in headers)
    return len(record.key or b"") + len(record.value or b"") + of_headers
