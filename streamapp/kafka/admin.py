"""Administer Kafka: create the topics, read topic ids and topic configurations.

It uses confluent-kafka, because aiokafka does not return topic ids. The calls block, so they run in threads.
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
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage] - documented there
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import BrokerAccessRefused, SettingsError
from streamapp.kafka import cli_hints
from streamapp.kafka.access import ClientErrors, access_refused, hidden_topic
from streamapp.kafka.broker_codes import Fault
from streamapp.kafka.cli_hints import KafkaCli
from streamapp.kafka.faults import fault_of, right_to_topic, unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

TIMEOUT = 10.0
#: Seconds; below the time limit of one check of /readyz.
PING_TIMEOUT = 2.0
#: Bytes that a dead letter may be larger than its record: the error text of up to 1 KiB, coordinates, other headers.
DEAD_LETTER_OVERHEAD = 64 * 1024
#: Kafka's default for message.max.bytes.
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
#: The largest value that Kafka accepts for max.message.bytes.
MAX_TOPIC_MESSAGE_BYTES = 2_147_483_647

#: When streamapp creates the dead-letter topic.
DEAD_LETTER_PARTITIONS = 1
#: A dead letter keeps the timestamp of its record, which may be older than any retention time …
UNLIMITED_RETENTION = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
#: … or far in the future, which Kafka rejects by default. Brokers before 3.6 neither know this key nor reject.
_ANY_TIMESTAMP = {"message.timestamp.after.max.ms": str(2**63 - 1)}

_BASE64URL = str.maketrans("+/", "-_")

#: For librdkafka, which would write every failed connection to stderr; the errors that matter are raised.
silent_logger = logging.getLogger("streamapp.librdkafka")
silent_logger.propagate = False
silent_logger.addHandler(logging.NullHandler())  # without a handler, Python writes warnings to stderr


class KafkaAdmin:
    """Administers one Kafka cluster."""

    def __init__(self, connection: KafkaConnection) -> None:
        self.bootstrap_servers = connection.servers
        self._creates_topics = connection.creates_topics
        self._cli = cli_of(connection)
        self._errors = ClientErrors(connection)
        self._admin = connection.admin(
            {"reconnect.backoff.max.ms": 1000, "log_level": 0, "error_cb": self._errors.note}, logger=silent_logger
        )

    async def ping(self) -> None:
        """Raise BrokerUnavailable unless Kafka answers within `PING_TIMEOUT`."""
        await self._call(lambda: self._admin.describe_cluster(request_timeout=PING_TIMEOUT).result(PING_TIMEOUT))

    async def ensure_topics(self, *, topic: str, partitions: int, dead_letter_topic: str) -> int:
        """Create the topics that do not exist, and return max.message.bytes of the dead-letter topic.

        Topics that exist are not changed; then the right to create topics is not needed.

        Raises:
            BrokerUnavailable: Kafka does not answer, the right to create a topic is missing, or a topic is missing
                and may not be created.
            SettingsError: Kafka refuses to create a topic.
        """
        existing = await self._call(self._topics)
        for name in (topic, dead_letter_topic):
            if name not in existing:
                await self._call(lambda missing=name: self._check_access(missing))
        if topic not in existing:
            await self._call(lambda: self._create_topic(topic, partitions, {}))
        limit = min(_max_message_bytes(await self._config(topic)) + DEAD_LETTER_OVERHEAD, MAX_TOPIC_MESSAGE_BYTES)
        if dead_letter_topic not in existing:
            config = {"max.message.bytes": str(limit), **UNLIMITED_RETENTION}
            await self._call(lambda: self._create_dead_letter_topic(dead_letter_topic, config))
        config = await self._config(dead_letter_topic)
        self._warn_of_retention(dead_letter_topic, config)
        return _max_message_bytes(config)

    async def max_message_bytes(self, topic: str) -> int:
        """The topic's max.message.bytes."""
        return _max_message_bytes(await self._config(topic))

    async def topic_id_of(self, topic: str) -> str | None:
        """The topic id (KIP-516), 22 characters of base64url; None from a broker before Kafka 2.8."""
        return await self._call(lambda: self._topic_id(topic))

    async def is_compacted(self, topic: str) -> bool:
        """Whether Kafka deletes records of the topic when later ones have the same key."""
        return "compact" in (await self._config(topic)).get("cleanup.policy", "delete")

    def _topics(self) -> AbstractSet[str]:
        found = self._errors.call(
            lambda seconds: self._admin.list_topics(timeout=seconds), self._admin, timeout=TIMEOUT / 2
        )
        return found.topics.keys()

    def _create_dead_letter_topic(self, topic: str, config: Mapping[str, str]) -> None:
        try:
            self._create(topic, DEAD_LETTER_PARTITIONS, {**config, **_ANY_TIMESTAMP})
        except KafkaException as exc:
            # Some services refuse keys that their users may not set as a violation of their policy.
            if exc.args[0].code() not in {KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION}:
                raise self._creation_error(topic, exc) from exc
            self._create_topic(topic, DEAD_LETTER_PARTITIONS, config)

    def _create_topic(self, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        try:
            self._create(topic, partitions, config)
        except KafkaException as exc:
            raise self._creation_error(topic, exc) from exc

    def _create(self, topic: str, partitions: int, config: Mapping[str, str]) -> None:
        if not self._creates_topics:
            raise unavailable(
                self.bootstrap_servers,
                f"the topic {topic} does not exist, and STREAMAPP_CREATE_TOPICS is false. Create it yourself:"
                f" {self._cli.create_topic(topic, partitions, config)}",
            )
        new = NewTopic(topic, partitions, config=dict(config))
        try:
            self._admin.create_topics([new], request_timeout=TIMEOUT)[topic].result(TIMEOUT)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            log.info("Created the topic %s.", topic, extra={"topic": topic, "partitions": partitions})

    def _creation_error(self, topic: str, exc: KafkaException) -> Exception:
        error = exc.args[0]
        if fault_of(error) is Fault.ACCESS:
            return BrokerAccessRefused(
                f"Kafka at {self.bootstrap_servers} (STREAMAPP_KAFKA_BOOTSTRAP_SERVERS) refuses to create the topic"
                f" {topic}: {error.str()} ({error.name()}). Create it yourself, or give the worker's user the right to"
                f" create it: {self._cli.create_topic(topic)}"
            )
        if fault_of(error) is not Fault.SETTING:
            return exc
        message = (
            f"Kafka at {self.bootstrap_servers} refuses to create the topic {topic}: {error.str()} ({error.name()})."
            " Create the topic yourself and start again, or change STREAMAPP_TOPIC or STREAMAPP_PARTITIONS. Example:\n"
            f"  {self._cli.create_topic(topic)}"
        )
        return SettingsError(message)

    async def _config(self, topic: str) -> Mapping[str, str]:
        # The broker that answers may not know a topic yet that was just created.
        for _ in range(20):
            with suppress(_UnknownTopicError):
                return await self._call(lambda: self._describe(topic), right=right_to_topic("DESCRIBE_CONFIGS", topic))
            await asyncio.sleep(0.1)
        raise unavailable(self.bootstrap_servers, f"the topic {topic} is not visible yet")

    def _describe(self, topic: str) -> Mapping[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        try:
            config = self._admin.describe_configs([resource], request_timeout=TIMEOUT)[resource].result(TIMEOUT)
        except KafkaException as exc:
            if exc.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise _UnknownTopicError from exc
            raise
        return {name: entry.value for name, entry in config.items() if entry.value}

    def _warn_of_retention(self, topic: str, config: Mapping[str, str]) -> None:
        limits = {name: config[name] for name in ("retention.ms", "retention.bytes") if config.get(name, "-1") != "-1"}
        if not limits or "delete" not in config.get("cleanup.policy", "delete"):
            return
        log.warning(
            "The dead-letter topic %s has %s: Kafka deletes dead letters by the age of the original record or by size,"
            " possibly at once and before anyone has read them. To keep them: %s",
            topic,
            ", ".join(f"{name}={value}" for name, value in limits.items()),
            self._cli.alter_config(topic, cli_hints.UNLIMITED_RETENTION),
        )

    def _topic_id(self, topic: str) -> str | None:
        described = self._admin.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT)
        return topic_id_in(described[topic].result(TIMEOUT))

    def _check_access(self, topic: str) -> None:
        if is_hidden(self._admin, topic, timeout=TIMEOUT):
            raise access_refused(self.bootstrap_servers, *hidden_topic(topic))

    async def _call(self, call: Callable[[], T], *, right: str | None = None) -> T:
        return await asyncio.to_thread(self._explained, call, right)

    def _explained(self, call: Callable[[], T], right: str | None) -> T:
        try:
            result = call()
        except KafkaException as exc:
            if fault_of(exc.args[0]) is Fault.DEFECT:
                raise
            raise self._failure(exc.args[0], right) from exc
        except TimeoutError as exc:
            raise self._failure(None) from exc
        self._errors.forget()
        return result

    def _failure(self, error: KafkaError | None, right: str | None = None) -> Exception:
        self._admin.poll(0)  # calls `note` for what was reported meanwhile
        return self._errors.failure(error, right)


def cli_of(connection: KafkaConnection) -> KafkaCli:
    """Return the commands of Kafka's own tools for a connection; they contain no secret."""
    return KafkaCli(servers=connection.servers, is_secured=connection.is_secured)


def is_hidden(admin: Any, topic: str, *, timeout: float) -> bool:
    """Whether the user may not see a topic that is not listed; it may exist."""
    described: Any = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout)[topic]
    try:
        described.result(timeout)
    except KafkaException as exc:
        return exc.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    return False


def topic_id_in(described: Any) -> str | None:
    """The topic id of a described topic, in base64url; None from a broker without topic ids."""
    # librdkafka returns plain base64, Kafka's own tools base64url.
    uuid = str(described.topic_id).translate(_BASE64URL)
    # A broker without topic ids reports sixteen zero bytes.
    return None if uuid.strip("A=") == "" else uuid


class _UnknownTopicError(Exception):
    """The broker that answered does not know the topic."""


def _max_message_bytes(config: Mapping[str, str]) -> int:
    return int(config.get("max.message.bytes", DEFAULT_MAX_MESSAGE_BYTES))
