"""Reads a topic from outside: joins no group, commits nothing, makes no topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamapp.kafka.admin import TIMEOUT, away, silent
from streamapp.model.record import TopicRecord

T = TypeVar("T")

#: Seconds without a word from the partition after which Kafka counts as away.
PATIENCE = 30.0
#: Seconds until a question for records is asked again, which is when Ctrl-C is heard.
_WAIT = 0.5
_AT_ONCE = 2_000
#: A consumer must have one, though nobody joins it.
_NO_GROUP = "streamapp.reader"
#: Fetched ahead, in KiB; librdkafka's own default is 64 MiB.
_AHEAD_KIB = 8_192
#: What librdkafka goes on after by itself.
_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})  # noqa: SLF001 - so named

#: What a broker that has just started says of a group, for some seconds.
_NO_COORDINATOR_YET = frozenset(
    {
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
    }
)


class TopicReader:
    """One topic's records, of transactions only what was committed; raises BrokerUnavailable, after a while."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self.topic = topic
        self._servers = bootstrap_servers
        self._consumer = self._member(_NO_GROUP)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connections."""
        self._consumer.close()

    def partitions(self) -> Sequence[int]:
        """The topic's partitions; none if there is no such topic."""
        told = self._told(lambda: self._consumer.list_topics(self.topic, timeout=TIMEOUT)).topics[self.topic]
        if told.error is not None and told.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise away(self._servers, told.error.str())
        return sorted(told.partitions)

    def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset that is still there, and the end: the offset of the next record."""
        at = TopicPartition(self.topic, partition)
        low, high = self._told(lambda: self._consumer.get_watermark_offsets(at, timeout=TIMEOUT))
        return low, high

    def committed(self, group: str) -> Mapping[int, int]:
        """The offset up to which a group has committed, of each partition that it has committed any of."""
        # Not by AdminClient.list_consumer_group_offsets, which takes the whole process down, with a segmentation fault,
        # where a broker that has just started is not the coordinator: github.com/confluentinc/librdkafka/issues/5040
        consumer = self._member(group)
        try:
            wanted = [TopicPartition(self.topic, partition) for partition in self.partitions()]
            found = self._told(lambda: _committed(consumer, wanted)) if wanted else []
        finally:
            consumer.close()
        if error := next((each.error for each in found if each.error), None):
            raise away(self._servers, error.str())
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def read(self, partition: int, start: int, end: int) -> Iterator[TopicRecord]:
        """The records from offset `start` until before `end`, or until the partition's end, in offset order.

        There may be gaps. Where records from `start` on are deleted, it begins with those that are left.
        """
        if start >= end:
            return
        self._told(lambda: self._consumer.assign([TopicPartition(self.topic, partition, start)]))
        try:
            for record in self._from(start):
                if record.offset >= end:
                    return
                yield record
                if record.offset == end - 1:
                    return
        finally:
            self._consumer.unassign()

    def _from(self, start: int) -> Iterator[TopicRecord]:
        heard_at = time.monotonic()
        while time.monotonic() < heard_at + PATIENCE:
            for message in self._told(self._some):
                if (error := message.error()) is None:
                    # Earlier ones come where the topic ends before `start`.
                    if (record := _record(message)).offset >= start:
                        yield record
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - so named
                    return
                elif error.code() in _PASSING:
                    continue
                else:
                    raise away(self._servers, error.str())
                heard_at = time.monotonic()
        raise away(self._servers, f"no record of {self.topic} came within {PATIENCE:g} s")

    def _some(self) -> Sequence[Message]:
        # Not all at once: `consume` would wait for as many as were asked for, also where the partition has no more.
        first = self._consumer.poll(_WAIT)
        return [] if first is None else [first, *self._consumer.consume(_AT_ONCE, timeout=0)]

    def _member(self, group: str) -> Consumer:
        config = {
            "bootstrap.servers": self._servers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            # Which is how long a partition's end takes to be told.
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": _AHEAD_KIB,
            "reconnect.backoff.max.ms": 1000,
            "log_level": 0,
        }
        return Consumer(config, logger=silent)

    def _told(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except KafkaException as exc:
            raise away(self._servers, exc.args[0].str()) from exc


def _committed(consumer: Consumer, wanted: list[TopicPartition]) -> Sequence[TopicPartition]:
    give_up_at = time.monotonic() + TIMEOUT
    while True:
        try:
            return consumer.committed(wanted, timeout=TIMEOUT)
        except KafkaException as exc:
            if exc.args[0].code() not in _NO_COORDINATOR_YET or time.monotonic() > give_up_at:
                raise
            time.sleep(_WAIT)


def _record(message: Message) -> TopicRecord:
    told: Any = message
    _, timestamp = told.timestamp()
    headers = told.headers() or []
    return TopicRecord(told.topic(), told.partition(), told.offset(), timestamp, told.key(), told.value(), headers)
