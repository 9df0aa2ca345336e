"""Another team's programs: a producer that does not know streamapp, and a reader of the dead-letter topic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import fastavro
import httpx
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from streamapp.decode import wire_format
from streamapp.settings import Settings
from tests.support.until import until


def register(settings: Settings, schema: Any, subject: str | None = None, references: Sequence[Any] = ()) -> int:
    """Register a schema under the subject by the registry's own API; return its id."""
    response = httpx.post(
        f"{settings.schema_registry_url}/subjects/{subject or settings.subject}/versions",
        json={"schema": json.dumps(schema), "references": list(references)},
    )
    response.raise_for_status()
    return int(response.json()["id"])


def wire(values: dict[str, Any], schema: Any, schema_id: int) -> bytes:
    """Write an event as any Confluent client does."""
    return writer(schema, schema_id)(values)


def writer(schema: Any, schema_id: int) -> Callable[[dict[str, Any]], bytes]:
    """Return `wire` for many events of one schema."""
    parsed = fastavro.parse_schema(schema, named_schemas={})
    return lambda values: wire_format.write(values, schema=parsed, schema_id=schema_id)


def make_topic(settings: Settings, partitions: int = 4, **config: str) -> None:
    """Make the topic before the worker does."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    admin.create_topics([NewTopic(settings.topic, partitions, config=config)])[settings.topic].result(20)


def set_topic_config(settings: Settings, topic: str, name: str, value: str) -> None:
    """Do what kafka-configs does."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(20)


def make_again(settings: Settings) -> None:
    """Make the topic as soon as the broker has forgotten that it was there."""

    def made() -> bool:
        try:
            make_topic(settings)
        except KafkaException:
            return False
        return True

    until(made, what="the re-created topic")


class ForeignProducer:
    """A confluent-kafka producer."""

    def __init__(self, settings: Settings, compression: str = "none", **config: Any) -> None:
        self._topic = settings.topic
        servers = settings.kafka_bootstrap_servers
        self._producer = Producer(
            {"bootstrap.servers": servers, "compression.type": compression, "linger.ms": 5, **config}
        )
        self._failed: list[Any] = []

    def send(self, value: bytes | None, **details: Any) -> None:
        """Send one record."""
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value=value,
                    on_delivery=lambda error, _: self._failed.append(error) if error else None,
                    **details,
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def send_all(self, values: Iterable[bytes | None]) -> None:
        """Send many and wait until all are acknowledged."""
        for value in values:
            self.send(value)
        self.flush()

    def flush(self) -> None:
        """Wait until everything is acknowledged."""
        assert self._producer.flush(60) == 0
        assert [] == self._failed


def read_all(settings: Settings, topic: str, expected: int, within: float = 30) -> list[Message]:
    """Return all records of a topic, from its beginning to the end that it has once `expected` are there."""
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": "reader"})
    try:
        partitions = until(lambda: consumer.list_topics(topic).topics[topic].partitions, within=within, what=topic)
        tps = [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions]

        def count() -> int:
            ranges = [consumer.get_watermark_offsets(tp, timeout=60) for tp in tps]
            return sum(high - low for low, high in ranges)

        until(lambda: count() >= expected, within=within, what=f"{expected} records in {topic}")
        consumer.assign(tps)
        messages: list[Message] = []
        until(lambda: len(messages) >= count() or messages.extend(_poll(consumer)), within=within, what="all records")
        return messages
    finally:
        consumer.close()


def _poll(consumer: Consumer) -> list[Message]:
    return [message for message in consumer.consume(500, timeout=0.5) if not message.error()]


def read_to_end(settings: Settings, topic: str, within: float = 30) -> list[Message]:
    """Return what a topic holds, of transactions what was committed, however many offsets hold no record."""
    servers = settings.kafka_bootstrap_servers
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "reader", "enable.partition.eof": True})
    messages: list[Message] = []
    try:
        partitions = until(lambda: consumer.list_topics(topic).topics[topic].partitions, within=within, what=topic)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        unread = {*partitions}

        def is_read() -> bool:
            for message in consumer.consume(500, timeout=0.5):
                if not message.error():
                    messages.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
            return not unread

        until(is_read, within=within, what=f"the end of {topic}")
    finally:
        consumer.close()
    return messages
