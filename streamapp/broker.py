"""Kafka's administration: topics made, a topic's incarnation, the sizes that topics allow.

On confluent-kafka, since aiokafka does not tell a topic's UUID. Its calls block: they run in threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage] - documented there
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from streamapp.errors import BrokerUnavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

TIMEOUT = 10.0
#: A dead letter is its record and our headers: error text of 1 KiB, coordinates, and the original's own headers.
DEAD_LETTER_OVERHEAD = 64 * 1024
#: Kafka's default for message.max.bytes.
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588

_BASE64URL = str.maketrans("+/", "-_")

#: For librdkafka, which would write every failed connection to stderr: what matters is raised.
silent = logging.getLogger("streamapp.librdkafka")
silent.propagate = False


class Broker:
    """Administration of one Kafka cluster."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0}, logger=silent)

    async def ping(self) -> None:
        """Raise BrokerUnavailable unless Kafka answers."""
        await self._call(lambda: self._admin.list_topics(timeout=TIMEOUT / 2))

    async def ensure_topics(self, *, topic: str, partitions: int, dead_letter_topic: str) -> int:
        """Make both topics where they are missing; returns max.message.bytes of the dead-letter topic.

        What is there already is left as it is.
        """
        await self._call(lambda: self._create(NewTopic(topic, partitions)))
        limit = await self._call(lambda: self._max_message_bytes(topic)) + DEAD_LETTER_OVERHEAD
        config = {"max.message.bytes": str(limit)}
        await self._call(lambda: self._create(NewTopic(dead_letter_topic, 1, config=config)))
        return await self._call(lambda: self._max_message_bytes(dead_letter_topic))

    async def incarnation_of(self, topic: str) -> str | None:
        """The topic's UUID, 22 characters of base64url; None from a broker that has none (before Kafka 2.8)."""
        return await self._call(lambda: self._topic_id(topic))

    def _create(self, topic: NewTopic) -> None:
        try:
            self._admin.create_topics([topic], request_timeout=TIMEOUT)[topic.topic].result(TIMEOUT)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            log.info("topic made", extra={"topic": topic.topic, "partitions": topic.num_partitions})

    def _max_message_bytes(self, topic: str) -> int:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        config = self._admin.describe_configs([resource], request_timeout=TIMEOUT)[resource].result(TIMEOUT)
        entry = config.get("max.message.bytes")
        return int(entry.value) if entry and entry.value else DEFAULT_MAX_MESSAGE_BYTES

    def _topic_id(self, topic: str) -> str | None:
        asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT)
        # librdkafka writes it in plain base64, Kafka's own tools in base64url.
        uuid = str(asked[topic].result(TIMEOUT).topic_id).translate(_BASE64URL)
        # A broker without topic ids reports sixteen zero bytes.
        return None if uuid.strip("A=") == "" else uuid

    async def _call(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(call)
        except (KafkaException, TimeoutError) as exc:
            reason = exc.args[0].str() if isinstance(exc, KafkaException) else "no answer in time"
            message = f"{self.bootstrap_servers} (STREAMAPP_KAFKA_BOOTSTRAP_SERVERS): {reason}"
            raise BrokerUnavailable(message) from exc
