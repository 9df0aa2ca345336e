"""Dead letters on a real Kafka."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import BrokerUnavailable, DeadLetterRefused, SettingsError
from streamapp.kafka import dead_letter_producer
from streamapp.kafka.admin import DEAD_LETTER_OVERHEAD, DEFAULT_MAX_MESSAGE_BYTES, KafkaAdmin
from streamapp.kafka.dead_letter_producer import DeadLetterProducer
from streamapp.settings import Settings
from tests.support import foreign
from tests.support.factories import NOW, a_letter
from tests.support.until import until


def opened(settings: Settings) -> DeadLetterProducer:
    """Return the open producer of the dead-letter topic, which exists."""
    kafka_admin = KafkaAdmin(KafkaConnection.of(settings))
    limit = asyncio.run(
        kafka_admin.ensure_topics(topic=settings.topic, partitions=1, dead_letter_topic=settings.dead_letter_topic)
    )
    producer = DeadLetterProducer(connection=KafkaConnection.of(settings), topic=settings.dead_letter_topic)
    producer.open(max_message_bytes=limit)
    return producer


def create_dead_letter_topic(settings: Settings, **config: str) -> None:
    """Create the dead-letter topic before the worker does."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    new = NewTopic(settings.dead_letter_topic, 1, config=config)
    admin.create_topics([new])[settings.dead_letter_topic].result(60)


@pytest.mark.parametrize(
    ("key", "value"),
    [(None, None), (b"k", None), (None, b""), (b"", b"\x00\xff"), (b"k", b"x" * DEFAULT_MAX_MESSAGE_BYTES)],
)
def test_a_dead_letter_keeps_key_value_and_time(settings: Settings, key: bytes | None, value: bytes | None) -> None:
    """Also a missing key or value, and the largest record of the source topic."""
    asyncio.run(opened(settings).send([a_letter(key=key, value=value)]))

    (letter,) = foreign.read_all(settings, settings.dead_letter_topic, 1)
    assert (key, value, NOW) == (letter.key(), letter.value(), letter.timestamp()[1])


def test_existing_topics_are_not_changed(settings: Settings) -> None:
    """The size limit of the existing dead-letter topic is returned."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    topics = [
        NewTopic(settings.topic, 3, config={"max.message.bytes": "2000000"}),
        NewTopic(settings.dead_letter_topic, 2, config={"max.message.bytes": "5000"}),
    ]
    for made in admin.create_topics(topics).values():
        made.result(60)
    kafka_admin = KafkaAdmin(KafkaConnection.of(settings))

    limit = asyncio.run(
        kafka_admin.ensure_topics(topic=settings.topic, partitions=9, dead_letter_topic=settings.dead_letter_topic)
    )

    assert limit == 5000
    partitions = {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=60).topics.items()}
    assert (3, 2) == (partitions[settings.topic], partitions[settings.dead_letter_topic])


def test_the_created_topic_accepts_all_records_of_the_source_topic(settings: Settings) -> None:
    """Its size limit leaves room for the headers that streamapp adds."""
    foreign.make_topic(settings, **{"max.message.bytes": "3000000"})
    kafka_admin = KafkaAdmin(KafkaConnection.of(settings))

    limit = asyncio.run(
        kafka_admin.ensure_topics(topic=settings.topic, partitions=4, dead_letter_topic=settings.dead_letter_topic)
    )

    assert limit == 3_000_000 + DEAD_LETTER_OVERHEAD


def test_the_created_topic_keeps_dead_letters_of_any_timestamp(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Kafka deletes by the timestamp of the record, and rejects timestamps far in the future by default."""
    producer = opened(settings)
    asyncio.run(producer.send([a_letter(timestamp=1), a_letter(timestamp=NOW * 100)]))

    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    resource = ConfigResource(ResourceType.TOPIC, settings.dead_letter_topic)
    config = admin.describe_configs([resource])[resource].result(60)
    names = ("retention.ms", "retention.bytes", "cleanup.policy", "message.timestamp.after.max.ms")
    assert ["-1", "-1", "delete", "9223372036854775807"] == [config[name].value for name in names]
    assert "deletes dead letters" not in caplog.text


def test_a_topic_that_deletes_dead_letters_is_reported(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """The warning says what it means and names the command that fixes it."""
    create_dead_letter_topic(settings, **{"retention.ms": "86400000"})
    with caplog.at_level(logging.WARNING, "streamapp.kafka.admin"):
        opened(settings)

    (record,) = [record for record in caplog.records if record.name == "streamapp.kafka.admin"]
    for words in (settings.dead_letter_topic, "retention.ms=86400000", "kafka-configs", "retention.ms=-1"):
        assert words in record.getMessage()


def test_a_topic_that_cannot_be_created_is_a_settings_error(settings: Settings) -> None:
    """It is not an outage: a retry does not help."""
    kafka_admin = KafkaAdmin(KafkaConnection.of(settings))

    with pytest.raises(SettingsError, match=r"TOPIC_EXCEPTION.*\n.*kafka-topics"):
        asyncio.run(kafka_admin.ensure_topics(topic=settings.topic, partitions=1, dead_letter_topic="x" * 250))


@pytest.mark.parametrize(
    ("config", "timestamp", "words"),
    [
        ({"message.timestamp.after.max.ms": "3600000"}, NOW * 100, "message.timestamp.after.max.ms="),
        ({"cleanup.policy": "compact"}, NOW, "cleanup.policy=delete"),
    ],
    ids=["far ahead", "no key"],
)
def test_a_record_that_the_topic_refuses_is_not_an_outage(
    settings: Settings, config: dict[str, str], timestamp: int, words: str
) -> None:
    """The error is raised at once and names cause and fix."""
    create_dead_letter_topic(settings, **config)

    with pytest.raises(DeadLetterRefused) as caught:
        asyncio.run(opened(settings).send([a_letter(timestamp=timestamp, key=None)]))

    for text in (settings.dead_letter_topic, "kafka-configs", words):
        assert text in str(caught.value)


def test_the_producer_asks_for_acks_of_all_in_sync_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked in the configuration: one broker cannot show the effect."""
    configs: list[dict[str, Any]] = []
    monkeypatch.setattr("streamapp.connections.kafka._Producer", lambda config, **_: configs.append(config))

    connection = KafkaConnection(servers="127.0.0.1:1")
    DeadLetterProducer(connection=connection, topic="nowhere.dlq").open(max_message_bytes=1_000_000)

    assert [("all", True)] == [(config["acks"], config["enable.idempotence"]) for config in configs]


@pytest.mark.parametrize("limit", [0, 2_147_483_647])
def test_any_size_limit_of_a_topic_is_accepted(settings: Settings, limit: int) -> None:
    """The client's bounds are narrower than Kafka's."""
    producer = opened(settings)
    producer.open(max_message_bytes=limit)
    asyncio.run(producer.send([a_letter()]))


def test_the_created_topic_never_exceeds_kafkas_size_limit(settings: Settings) -> None:
    """The source topic may have the largest limit already."""
    foreign.make_topic(settings, **{"max.message.bytes": "2147483647"})
    opened(settings)


def test_a_large_dead_letter_is_delivered_compressed_or_without_its_value(settings: Settings) -> None:
    """The topic's limit is one of compressed bytes; what does not fit is described by headers."""
    create_dead_letter_topic(settings, **{"max.message.bytes": "5000"})
    noise = random.Random(1).randbytes(9_000)
    letters = [
        a_letter(value=b"z" * 3_000_000),
        a_letter(value=noise, offset=1),
        a_letter(value=b"", key=noise, headers=(("trace", noise),), offset=2),
        a_letter(value=b"small", offset=3),
    ]

    asyncio.run(opened(settings).send(letters))

    found = {dict(each.headers())["streamapp.offset"]: each for each in read_all(settings, 4)}
    assert [3_000_000, 5] == [len(found[offset].value()) for offset in (b"0", b"3")]
    assert (None, b"user-1") == (found[b"1"].value(), found[b"1"].key())
    assert sha256(noise).hexdigest().encode() == dict(found[b"1"].headers())["streamapp.value_sha256"]
    assert (None, b"9000") == (found[b"2"].key(), dict(found[b"2"].headers())["streamapp.key_size"])


def test_a_deleted_dead_letter_topic_is_created_again_without_a_retention(settings: Settings) -> None:
    """The broker does not create it with its own retention."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    kafka, producer = KafkaAdmin(KafkaConnection.of(settings)), opened(settings)
    topics = {"topic": settings.topic, "partitions": 1, "dead_letter_topic": settings.dead_letter_topic}
    limit = asyncio.run(kafka.ensure_topics(**topics))
    producer.open(max_message_bytes=limit, create_topic=lambda: kafka.ensure_topics(**topics))
    asyncio.run(producer.send([a_letter()]))
    admin.delete_topics([settings.dead_letter_topic])[settings.dead_letter_topic].result(60)
    until(lambda: settings.dead_letter_topic not in admin.list_topics(timeout=60).topics, what="the deletion")

    letter = a_letter(offset=1)

    def is_sent() -> bool:
        with suppress(BrokerUnavailable):
            asyncio.run(producer.send([letter]))
            return True
        return False

    until(is_sent, within=60, what="the dead letter")
    (found,) = read_all(settings, 1)
    assert dict(found.headers())["streamapp.offset"] == b"1"
    resource = ConfigResource(ResourceType.TOPIC, settings.dead_letter_topic)
    assert admin.describe_configs([resource])[resource].result(60)["retention.ms"].value == "-1"


def read_all(settings: Settings, count: int) -> list[Any]:
    """Return the records of the dead-letter topic."""
    return foreign.read_all(settings, settings.dead_letter_topic, count)


def test_an_unreachable_broker_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dead letter is not dropped."""
    monkeypatch.setattr(dead_letter_producer, "_DELIVERY_TIMEOUT", 1.0)
    producer = DeadLetterProducer(connection=KafkaConnection(servers="127.0.0.1:1"), topic="nowhere.dlq")
    producer.open(max_message_bytes=1_000_000)

    with pytest.raises(BrokerUnavailable, match="nowhere"):
        asyncio.run(producer.send([a_letter()]))


def test_close_does_not_wait_for_an_unreachable_broker() -> None:
    """Otherwise the process could not end."""
    producer = DeadLetterProducer(connection=KafkaConnection(servers="127.0.0.1:1"), topic="nowhere.dlq")
    producer.open(max_message_bytes=1_000_000)

    async def scenario() -> None:
        sending = asyncio.create_task(producer.send([a_letter()]))
        await asyncio.sleep(0.3)
        producer.close()
        with pytest.raises(BrokerUnavailable):
            await asyncio.wait_for(sending, 3)

    asyncio.run(scenario())


def test_a_re_created_topic_has_another_topic_id(settings: Settings) -> None:
    """A topic id has 22 characters and changes when the topic is deleted and re-created."""
    foreign.make_topic(settings)
    kafka_admin = KafkaAdmin(KafkaConnection.of(settings))
    first = asyncio.run(kafka_admin.topic_id_of(settings.topic))
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    admin.delete_topics([settings.topic])[settings.topic].result(60)
    foreign.make_again(settings)

    def new_topic_id() -> str | None:
        with suppress(BrokerUnavailable):  # The broker that answers may not know the topic yet.
            return asyncio.run(kafka_admin.topic_id_of(settings.topic))
        return None

    second = until(new_topic_id, what="the re-created topic")

    assert len(first or "") == len(second or "") == 22
    assert first != second
