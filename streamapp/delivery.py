"""Records of others, delivered as they are: each acknowledged by all in-sync replicas, up to what a topic takes."""

from __future__ import annotations

from confluent_kafka import Producer

from streamapp.broker import silent

#: What librdkafka takes for message.max.bytes.
_LEAST_LIMIT, _MOST_LIMIT = 1_000, 1_000_000_000


def producer(bootstrap_servers: str, *, max_message_bytes: int, timeout_seconds: float) -> Producer:
    """A producer for a topic with this max.message.bytes; what is not acknowledged in time counts as not delivered."""
    config: dict[str, str | int | bool] = {
        "bootstrap.servers": bootstrap_servers,
        "acks": "all",
        "enable.idempotence": True,
        "message.max.bytes": min(max(max_message_bytes, _LEAST_LIMIT), _MOST_LIMIT),
        # As the Java client, and so the worker's own producer, spreads keys.
        "partitioner": "murmur2_random",
        "delivery.timeout.ms": int(timeout_seconds * 1000),
        "linger.ms": 5,
        "log_level": 0,
    }
    return Producer(config, logger=silent)


def kafka_configs(bootstrap_servers: str, topic: str, added: str) -> str:
    """The command that changes a topic's settings."""
    return (
        f"kafka-configs --bootstrap-server {bootstrap_servers} --alter --entity-type topics"
        f" --entity-name {topic} --add-config {added}"
    )
