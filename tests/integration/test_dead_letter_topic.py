"""Dead letters on a real Kafka."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from streamapp import dead_letters
from streamapp.broker import DEAD_LETTER_OVERHEAD, DEFAULT_MAX_MESSAGE_BYTES, Broker
from streamapp.dead_letters import DeadLetterTopic
from streamapp.errors import BrokerUnavailable, DeadLetterTopicTooSmall
from streamapp.settings import Settings
from tests import foreign
from tests.factories import NOW, a_letter


def opened(settings: Settings) -> DeadLetterTopic:
    """Return the topic, made and open."""
    broker = Broker(settings.kafka_bootstrap_servers)
    limit = asyncio.run(
        broker.ensure_topics(topic=settings.topic, partitions=1, dead_letter_topic=settings.dead_letter_topic)
    )
    topic = DeadLetterTopic(bootstrap_servers=settings.kafka_bootstrap_servers, topic=settings.dead_letter_topic)
    topic.open(max_message_bytes=limit)
    return topic


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
    broker = Broker(settings.kafka_bootstrap_servers)

    limit = asyncio.run(
        broker.ensure_topics(topic=settings.topic, partitions=9, dead_letter_topic=settings.dead_letter_topic)
    )

    assert limit == 5000
    partitions = {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=10).topics.items()}
    assert (3, 2) == (partitions[settings.topic], partitions[settings.dead_letter_topic])


def test_the_topic_we_make_has_room_for_the_source_topics_records(settings: Settings) -> None:
    """Plus our headers."""
    foreign.make_topic(settings, **{"max.message.bytes": "3000000"})
    broker = Broker(settings.kafka_bootstrap_servers)

    limit = asyncio.run(
        broker.ensure_topics(topic=settings.topic, partitions=4, dead_letter_topic=settings.dead_letter_topic)
    )

    assert limit == 3_000_000 + DEAD_LETTER_OVERHEAD


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
    monkeypatch.setattr(dead_letters, "_DELIVERY_TIMEOUT", 1.0)
    topic = DeadLetterTopic(bootstrap_servers="127.0.0.1:1", topic="nowhere.dlq")
    topic.open(max_message_bytes=1_000_000)

    with pytest.raises(BrokerUnavailable, match="nowhere"):
        asyncio.run(topic.send([a_letter()]))


def test_incarnations_tell_two_lives_of_a_topic_apart(settings: Settings) -> None:
    """22 characters, another one after the topic was deleted and made again."""
    foreign.make_topic(settings)
    broker = Broker(settings.kafka_bootstrap_servers)
    first = asyncio.run(broker.incarnation_of(settings.topic))
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    admin.delete_topics([settings.topic])[settings.topic].result(20)
    foreign.make_again(settings)
    second = asyncio.run(broker.incarnation_of(settings.topic))

    assert len(first or "") == len(second or "") == 22
    assert first != second
