"""Read the facts of Kafka, without creating a topic or joining a group."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

from aiokafka import codec as compression
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage] - documented there
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.tokens import TokenUnavailable
from streamapp.doctor.checks import kafka as checks
from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, skipped
from streamapp.doctor.checks.kafka import Bounds, PartitionFacts, TopicFacts
from streamapp.errors import AccessRefused, BrokerUnavailable
from streamapp.kafka.access import ClientErrors, hidden_topic
from streamapp.kafka.admin import (
    DEAD_LETTER_OVERHEAD,
    DEFAULT_MAX_MESSAGE_BYTES,
    MAX_TOPIC_MESSAGE_BYTES,
    cli_of,
    is_hidden,
    silent_logger,
    topic_id_in,
)
from streamapp.kafka.broker_codes import USER
from streamapp.kafka.faults import remedy, right_to_topic
from streamapp.kafka.topic_reader import TopicReader
from streamapp.settings import Settings

REACH_SECONDS = 2.0
ANSWER_SECONDS = 4.0
#: A broker creates this topic when a client asks for committed offsets; without it, doctor does not ask.
OFFSETS_TOPIC = "__consumer_offsets"
_START_OR_SET = "start a local Kafka with `streamapp up`, or set STREAMAPP_KAFKA_BOOTSTRAP_SERVERS=<host:port>"
CORRECT_ACCESS = "correct the right, the user or the certificate that the message names"


class KafkaChecks:
    """The checks of Kafka; other checks use its attributes after `findings` has ended."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection = KafkaConnection.of(settings)
        self._tools = cli_of(self._connection)
        self._errors = ClientErrors(self._connection)
        self._admin = self._connection.admin(
            {"socket.timeout.ms": int(ANSWER_SECONDS * 1000), "log_level": 0, "error_cb": self._errors.note},
            logger=silent_logger,
        )
        #: The topic of the events; None if it does not exist.
        self.topic: TopicFacts | None = None
        #: By partition; empty if they could not be read without a side effect.
        self.bounds: Mapping[int, Bounds] = {}

    def findings(self) -> Findings:
        """Run all checks."""
        yield checks.check_codecs(readable_codecs())
        servers = self._settings.kafka_bootstrap_servers.split(",")
        reached = reach_all(servers)
        if all(reached.values()):
            seen = ", ".join(f"{server} cannot be reached ({why})" for server, why in reached.items())
            yield fault("kafka.address", seen, _START_OR_SET)
            yield from _skipped("a reachable Kafka")
            return
        began = time.monotonic()
        try:
            cluster = self._admin.list_topics(timeout=ANSWER_SECONDS)
        except TokenUnavailable as exc:
            yield fault("kafka.address", str(exc), "check the token endpoint or the token file")
            yield from _skipped("a token for Kafka")
            return
        except KafkaException as exc:
            yield self._no_answer(exc.args[0])
            yield from _skipped("a reachable Kafka")
            return
        millis = (time.monotonic() - began) * 1000
        yield ok(
            "kafka.address",
            f"{','.join(servers)} answers in {millis:.0f} ms; the cluster has {len(cluster.brokers)} brokers",
        )
        yield from self._cluster(cluster)

    def _no_answer(self, error: KafkaError) -> Finding:
        servers = self._settings.kafka_bootstrap_servers
        self._admin.poll(0)  # calls `note` for what was reported meanwhile
        if refusal := self._errors.refusal(error):
            cause, remedy = refusal
            return fault("kafka.address", f"{servers} cannot be used: {cause}", remedy)
        seen = f"{servers} accepts connections, but does not answer as Kafka does: {error.str()}"
        remedy = f"check that this is the port of Kafka and that Kafka is healthy; {_START_OR_SET}"
        return fault("kafka.address", seen, remedy)

    def _missing(self, check: str, topic: str, otherwise: str) -> Finding:
        """A topic that is not listed: the user may not see it, or it does not exist yet."""
        if is_hidden(self._admin, topic, timeout=ANSWER_SECONDS):
            return fault(check, *hidden_topic(topic))
        return ok(check, f"{topic} does not exist yet; {otherwise}")

    def _cluster(self, cluster: Any) -> Findings:
        advertised = reach_all([f"{each.host}:{each.port}" for each in cluster.brokers.values()])
        yield checks.check_advertised(advertised, self._tools)
        if all(advertised.values()):
            yield from _skipped("a reachable advertised broker")
            return
        local = all(is_loopback(address) for address in advertised)
        yield from self._topic(cluster.topics, is_local=local)
        yield from self._dead_letters(cluster.topics, is_local=local)
        yield from self._group(cluster.topics)

    def _topic(self, topics: Mapping[str, Any], *, is_local: bool) -> Findings:
        name, wanted = self._settings.topic, self._settings.partitions
        if name not in topics:
            yield self._missing("kafka.topic", name, f"the worker creates it with {wanted} partitions")
            return
        try:
            self.topic = self._described(name)
        except KafkaException as exc:
            yield _no_description("kafka.topic", name, exc.args[0])
            return
        yield ok("kafka.topic", f"{name} exists")
        yield from checks.check_topic(self.topic, partitions=wanted, is_loopback=is_local, tools=self._tools)

    def _dead_letters(self, topics: Mapping[str, Any], *, is_local: bool) -> Findings:
        name = self._settings.dead_letter_topic
        if name not in topics:
            yield self._missing("dlq.topic", name, "the worker creates it without a retention limit")
            return
        limit = self.topic.number("max.message.bytes", DEFAULT_MAX_MESSAGE_BYTES) if self.topic else 0
        largest = min(limit + DEAD_LETTER_OVERHEAD, MAX_TOPIC_MESSAGE_BYTES)
        try:
            letters = self._described(name)
        except KafkaException as exc:
            yield _no_description("dlq.topic", name, exc.args[0])
            return
        yield from checks.check_dead_letters(letters, largest, is_loopback=is_local, tools=self._tools)

    def _group(self, topics: Mapping[str, Any]) -> Findings:
        if self.topic is None:
            yield skipped("group.offsets", "the topic of the events")
            return
        if OFFSETS_TOPIC not in topics:
            needs = f"the topic {OFFSETS_TOPIC}, which Kafka creates for the first consumer; {USER} must have the right"
            yield skipped("group.offsets", f"{needs} DESCRIBE to it")
            return
        topic, group = self._settings.topic, self._settings.app_id
        try:
            with TopicReader(self._connection, topic, group=group) as reader:
                bounds = {number: Bounds(start=low, end=high) for number, (low, high) in _bounds(reader)}
                committed = reader.committed(group)
        except BrokerUnavailable as exc:
            is_refused = isinstance(exc, AccessRefused)
            yield fault("group.offsets", str(exc), CORRECT_ACCESS if is_refused else "read the log of the broker")
            return
        self.bounds = bounds
        yield from checks.check_group(bounds, committed, topic=topic, group=group, tools=self._tools)

    def _described(self, topic: str) -> TopicFacts:
        answer = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_SECONDS)[topic]
        resource = ConfigResource(ResourceType.TOPIC, topic)
        config = self._admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource]
        described: Any = answer.result(ANSWER_SECONDS)
        return TopicFacts(
            name=topic,
            partitions={each.id: _partition(each) for each in described.partitions},
            config={name: entry.value for name, entry in config.result(ANSWER_SECONDS).items() if entry.value},
            topic_id=topic_id_in(described),
        )


def _no_description(check: str, topic: str, error: KafkaError) -> Finding:
    # The right DESCRIBE is there: the topic is listed.
    fix = remedy(error, right_to_topic("DESCRIBE_CONFIGS", topic)) or "read the log of the broker"
    return fault(check, f"{topic} cannot be described: {error.str()}", fix)


def _partition(answer: Any) -> PartitionFacts:
    has_leader = answer.leader is not None and answer.leader.id >= 0
    return PartitionFacts(replicas=len(answer.replicas), in_sync=len(answer.isr), has_leader=has_leader)


def _bounds(reader: TopicReader) -> list[tuple[int, tuple[int, int]]]:
    return [(number, reader.bounds(number)) for number in reader.partitions()]


def _skipped(needs: str) -> Findings:
    for check in ("kafka.topic", "dlq.topic", "group.offsets"):
        yield skipped(check, needs)


def readable_codecs() -> Mapping[str, bool]:
    """Return for each compression codec whether the worker can read it."""
    return {
        "gzip": compression.has_gzip(),
        "snappy": compression.has_snappy(),
        "lz4": compression.has_lz4(),
        "zstd": compression.has_zstd(),
    }


def reach_all(addresses: list[str]) -> dict[str, str | None]:
    """Try to connect to all addresses at the same time; return the error of each, or None."""
    with ThreadPoolExecutor(max(1, min(16, len(addresses)))) as threads:
        return dict(zip(addresses, threads.map(reach, addresses), strict=True))


def reach(address: str) -> str | None:
    """Try to connect to host:port; return the error, or None."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except OSError as exc:
        return exc.strerror or str(exc)
    return None


def is_loopback(address: str) -> bool:
    """Whether host:port is a loopback address."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
