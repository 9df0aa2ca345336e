"""Read a topic without joining a group, committing offsets or creating the topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import methodcaller
from typing import Any, Self, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import StreamappError
from streamapp.kafka.access import ClientErrors, access_refused, hidden_topic
from streamapp.kafka.admin import TIMEOUT, silent_logger
from streamapp.kafka.broker_codes import NO_COORDINATOR_YET, Fault
from streamapp.kafka.faults import MISSING_CODES, failure, fault_of, right_to_group, right_to_topic, unavailable
from streamapp.model.record import UNKNOWN_TIMESTAMP, TopicRecord, UnreadableRecords

T = TypeVar("T")

#: Seconds without a response for the partition until Kafka counts as unreachable.
READ_TIMEOUT = 30.0
#: Seconds of one poll; Ctrl-C takes effect between polls.
_POLL_SECONDS = 0.5
_MAX_POLL_RECORDS = 2_000
#: The partition does not have the offset that librdkafka asked for.
_NO_SUCH_OFFSET = (KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION)  # noqa: SLF001 - the documented names
# For a name that is not UTF-8, confluent-kafka returns a result and sets an exception, too. Python reports that at some
# later call, unless the call is made by a C function, which checks the result.
_headers_of = methodcaller("headers")
#: Seconds of one request for committed offsets, and the errors after which it is repeated.
_COMMITTED_SECONDS = 3.0
_NO_OFFSETS_YET = NO_COORDINATOR_YET | {KafkaError._TIMED_OUT}  # noqa: SLF001 - the documented name
#: KiB that are fetched ahead; librdkafka's default is 64 MiB.
_PREFETCH_KIB = 8_192


class TopicReader:
    """Reads the records of one topic, without those of open and aborted transactions.

    All methods raise BrokerUnavailable when Kafka does not answer in time, BrokerAccessRefused when it refuses access,
    and SettingsError when a setting cannot be right.

    Args:
        connection: how to reach Kafka.
        topic: the topic.
        group: librdkafka requires a group id, and asks for the group's coordinator. The reader never joins the group;
            only `committed` needs a right to it.
    """

    def __init__(self, connection: KafkaConnection, topic: str, *, group: str = "streamapp") -> None:
        self.topic = topic
        self._connection, self._servers = connection, connection.servers
        self._errors = ClientErrors(connection)
        self._consumer = self._new_consumer(group)
        # After a batch with a wrong checksum, until the next assignment has an answer, librdkafka fetches from an
        # undefined offset: the variable that it takes it from is not set.
        self._is_fetch_undefined = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def partitions(self) -> Sequence[int]:
        """The topic's partitions; none if the topic does not exist."""
        found = self._call(self._list_topic).topics[self.topic]
        code = None if found.error is None else found.error.code()
        if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise access_refused(self._servers, *hidden_topic(self.topic))
        if found.error is not None and code != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise failure(self._servers, found.error)
        return sorted(found.partitions)

    def _list_topic(self) -> Any:
        return self._errors.call(
            lambda seconds: self._consumer.list_topics(self.topic, timeout=seconds), self._consumer, timeout=TIMEOUT
        )

    def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset that Kafka still has, and the end: the offset of the next record."""
        tp = TopicPartition(self.topic, partition)
        low, high = self._call(lambda: self._consumer.get_watermark_offsets(tp, timeout=TIMEOUT))
        return low, high

    def committed(self, group: str) -> Mapping[int, int]:
        """The committed offset of a group for each partition that has one."""
        # AdminClient.list_consumer_group_offsets ends the process with a segmentation fault if a broker that has just
        # started is not the coordinator: github.com/confluentinc/librdkafka/issues/5040
        consumer = self._new_consumer(group)
        try:
            tps = [TopicPartition(self.topic, partition) for partition in self.partitions()]
            right = right_to_group("DESCRIBE", group)
            found = self._call(lambda: _committed(consumer, tps), right=right) if tps else []
        finally:
            consumer.close()
        if error := next((each.error for each in found if each.error), None):
            raise failure(self._servers, error, right_to_group("DESCRIBE", group))
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def read(self, partition: int, start: int, end: int) -> Iterator[TopicRecord]:
        """The records from offset `start` to before `end` or the partition's end, in offset order.

        Offsets may have gaps. If records from `start` on are deleted, reading begins with the first that is left. In
        place of a batch that cannot be read comes one UnreadableRecords.
        """
        begin: int | None = start
        try:
            while begin is not None and begin < end:
                begin = yield from self._read_until_unreadable(partition, begin, end)
        finally:
            self._end_fetch(partition)
            self._consumer.unassign()

    def _end_fetch(self, partition: int) -> None:
        """Wait until librdkafka no longer fetches from an undefined offset: `close` would never return."""
        if self._is_fetch_undefined:
            with suppress(StreamappError):
                next(self._records_from(partition, self.bounds(partition)[1]), None)

    def _read_until_unreadable(self, partition: int, start: int, end: int) -> Generator[TopicRecord, None, int | None]:
        """Yield records; return the offset after a batch that cannot be read, None at the end."""
        for record in self._records_from(partition, start):
            if record.offset >= end:
                return None
            if isinstance(record, UnreadableRecords):
                record.end = self._end_of_unreadable(record, end)
                yield record
                return record.end
            yield record
            if record.offset == end - 1:
                return None
        return None

    def _end_of_unreadable(self, first: UnreadableRecords, end: int) -> int:
        """The first offset behind a batch that cannot be read: every offset in the batch returns the same batch."""
        within, step, behind = first.offset, 1, end
        while within + step < behind:
            if self._is_in_batch(first, within + step):
                within += step
                step *= 2
            else:
                behind = within + step
        while behind - within > 1:
            middle = (within + behind) // 2
            if self._is_in_batch(first, middle):
                within = middle
            else:
                behind = middle
        return behind

    def _is_in_batch(self, first: UnreadableRecords, offset: int) -> bool:
        found = next(self._records_from(first.partition, offset), None)
        return isinstance(found, UnreadableRecords) and found.begin == first.begin

    def _records_from(self, partition: int, start: int) -> Iterator[TopicRecord]:
        position = start
        self._assign(partition, position)
        answered_at = time.monotonic()
        reason = "it sends nothing"
        while time.monotonic() < answered_at + READ_TIMEOUT:
            for message in self._call(self._poll):
                if (error := message.error()) is None:
                    self._is_fetch_undefined = False
                    record = _record(message)
                    position = record.offset + 1
                    yield record
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the documented name
                    self._is_fetch_undefined = False
                    return
                elif error.code() in _NO_SUCH_OFFSET:
                    low, high = self.bounds(partition)
                    if position > high:
                        return
                    position = max(position, low)
                    self._assign(partition, position)
                    break
                elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    continue  # librdkafka asks for the coordinator of the group, which reading does not need
                elif fault_of(error) is Fault.RECORD:
                    self._is_fetch_undefined = True
                    yield _unreadable(self.topic, partition, position, message)
                elif fault_of(error) is Fault.WAIT and error.code() not in MISSING_CODES:
                    reason = error.str()
                    continue
                else:
                    raise self._errors.failure(error, right_to_topic("READ", self.topic))
                answered_at = time.monotonic()
        raise unavailable(
            self._servers, f"no record of {self.topic} arrived within {READ_TIMEOUT:g} s, because {reason}"
        )

    def _assign(self, partition: int, offset: int) -> None:
        self._call(lambda: self._consumer.assign([TopicPartition(self.topic, partition, offset)]))

    def _poll(self) -> Sequence[Message]:
        # First one record: `consume` waits for the full number, even if the partition has no more.
        first = self._consumer.poll(_POLL_SECONDS)
        return [] if first is None else [first, *self._consumer.consume(_MAX_POLL_RECORDS, timeout=0)]

    def _new_consumer(self, group: str) -> Consumer:
        config = {
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            # With "earliest", librdkafka would return the partition from its beginning after an undefined offset, even
            # to a later assignment.
            "auto.offset.reset": "error",
            # The end of a partition is reported after this time.
            "fetch.wait.max.ms": 100,
            "queued.max.messages.kbytes": _PREFETCH_KIB,
            # As the worker: the values of a batch with a wrong checksum cannot be trusted.
            "check.crcs": True,
            # An error of one batch; librdkafka's default is 500.
            "fetch.error.backoff.ms": 20,
            "reconnect.backoff.max.ms": 1000,
            "log_level": 0,
        }
        return self._connection.consumer({**config, "error_cb": self._errors.note}, logger=silent_logger)

    def _call(self, call: Callable[[], T], *, right: str | None = None) -> T:
        try:
            return call()
        except KafkaException as exc:
            if fault_of(exc.args[0]) is Fault.DEFECT:
                raise
            self._consumer.poll(0)  # calls `note` for what was reported meanwhile
            raise self._errors.failure(exc.args[0], right) from exc


def _committed(consumer: Consumer, tps: list[TopicPartition]) -> Sequence[TopicPartition]:
    give_up_at = time.monotonic() + TIMEOUT
    while True:
        try:
            return consumer.committed(tps, timeout=_COMMITTED_SECONDS)
        except KafkaException as exc:
            # librdkafka waits for a coordinator that it may not ask for, and reports the missing right here.
            reported = consumer.poll(_POLL_SECONDS)
            if reported and (error := reported.error()) and fault_of(error) is Fault.ACCESS:
                raise KafkaException(error) from exc
            if exc.args[0].code() not in _NO_OFFSETS_YET or time.monotonic() > give_up_at:
                raise


def _unreadable(topic: str, partition: int, start: int, message: Message) -> UnreadableRecords:
    found: Any = message
    begin = max(found.offset() or 0, 0)
    record = UnreadableRecords(topic, partition, max(begin, start), UNKNOWN_TIMESTAMP, None, None, ())
    record.begin, record.why = begin, found.error().str()
    return record


def _record(message: Message) -> TopicRecord:
    found: Any = message
    _, timestamp = found.timestamp()
    try:
        headers = _headers_of(found) or []
    except (UnicodeDecodeError, SystemError):
        # A name that is not UTF-8, which Kafka does not check: confluent-kafka returns no header of such a record. The
        # worker ignores streamapp's headers beside such a name, too.
        headers = []
    return TopicRecord(found.topic(), found.partition(), found.offset(), timestamp, found.key(), found.value(), headers)
