"""Send dead letters to their original topic, with key, value and headers unchanged, so that the event keeps its `_id`.

A replay keeps no record of its progress: the next replay finds the delivered records in the original topic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message

from streamapp.connections.kafka import KafkaConnection, cause_of
from streamapp.dlq.index import Letter
from streamapp.dlq.originals import OriginalLost
from streamapp.errors import BrokerUnavailable, StreamappError
from streamapp.kafka import producer as kafka_producer
from streamapp.kafka.admin import DEAD_LETTER_OVERHEAD, cli_of
from streamapp.kafka.broker_codes import Fault
from streamapp.kafka.faults import described, failure, fault_of, right_to_topic, unavailable
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.record import TopicRecord, UnreadableRecords

#: Bytes of memory of a record besides key and value: headers, with up to 1 KiB of error text, and Python objects.
_RECORD_OVERHEAD = 2048

#: The partitioner chooses by key: librdkafka's RD_KAFKA_PARTITION_UA.
_BY_KEY = -1

_POLL_SECONDS = 0.1

ReplayItem = tuple[Letter, TopicRecord]


@dataclass(slots=True)
class ReplayOutcome:
    """The result of a replay."""

    replayed: int = 0
    #: Replayed to another partition, because the topic no longer has the original one.
    moved: int = 0
    #: Dead letters that Kafka will never accept, with the reason.
    refused: list[tuple[Letter, str]] = field(default_factory=list[tuple[Letter, str]])
    #: The error, if Kafka became unreachable.
    unreachable: StreamappError | None = None
    interrupted: bool = False


class Replay:
    """One replay of dead letters.

    Args:
        connection: of Kafka.
        letters: reads the dead-letter topic.
        topic: the original topic.
        partitions: number of partitions of the original topic.
        max_message_bytes: max.message.bytes of the original topic.
        restore: returns a dead letter with its content; raises OriginalLost.
        timeout_seconds: a record without acknowledgement after this time counts as not delivered.
        fetched_bytes: records are fetched in batches of at most this size, or of one record; up to
            producer.QUEUE_BYTES of earlier batches may wait for delivery at the same time.
    """

    def __init__(  # noqa: PLR0913 - source, destination and limits
        self,
        *,
        connection: KafkaConnection,
        letters: TopicReader,
        topic: str,
        partitions: int,
        max_message_bytes: int,
        restore: Callable[[Letter, TopicRecord], TopicRecord] = lambda _, record: record,
        timeout_seconds: float = 30.0,
        fetched_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self._servers, self._cli = connection.servers, cli_of(connection)
        self._letters = letters
        self._topic = topic
        self._partitions = partitions
        self._max_message_bytes = max_message_bytes
        self._timeout_seconds = timeout_seconds
        self._fetched_bytes = fetched_bytes
        self._restore = restore
        #: Bytes of records that are sent and not acknowledged.
        self._waiting_bytes = 0
        self._outcome = ReplayOutcome()
        #: Why the last record that failed was not delivered.
        self._failure: KafkaError | None = None
        self._producer = kafka_producer.producer(
            connection, max_message_bytes=max_message_bytes, timeout_seconds=timeout_seconds, is_compressed=True
        )

    def run(
        self, letters: Sequence[Letter], *, paced: Callable[[Iterator[ReplayItem]], Iterable[ReplayItem]] = iter
    ) -> ReplayOutcome:
        """Send the dead letters in this order and wait for the acknowledgements; Ctrl-C ends the replay.

        `paced` limits the rate: it gets the iterator of items and yields each item when it is to be sent.
        """
        try:
            for letter, record in paced(self._fetch(letters)):
                self._produce(letter, record)
                if self._outcome.unreachable:
                    break
        except KeyboardInterrupt:
            self._outcome.interrupted = True
        except BrokerUnavailable as exc:  # while fetching dead letters
            self._outcome.unreachable = exc
        if self._producer.flush(self._timeout_seconds + 1) and not self._outcome.unreachable:
            self._outcome.unreachable = unavailable(self._servers, "no answer in time")
        if self._failure is not None:
            self._outcome.unreachable = self._unreachable(self._failure)
        return self._outcome

    def _fetch(self, letters: Sequence[Letter]) -> Iterator[ReplayItem]:
        for batch in batches_by_bytes(letters, self._fetched_bytes):
            records = self._read_records(batch)
            for letter in batch:
                # Removed from the batch: the next batch is fetched while this one is still referenced.
                if found := records.pop((letter.partition, letter.offset), None):
                    yield from self._restored(letter, found)
                else:
                    self._outcome.refused.append((letter, f"the topic {self._letters.topic} no longer has it"))

    def _restored(self, letter: Letter, record: TopicRecord) -> Iterator[ReplayItem]:
        try:
            yield letter, self._restore(letter, record)
        except OriginalLost as exc:
            self._outcome.refused.append((letter, str(exc)))

    def _read_records(self, letters: Sequence[Letter]) -> dict[tuple[int, int], TopicRecord]:
        wanted = {(letter.partition, letter.offset) for letter in letters}
        found: dict[tuple[int, int], TopicRecord] = {}
        for partition in sorted({letter.partition for letter in letters}):
            offsets = [letter.offset for letter in letters if letter.partition == partition]
            for record in self._letters.read(partition, min(offsets), max(offsets) + 1):
                if (partition, record.offset) in wanted and not isinstance(record, UnreadableRecords):
                    found[partition, record.offset] = record
        return found

    def _produce(self, letter: Letter, record: TopicRecord) -> None:
        # Computed here: a closure over the record would keep it in memory until it is delivered.
        size = kafka_producer.record_size(record, record.headers)

        self._waiting_bytes += size

        def on_delivery(error: KafkaError | None, _: Message | None) -> None:
            self._waiting_bytes -= size
            self._on_delivered(letter, size, error)

        # Without the original timestamp, which a header has: retention could delete a record that old at once.
        partition = letter.origin.partition
        produce = partial(
            self._producer.produce,
            self._topic,
            key=record.key,
            value=record.value,
            headers=cast("Any", list(record.headers)),
            on_delivery=on_delivery,
            partition=partition if partition < self._partitions else _BY_KEY,
        )
        try:
            kafka_producer.enqueue(self._producer, produce)
        except KafkaException as exc:
            self._waiting_bytes -= size
            self._on_delivered(letter, size, exc.args[0])
        self._producer.poll(0)
        while self._waiting_bytes > kafka_producer.QUEUE_BYTES and not self._outcome.unreachable:
            self._producer.poll(_POLL_SECONDS)

    def _on_delivered(self, letter: Letter, size: int, error: KafkaError | None) -> None:
        if error is None:
            self._outcome.replayed += 1
            self._outcome.moved += letter.origin.partition >= self._partitions
        elif fault_of(error) is Fault.RECORD:
            self._outcome.refused.append((letter, self._refusal(size, error)))
        else:
            self._failure = error
            self._outcome.unreachable = self._unreachable(error)

    def _unreachable(self, error: KafkaError) -> StreamappError:
        return failure(self._servers, cause_of(error, self._producer), right_to_topic("WRITE", self._topic))

    def _refusal(self, size: int, error: KafkaError) -> str:
        if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
            return f"the topic {self._topic} refuses the record: {described(error)} ({error.name()})"
        remedy = f"max.message.bytes={size + DEAD_LETTER_OVERHEAD}"
        return (
            f"the record has {size} bytes with its headers, also compressed too many: max.message.bytes of"
            f" {self._topic} is {self._max_message_bytes}. Raise max.message.bytes, then replay again:\n"
            f"  {self._cli.alter_config(self._topic, remedy)}"
        )


def batches_by_bytes(letters: Sequence[Letter], max_bytes: int) -> Iterator[Sequence[Letter]]:
    """Split dead letters into batches of at most `max_bytes` of memory, or of one dead letter."""
    batch: list[Letter] = []
    size = 0
    for letter in letters:
        if batch and size + letter.size + _RECORD_OVERHEAD > max_bytes:
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += letter.size + _RECORD_OVERHEAD
    if batch:
        yield batch
