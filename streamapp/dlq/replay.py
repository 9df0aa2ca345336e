"""Dead letters back into their original topic: key, bytes and headers as they are, so that the event keeps its `_id`.

Nothing is kept of how far a replay came: what was delivered lies in the topic, and the next replay finds it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message

from streamapp.dlq.index import Letter
from streamapp.errors import BrokerUnavailable
from streamapp.kafka import producer as kafka_producer
from streamapp.kafka.admin import DEAD_LETTER_OVERHEAD, unavailable
from streamapp.kafka.cli_hints import KafkaCli
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.record import TopicRecord

#: Bytes that a record takes beside key and value: our headers, whose error text may have 1 KiB, and Python's objects.
_OVERHEAD = 2048

#: Answers that concern this record alone, and stay the same however often it is sent.
_REFUSALS = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_MSG_SIZE})

#: By the key; librdkafka's RD_KAFKA_PARTITION_UA.
_ANY = -1

ReplayItem = tuple[Letter, TopicRecord]


@dataclass(slots=True)
class ReplayOutcome:
    """How far a replay came."""

    replayed: int = 0
    #: Of them, to another partition, since the original one is no more.
    moved: int = 0
    #: Will never be taken, with the reason why.
    refused: list[tuple[Letter, str]] = field(default_factory=list[tuple[Letter, str]])
    #: What keeps Kafka from giving or taking anything, if something does.
    away: str | None = None
    interrupted: bool = False


class Replay:
    """One replay into a topic that has so many partitions and this max.message.bytes.

    Args:
        timeout_seconds: until a record that nobody acknowledges counts as not delivered.
        fetched_bytes: of records, or one record, that are fetched together; others, of up to delivery.QUEUE_BYTES,
            wait meanwhile to be delivered.
    """

    def __init__(  # noqa: PLR0913 - its ends, and its limits
        self,
        *,
        bootstrap_servers: str,
        letters: TopicReader,
        topic: str,
        partitions: int,
        max_message_bytes: int,
        timeout_seconds: float = 30.0,
        fetched_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self._servers = bootstrap_servers
        self._letters = letters
        self._topic = topic
        self._partitions = partitions
        self._max_message_bytes = max_message_bytes
        self._timeout_seconds = timeout_seconds
        self._fetched_bytes = fetched_bytes
        self._outcome = ReplayOutcome()
        self._producer = kafka_producer.producer(
            bootstrap_servers, max_message_bytes=max_message_bytes, timeout_seconds=timeout_seconds
        )

    def run(
        self, letters: Sequence[Letter], *, paced: Callable[[Iterator[ReplayItem]], Iterable[ReplayItem]] = iter
    ) -> ReplayOutcome:
        """Deliver them in this order and return when all are acknowledged; `paced` passes them on. Ctrl-C ends it."""
        try:
            for letter, record in paced(self._fetched(letters)):
                self._produce(letter, record)
                if self._outcome.away:
                    break
        except KeyboardInterrupt:
            self._outcome.interrupted = True
        except BrokerUnavailable as exc:  # of the dead letters not fetched yet
            self._outcome.away = str(exc)
        if self._producer.flush(self._timeout_seconds + 1) and not self._outcome.away:
            self._outcome.away = str(unavailable(self._servers, "no answer in time"))
        return self._outcome

    def _fetched(self, letters: Sequence[Letter]) -> Iterator[ReplayItem]:
        for together in in_bytes(letters, self._fetched_bytes):
            records = self._records(together)
            for letter in together:
                # Not kept, since the next ones are fetched before these would be forgotten.
                if found := records.pop((letter.partition, letter.offset), None):
                    yield letter, found
                else:
                    self._outcome.refused.append((letter, f"it is no longer in {self._letters.topic}"))

    def _records(self, letters: Sequence[Letter]) -> dict[tuple[int, int], TopicRecord]:
        wanted = {(letter.partition, letter.offset) for letter in letters}
        found: dict[tuple[int, int], TopicRecord] = {}
        for partition in sorted({letter.partition for letter in letters}):
            offsets = [letter.offset for letter in letters if letter.partition == partition]
            for record in self._letters.read(partition, min(offsets), max(offsets) + 1):
                if (partition, record.offset) in wanted:
                    found[partition, record.offset] = record
        return found

    def _produce(self, letter: Letter, record: TopicRecord) -> None:
        # Not the record, which would be kept until it is delivered.
        size = kafka_producer.record_size(record, record.headers)

        def on_delivery(error: KafkaError | None, _: Message | None) -> None:
            self._note(letter, size, error)

        # The time is that of the replay: by the original one, which stays in the headers, retention may delete it.
        partition = letter.origin.partition
        produce = partial(
            self._producer.produce,
            self._topic,
            key=record.key,
            value=record.value,
            headers=cast("Any", list(record.headers)),
            on_delivery=on_delivery,
            partition=partition if partition < self._partitions else _ANY,
        )
        try:
            kafka_producer.enqueue(self._producer, produce)
        except KafkaException as exc:
            self._note(letter, size, exc.args[0])
        self._producer.poll(0)

    def _note(self, letter: Letter, size: int, error: KafkaError | None) -> None:
        if error is None:
            self._outcome.replayed += 1
            self._outcome.moved += letter.origin.partition >= self._partitions
        elif error.code() in _REFUSALS:
            self._outcome.refused.append((letter, self._why(size, error)))
        else:
            self._outcome.away = str(unavailable(self._servers, error.str()))

    def _why(self, size: int, error: KafkaError) -> str:
        if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
            return f"{self._topic} refuses it: {error.str()} ({error.name()})"
        remedy = f"max.message.bytes={size + DEAD_LETTER_OVERHEAD}"
        return (
            f"with its headers it has {size} bytes, and max.message.bytes of {self._topic} is"
            f" {self._max_message_bytes}. Raise it and replay again:\n"
            f"  {KafkaCli(servers=self._servers).alter_config(self._topic, remedy)}"
        )


def in_bytes(letters: Sequence[Letter], most: int) -> Iterator[Sequence[Letter]]:
    """The letters in groups of at most so many bytes of memory, or of one letter."""
    together: list[Letter] = []
    size = 0
    for letter in letters:
        if together and size + letter.size + _OVERHEAD > most:
            yield together
            together, size = [], 0
        together.append(letter)
        size += letter.size + _OVERHEAD
    if together:
        yield together
