"""Dead letters on a real Kafka."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from streamapp.errors import BrokerUnavailable, DeadLetterRefused, DeadLetterTopicTooSmall, SettingsError
from streamapp.kafka import dead_letter_producer, producer
from streamapp.kafka.admin import DEAD_LETTER_OVERHEAD, DEFAULT_MAX_MESSAGE_BYTES, KafkaAdmin
from streamapp.kafka.dead_letter_producer import DeadLetterProducer
from streamapp.settings import Settings
from tests.support import foreign
from tests.support.factories import NOW, a_letter
from tests.support.until import until


def opened(settings: Settings) -> DeadLetterProducer:
    """Return the topic, made and open."""
    broker = KafkaAdmin(settings.kafka_bootstrap_servers)
    limit = asyncio.run(
        broker.ensure_topics(topic=settings.topic, partitions=1, dead_letter_topic=settings.dead_letter_topic)
    )
    topic = DeadLetterProducer(bootstrap_servers=settings.kafka_bootstrap_servers, topic=settings.dead_letter_topic)
    topic.open(max_message_bytes=limit)
    return topic


def make_dead_letter_topic(settings: Settings, **config: str) -> None:
    """Make the dead-letter topic before the worker does."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    new = NewTopic(settings.dead_letter_topic, 1, config=config)
    admin.create_topics([new])[settings.dead_letter_topic].result(20)


@pytest.mark.parametrize(
    ("key", "value"),
    [(None, None), (b"k", None), (None, b""), (b"", b"\x00\xff"), (b"k", b"x" * DEFAULT_MAX_MESSAGE_BYTES)],
)
def test_a_dead_letter_keeps_key_value_and_time(settings: Settings, key: bytes | None, value: bytes | None) -> None:
    """Whatever is missing; and there is room for any record of the source topic."""
    asyncio.run(opened(settings).send([a_letter(key=key, value=value)]))

    (letter,) = foreign.read_all(settings, settings.dead_letter_topic, 1)
    assert (key, value, NOW) == (letter.key(), letter.value(), letter.timestamp()[1])


def test_topics_that_are_there_are_left_alone(settings: Settings) -> None:
    """And their limit is told."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    topics = [
        NewTopic(settings.topic, 3, config={"max.message.bytes": "2000000"}),
        NewTopic(settings.dead_letter_topic, 2, config={"max.message.bytes": "5000"}),
    ]
    for made in admin.create_topics(topics).values():
        made.result(20)
    broker = KafkaAdmin(settings.kafka_bootstrap_servers)

    limit = asyncio.run(
        broker.ensure_topics(topic=settings.topic, partitions=9, dead_letter_topic=settings.dead_letter_topic)
    )

    assert limit == 5000
    partitions = {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=10).topics.items()}
    assert (3, 2) == (partitions[settings.topic], partitions[settings.dead_letter_topic])


def test_the_topic_we_make_has_room_for_the_source_topics_records(settings: Settings) -> None:
    """Plus our headers."""
    foreign.make_topic(settings, **{"max.message.bytes": "3000000"})
    broker = KafkaAdmin(settings.kafka_bootstrap_servers)

    limit = asyncio.run(
        broker.ensure_topics(topic=settings.topic, partitions=4, dead_letter_topic=settings.dead_letter_topic)
    )

    assert limit == 3_000_000 + DEAD_LETTER_OVERHEAD


def test_the_topic_we_make_keeps_dead_letters_of_any_time_for_ever(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """A dead letter has its record's timestamp, by which Kafka deletes, or refuses what is far ahead."""
    topic = opened(settings)
    asyncio.run(topic.send([a_letter(timestamp=1), a_letter(timestamp=NOW * 100)]))

    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    resource = ConfigResource(ResourceType.TOPIC, settings.dead_letter_topic)
    told = admin.describe_configs([resource])[resource].result(20)
    names = ("retention.ms", "retention.bytes", "cleanup.policy", "message.timestamp.after.max.ms")
    assert ["-1", "-1", "delete", "9223372036854775807"] == [told[name].value for name in names]
    assert "deletes dead letters" not in caplog.text


def test_a_topic_that_deletes_dead_letters_is_warned_of(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Once, with what it means and the command that ends it."""
    make_dead_letter_topic(settings, **{"retention.ms": "86400000"})
    with caplog.at_level(logging.WARNING, "streamapp.kafka.admin"):
        opened(settings)

    (record,) = [record for record in caplog.records if record.name == "streamapp.kafka.admin"]
    for words in (settings.dead_letter_topic, "retention.ms=86400000", "kafka-configs", "retention.ms=-1"):
        assert words in record.getMessage()


def test_a_topic_that_kafka_will_never_make_is_a_wrong_setting(settings: Settings) -> None:
    """No outage to be waited out."""
    broker = KafkaAdmin(settings.kafka_bootstrap_servers)

    with pytest.raises(SettingsError, match=r"TOPIC_EXCEPTION.*\n.*kafka-topics"):
        asyncio.run(broker.ensure_topics(topic=settings.topic, partitions=1, dead_letter_topic="x" * 250))


@pytest.mark.parametrize(
    ("config", "timestamp", "words"),
    [
        ({"message.timestamp.after.max.ms": "3600000"}, NOW * 100, "message.timestamp.after.max.ms="),
        ({"cleanup.policy": "compact"}, NOW, "cleanup.policy=delete"),
    ],
    ids=["far ahead", "no key"],
)
def test_a_record_that_the_topic_never_takes_is_no_outage(
    settings: Settings, config: dict[str, str], timestamp: int, words: str
) -> None:
    """Told at once, with what is wrong and the remedy."""
    make_dead_letter_topic(settings, **config)

    with pytest.raises(DeadLetterRefused) as caught:
        asyncio.run(opened(settings).send([a_letter(timestamp=timestamp, key=None)]))

    for said in (settings.dead_letter_topic, "kafka-configs", words):
        assert said in str(caught.value)


def test_delivered_means_by_all_in_sync_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As asked for: one broker cannot show it, since Kafka takes min.insync.replicas for no more than there are."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(producer, "Producer", lambda config, **_: asked.append(config))

    DeadLetterProducer(bootstrap_servers="127.0.0.1:1", topic="nowhere.dlq").open(max_message_bytes=1_000_000)

    assert [("all", True)] == [(config["acks"], config["enable.idempotence"]) for config in asked]


@pytest.mark.parametrize("limit", [0, 2_147_483_647])
def test_any_limit_of_a_topic_will_do(settings: Settings, limit: int) -> None:
    """The client's own bounds are narrower than Kafka's."""
    topic = opened(settings)
    topic.open(max_message_bytes=limit)
    asyncio.run(topic.send([a_letter()]))


def test_the_topic_we_make_never_passes_kafkas_own_limit(settings: Settings) -> None:
    """However large the records of the source topic may be."""
    foreign.make_topic(settings, **{"max.message.bytes": "2147483647"})
    opened(settings)


def test_the_remedy_for_a_small_topic_counts_headers(settings: Settings) -> None:
    """Obeyed, it lets the dead letter through."""
    make_dead_letter_topic(settings, **{"max.message.bytes": "5000"})
    letter = a_letter(headers=(("trace", b"x" * 200_000),))
    topic = opened(settings)
    with pytest.raises(DeadLetterTopicTooSmall) as caught:
        asyncio.run(topic.send([letter]))

    limit = int(str(caught.value).rpartition("max.message.bytes=")[2])
    foreign.set_topic_config(settings, settings.dead_letter_topic, "max.message.bytes", str(limit))
    topic.open(max_message_bytes=limit)
    asyncio.run(topic.send([letter]))


def test_a_topic_that_is_too_small_is_named_with_the_remedy(settings: Settings) -> None:
    """Its limit and the command that raises it."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    small = NewTopic(settings.dead_letter_topic, 1, config={"max.message.bytes": "5000"})
    admin.create_topics([small])[settings.dead_letter_topic].result(20)

    with pytest.raises(DeadLetterTopicTooSmall) as caught:
        asyncio.run(opened(settings).send([a_letter(value=b"x" * 9000)]))

    for words in (settings.dead_letter_topic, "max.message.bytes is 5000", "kafka-configs", "--add-config"):
        assert words in str(caught.value)


def test_a_broker_that_is_away_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a drop."""
    monkeypatch.setattr(dead_letter_producer, "_DELIVERY_TIMEOUT", 1.0)
    topic = DeadLetterProducer(bootstrap_servers="127.0.0.1:1", topic="nowhere.dlq")
    topic.open(max_message_bytes=1_000_000)

    with pytest.raises(BrokerUnavailable, match="nowhere"):
        asyncio.run(topic.send([a_letter()]))


def test_a_close_does_not_wait_for_a_broker_that_is_away() -> None:
    """The process would not end before the thread does."""
    topic = DeadLetterProducer(bootstrap_servers="127.0.0.1:1", topic="nowhere.dlq")
    topic.open(max_message_bytes=1_000_000)

    async def scenario() -> None:
        sending = asyncio.create_task(topic.send([a_letter()]))
        await asyncio.sleep(0.3)
        topic.close()
        with pytest.raises(BrokerUnavailable):
            await asyncio.wait_for(sending, 3)

    asyncio.run(scenario())


def test_incarnations_tell_two_lives_of_a_topic_apart(settings: Settings) -> None:
    """22 characters, another one after the topic was deleted and made again."""
    foreign.make_topic(settings)
    broker = KafkaAdmin(settings.kafka_bootstrap_servers)
    first = asyncio.run(broker.topic_id_of(settings.topic))
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    admin.delete_topics([settings.topic])[settings.topic].result(20)
    foreign.make_again(settings)

    def now_there() -> str | None:
        with suppress(BrokerUnavailable):  # The broker that is asked may not have heard of it yet.
            return asyncio.run(broker.topic_id_of(settings.topic))
        return None

    second = until(now_there, what="the second life")

    assert len(first or "") == len(second or "") == 22
    assert first != second
