"""Kafka's administration: topics made, a topic id, the sizes that topics allow.

On confluent-kafka, since aiokafka does not tell a topic's UUID. Its calls block: they run in threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage] - documented there
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from streamapp.errors import BrokerUnavailable, SettingsError
from streamapp.kafka.cli_hints import KEEP_ALL, Tools

T = TypeVar("T")
log = logging.getLogger(__name__)

TIMEOUT = 10.0
#: Below the limit of one question of /readyz.
PING_TIMEOUT = 2.0
#: A dead letter is its record and our headers: error text of 1 KiB, coordinates, and the original's own headers.
DEAD_LETTER_OVERHEAD = 64 * 1024
#: Kafka's default for message.max.bytes.
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
#: A topic's largest max.message.bytes.
MOST_MESSAGE_BYTES = 2_147_483_647

#: A dead letter keeps the time of its record, which may be older than any retention …
_KEPT_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
#: … or far ahead, which Kafka refuses by default; brokers before 3.6 do not know this key, nor refuse.
_ANY_TIME = {"message.timestamp.after.max.ms": str(2**63 - 1)}

#: Answers to the making of a topic that stay the same however often it is tried.
_REFUSALS = frozenset(
    {
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_REPLICA_ASSIGNMENT,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)

_BASE64URL = str.maketrans("+/", "-_")

#: For librdkafka, which would write every failed connection to stderr: what matters is raised.
silent = logging.getLogger("streamapp.librdkafka")
silent.propagate = False


class KafkaAdmin:
    """Administration of one Kafka cluster."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._tools = Tools(servers=bootstrap_servers)
        self._admin = AdminClient(
            {"bootstrap.servers": bootstrap_servers, "reconnect.backoff.max.ms": 1000, "log_level": 0}, logger=silent
        )

    async def ping(self) -> None:
        """Raise BrokerUnavailable unless Kafka answers, soon."""
        await self._call(lambda: self._admin.describe_cluster(request_timeout=PING_TIMEOUT).result(PING_TIMEOUT))

    async def ensure_topics(self, *, topic: str, partitions: int, dead_letter_topic: str) -> int:
        """Make both topics where they are missing; returns max.message.bytes of the dead-letter topic.

        What is there already is left as it is, and takes no right to make topics.

        Raises:
            BrokerUnavailable: Kafka does not answer.
            SettingsError: Kafka refuses to make a topic.
        """
        there = await self._call(self._topics)
        if topic not in there:
            await self._call(lambda: self._make(topic, partitions, {}))
        limit = min(_max_message_bytes(await self._config(topic)) + DEAD_LETTER_OVERHEAD, MOST_MESSAGE_BYTES)
        if dead_letter_topic not in there:
            config = {"max.message.bytes": str(limit), **_KEPT_FOR_EVER}
            await self._call(lambda: self._make_for_any_time(dead_letter_topic, config))
        config = await self._config(dead_letter_topic)
        self._warn_of_retention(dead_letter_topic, config)
        return _max_message_bytes(config)

    async def max_message_bytes(self, topic: str) -> int:
        """The topic's max.message.bytes."""
        return _max_message_bytes(await self._config(topic))

    async def topic_id_of(self, topic: str) -> str | None:
        """The topic's UUID, 22 characters of base64url; None from a broker that has none (before Kafka 2.8)."""
        return await self._call(lambda: self._topic_id(topic))

    async def is_compacted(self, topic: str) -> bool:
        """Whether Kafka deletes records of the topic because of later ones with the same key."""
        return "compact" in (await self._config(topic)).get("cleanup.policy", "delete")

    def _topics(self) -> AbstractSet[str]:
        return self._admin.list_topics(timeout=TIMEOUT / 2).topics.keys()

    def _make_for_any_time(self, topic: str, config: Mapping[str, str]) -> None:
        try:
            self._create(topic, 1, {**config, **_ANY_TIME})
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.INVALID_CONFIG:
                raise self._refusal(topic, exc) from exc
            self._make(topic, 1, config)

    def _make(self, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        try:
            self._create(topic, partitions, config)
        except KafkaException as exc:
            raise self._refusal(topic, exc) from exc

    def _create(self, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        new = NewTopic(topic, partitions, config=dict(config))
        try:
            self._admin.create_topics([new], request_timeout=TIMEOUT)[topic].result(TIMEOUT)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            log.info("topic made", extra={"topic": topic, "partitions": partitions})

    def _refusal(self, topic: str, exc: KafkaException) -> Exception:
        error = exc.args[0]
        if error.code() not in _REFUSALS:
            return exc
        message = (
            f"Kafka at {self.bootstrap_servers} refuses to make the topic {topic}: {error.str()} ({error.name()})."
            " Make it yourself and start again, or change STREAMAPP_TOPIC or STREAMAPP_PARTITIONS. Example:\n"
            f"  {self._tools.make(topic)}"
        )
        return SettingsError(message)

    async def _config(self, topic: str) -> Mapping[str, str]:
        # The broker that is asked may not have heard yet of a topic that was just made.
        for _ in range(20):
            with suppress(_NotThereYetError):
                return await self._call(lambda: self._describe(topic))
            await asyncio.sleep(0.1)
        raise away(self.bootstrap_servers, f"it does not show {topic} yet")

    def _describe(self, topic: str) -> Mapping[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        try:
            config = self._admin.describe_configs([resource], request_timeout=TIMEOUT)[resource].result(TIMEOUT)
        except KafkaException as exc:
            if exc.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise _NotThereYetError from exc
            raise
        return {name: entry.value for name, entry in config.items() if entry.value}

    def _warn_of_retention(self, topic: str, config: Mapping[str, str]) -> None:
        limits = {name: config[name] for name in ("retention.ms", "retention.bytes") if config.get(name, "-1") != "-1"}
        if not limits or "delete" not in config.get("cleanup.policy", "delete"):
            return
        log.warning(
            "the dead-letter topic %s has %s: Kafka deletes dead letters by the age of the original record or by size,"
            " even at once, read or not. To keep them: %s",
            topic,
            ", ".join(f"{name}={value}" for name, value in limits.items()),
            self._tools.configs(topic, KEEP_ALL),
        )

    def _topic_id(self, topic: str) -> str | None:
        asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT)
        return uuid_of(asked[topic].result(TIMEOUT))

    async def _call(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(call)
        except (KafkaException, TimeoutError) as exc:
            reason = exc.args[0].str() if isinstance(exc, KafkaException) else "no answer in time"
            raise away(self.bootstrap_servers, reason) from exc


def uuid_of(described: Any) -> str | None:
    """The UUID of a topic that was described; None from a broker that has none."""
    # librdkafka writes it in plain base64, Kafka's own tools in base64url.
    uuid = str(described.topic_id).translate(_BASE64URL)
    # A broker without topic ids reports sixteen zero bytes.
    return None if uuid.strip("A=") == "" else uuid


def away(bootstrap_servers: str, why: str) -> BrokerUnavailable:
    """Kafka does not answer as it should: the address, its setting, and why."""
    return BrokerUnavailable(f"{bootstrap_servers} (STREAMAPP_KAFKA_BOOTSTRAP_SERVERS): {why}")


class _NotThereYetError(Exception):
    """The broker that was asked does not know the topic."""


def _max_message_bytes(config: Mapping[str, str]) -> int:
    return int(config.get("max.message.bytes", DEFAULT_MAX_MESSAGE_BYTES))
