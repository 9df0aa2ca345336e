"""The topic reader on a real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streamapp import net
from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import BrokerUnavailable
from streamapp.kafka import topic_reader
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.next_offsets import next_offsets
from streamapp.kafka.topic_reader import TopicReader
from streamapp.settings import Settings
from tests.support import foreign, groups

WITHIN = 20.0


@pytest.fixture
def reader(settings: Settings) -> Generator[TopicReader]:
    """Return the reader of this test's topic, which does not exist yet."""
    with TopicReader(KafkaConnection.of(settings), settings.topic) as reader:
        yield reader


def transactional(settings: Settings) -> Producer:
    """Return a transactional producer whose first transaction has begun."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "transactional.id": settings.topic})
    producer.init_transactions(WITHIN)
    producer.begin_transaction()
    return producer


def test_a_missing_topic_has_no_partitions_and_is_not_created(settings: Settings, reader: TopicReader) -> None:
    assert [] == reader.partitions()
    assert {} == reader.committed(settings.app_id)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    assert settings.topic not in admin.list_topics(timeout=WITHIN).topics


def test_records_are_unchanged_and_in_offset_order(settings: Settings, reader: TopicReader) -> None:
    foreign.make_topic(settings, partitions=3)
    # Idempotent, since retries would change the order.
    producer = foreign.ForeignProducer(settings, **{"enable.idempotence": True})
    for number in range(5_000):
        producer.send(b"%d" % number, partition=1, timestamp=1_000 + number)
    producer.send(None, partition=1, key=b"k", headers=[("a", None), ("a", b"\xff")], timestamp=7)
    producer.flush()

    low, high = reader.bounds(1)
    records = [*reader.read(1, low, high)]

    assert [0, 1, 2] == reader.partitions()
    assert [*range(5_001)] == [record.offset for record in records]
    assert (settings.topic, 1, b"41", None, [], 1_041) == (
        records[41].topic,
        records[41].partition,
        records[41].value,
        records[41].key,
        records[41].headers,
        records[41].timestamp,
    )
    assert (None, b"k", [("a", None), ("a", b"\xff")], 7) == (
        records[-1].value,
        records[-1].key,
        records[-1].headers,
        records[-1].timestamp,
    )
    assert [3, 4, 5] == [record.offset for record in reader.read(1, 3, 6)]
    assert [] == [*reader.read(1, 6, 6)]
    assert [5_000] == [record.offset for record in reader.read(1, 5_000, 9_999)]
    assert [] == [*reader.read(1, 6_000, 9_999)]
    assert [] == [*reader.read(2, 0, 9)]


def test_only_committed_records_of_transactions_are_read(settings: Settings, reader: TopicReader) -> None:
    """Reading ends at the partition's end, also if that holds no record, and before an open transaction."""
    foreign.make_topic(settings, partitions=1)
    producer = transactional(settings)
    producer.produce(settings.topic, b"committed")
    producer.commit_transaction(WITHIN)  # the marker: offset 1
    producer.begin_transaction()
    producer.produce(settings.topic, b"aborted")
    producer.flush(WITHIN)
    producer.abort_transaction(WITHIN)  # the marker: offset 3
    assert [(0, b"committed")] == [(record.offset, record.value) for record in reader.read(0, *reader.bounds(0))]
    assert (0, 4) == reader.bounds(0)

    producer.begin_transaction()
    producer.produce(settings.topic, b"open")
    producer.flush(WITHIN)
    assert [0] == [record.offset for record in reader.read(0, 0, 5)]
    producer.abort_transaction(WITHIN)


def test_reading_begins_with_the_first_record_that_is_not_deleted(settings: Settings, reader: TopicReader) -> None:
    foreign.make_topic(settings, partitions=1)
    foreign.ForeignProducer(settings).send_all(b"%d" % number for number in range(10))
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for deleted in admin.delete_records([TopicPartition(settings.topic, 0, 4)]).values():
        deleted.result(WITHIN)

    assert (4, 10) == reader.bounds(0)
    assert [4, 5, 6, 7] == [record.offset for record in reader.read(0, 0, 8)]


def test_committed_offsets_are_returned_and_reading_commits_nothing(settings: Settings, reader: TopicReader) -> None:
    foreign.make_topic(settings, partitions=2)
    foreign.ForeignProducer(settings).send_all(b"%d" % number for number in range(20))
    assert {} == reader.committed(settings.app_id)
    groups.commit(settings.kafka_bootstrap_servers, group=settings.app_id, topic=settings.topic, offsets={1: 3})

    assert len([*reader.read(0, 0, 99), *reader.read(1, 0, 99)]) == 20
    assert {1: 3} == reader.committed(settings.app_id)
    assert {} == reader.committed("streamapp.reader")


def test_an_abandoned_read_does_not_affect_the_next(settings: Settings, reader: TopicReader) -> None:
    foreign.make_topic(settings, partitions=1)
    foreign.ForeignProducer(settings).send_all(b"%d" % number for number in range(10_000))

    first = reader.read(0, 0, 10_000)
    assert 0 == next(first).offset
    first.close()

    assert [*range(9_000, 10_000)] == [record.offset for record in reader.read(0, 9_000, 10_000)]


def test_the_error_names_address_and_setting_when_kafka_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised within the timeouts."""
    monkeypatch.setattr(topic_reader, "TIMEOUT", 1.0)
    monkeypatch.setattr(topic_reader, "READ_TIMEOUT", 1.0)
    servers = f"127.0.0.1:{net.choose_port()}"
    with TopicReader(KafkaConnection(servers=servers), "user_events") as reader:
        for call in (reader.partitions, lambda: reader.bounds(0), lambda: [*reader.read(0, 0, 1)]):
            with pytest.raises(BrokerUnavailable, match=rf"{servers} \(STREAMAPP_KAFKA_BOOTSTRAP_SERVERS\)"):
                call()


def test_nothing_is_known_of_a_topic_without_topic_id(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As brokers before Kafka 2.8 have them."""

    async def none(*_: object) -> None: ...

    foreign.make_topic(settings)
    monkeypatch.setattr(KafkaAdmin, "topic_id_of", none)

    assert {} == next_offsets(KafkaConnection.of(settings), settings.topic, settings.app_id)


def test_a_group_goes_on_at_its_committed_offset_or_at_the_first_that_is_left(settings: Settings) -> None:
    """A group without a committed offset begins with the first record, and one whose offsets are beyond the end."""
    connection = KafkaConnection.of(settings)
    assert {} == next_offsets(connection, settings.topic, settings.app_id)
    foreign.make_topic(settings, partitions=4)
    producer = foreign.ForeignProducer(settings)
    for partition in range(3):
        for _ in range(9):
            producer.send(b"", partition=partition)
    producer.flush()
    groups.commit(
        settings.kafka_bootstrap_servers, group=settings.app_id, topic=settings.topic, offsets={0: 7, 1: 2, 3: 4}
    )
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    cut = [TopicPartition(settings.topic, partition, 5) for partition in (0, 1, 2)]
    for deleted in admin.delete_records(cut).values():
        deleted.result(WITHIN)

    found = next_offsets(connection, settings.topic, settings.app_id)

    assert {0: 7, 1: 5, 2: 5, 3: 0} == {each.partition: offset for each, offset in found.items()}
    assert {asyncio.run(KafkaAdmin(connection).topic_id_of(settings.topic))} == {each.topic_id for each in found}
