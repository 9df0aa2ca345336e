"""What consumer groups have committed, and commits for them, by a consumer that joins none.

AdminClient.list_consumer_group_offsets would take the whole process down, with a segmentation fault, when a broker
that has just started answers that it is not the group's coordinator: https://github.com/confluentinc/librdkafka/issues/5040
"""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.support.until import until

# What a broker says for some seconds after its start.
_NO_COORDINATOR_YET = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
}


def committed(servers: str, *, group: str, topic: str, partitions: int) -> list[int]:
    """Return the committed offset of each partition, -1001 for none; raises KafkaException where nobody answers."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "log_level": 0})
    try:
        tps = [TopicPartition(topic, partition) for partition in range(partitions)]
        return until(lambda: _committed(consumer, tps), what="the group's coordinator")
    finally:
        consumer.close()


def _committed(consumer: Consumer, tps: list[TopicPartition]) -> list[int] | None:
    try:
        return [tp.offset for tp in consumer.committed(tps, timeout=60)]
    except KafkaException as exc:
        if exc.args[0].code() not in _NO_COORDINATOR_YET:
            raise
        return None


def commit(servers: str, *, group: str, topic: str, offsets: dict[int, int]) -> None:
    """Commit as a group that nobody is in."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "log_level": 0})
    try:
        tps = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        consumer.commit(offsets=tps, asynchronous=False)
    finally:
        consumer.close()
