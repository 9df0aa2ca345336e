"""Deliver dead letters; `dead_letter_contents` says what is delivered."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast
from weakref import WeakSet

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamapp.connections.kafka import KafkaConnection, cause_of
from streamapp.errors import BrokerAccessRefused, BrokerUnavailable, DeadLetterRefused
from streamapp.kafka import producer as kafka_producer
from streamapp.kafka.admin import DEAD_LETTER_OVERHEAD, MAX_TOPIC_MESSAGE_BYTES, cli_of
from streamapp.kafka.broker_codes import Fault
from streamapp.kafka.dead_letter_contents import Form, contents_of, headers_of
from streamapp.kafka.faults import MISSING_CODES, ends_client, failure, fault_of, remedy, right_to_topic
from streamapp.model.record import DeadLetter

log = logging.getLogger(__name__)

#: Seconds until a dead letter without an acknowledgement counts as not delivered.
_DELIVERY_TIMEOUT = 10.0
_FLUSH_STEP = 0.2

#: Error of a dead letter that no retry mends → configuration of the topic.
_TOPIC_CONFIGS = {
    # A compacted topic accepts no record without key.
    KafkaError.INVALID_RECORD: "cleanup.policy=delete",
    KafkaError.INVALID_TIMESTAMP: (
        f"message.timestamp.after.max.ms={2**63 - 1},message.timestamp.before.max.ms={2**63 - 1}"
    ),
    # A batch must fit into a segment, whose default size this is.
    KafkaError.RECORD_LIST_TOO_LARGE: f"segment.bytes={2**30}",
    # Headers exist since Kafka 0.11.
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: "message.format.version=0.11.0",
}
#: What else can be the cause of the same error.
_OTHER_CAUSES = {
    KafkaError.INVALID_RECORD: (
        "\nIf the topic is not compacted, the broker validates schemas for it, and dead letters have none:"
        " set confluent.value.schema.validation=false in the same way."
    ),
}


class DeadLetterProducer:
    """Delivers dead letters; all in-sync replicas have acknowledged each of them before `send` returns.

    It uses confluent-kafka, because aiokafka refuses a record without key and value, which a dead letter may be.
    """

    _producer: Producer
    _max_message_bytes: int

    def __init__(
        self,
        *,
        connection: KafkaConnection,
        topic: str,
        signing_key: bytes | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.topic = topic
        self._connection = connection
        self._cli = cli_of(connection)
        self._now = now
        self._signing_key = signing_key
        # Its own threads, so that waiting calls elsewhere do not delay dead letters, nor dead letters other calls.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="dead-letters")
        self._closed = threading.Event()
        #: Dead letters that were delivered in a call that failed for others: a repeated call skips them.
        self._delivered = WeakSet[DeadLetter]()

    def open(self, *, max_message_bytes: int, create_topic: Callable[[], Awaitable[int]] | None = None) -> None:
        """Create the producer; must be called first.

        Args:
            max_message_bytes: max.message.bytes of the dead-letter topic.
            create_topic: creates the topic if it is missing, and returns its max.message.bytes.
        """
        self._create_topic = create_topic
        self._max_message_bytes = max_message_bytes
        self._open()

    def _open(self) -> None:
        self._producer = kafka_producer.producer(
            self._connection,
            max_message_bytes=self._max_message_bytes,
            timeout_seconds=_DELIVERY_TIMEOUT,
            is_compressed=True,
        )

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Deliver all dead letters; one that is too large for the topic is delivered without its value.

        Raises:
            BrokerUnavailable: some are not delivered; a repeated call sends these.
            DeadLetterRefused: the configuration of the topic forbids one.
        """
        try:
            await self._send_in_thread(letters)
        except _TopicMissing as exc:
            if self._create_topic is None:
                raise
            log.warning(
                "The dead-letter topic %s does not exist any more: it is created again. Its dead letters are lost.",
                self.topic,
            )
            limit = await self._create_topic()
            self.open(max_message_bytes=limit, create_topic=self._create_topic)
            # The next call delivers the letters.
            raise BrokerUnavailable(f"the topic {self.topic} was missing, and was created again") from exc

    async def _send_in_thread(self, letters: Sequence[DeadLetter]) -> None:
        try:
            sent = asyncio.get_running_loop().run_in_executor(self._threads, self._send, letters)
        except RuntimeError as exc:
            message = f"dead letters cannot be written to {self.topic}: the worker is stopping"
            raise BrokerUnavailable(message) from exc
        await sent

    def close(self) -> None:
        """Accept no more dead letters; do not wait for those that are being sent."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _send(self, letters: Sequence[DeadLetter]) -> None:
        unsent: dict[DeadLetter, KafkaError | None] = {each: None for each in letters if each not in self._delivered}
        waiting = 0
        for letter in [*unsent]:
            waiting += kafka_producer.record_size(letter.record, letter.record.headers)
            self._produce(self._producer, letter, unsent)
            if waiting > kafka_producer.QUEUE_BYTES:
                self._flush()
                waiting = 0
        self._flush()
        for letter in [letter for letter, error in unsent.items() if _is_too_large(error)]:
            self._send_smaller(letter, unsent)
        for letter, error in [*unsent.items()]:  # another thread can run the callbacks of this one's records
            if _is_too_large(error):
                raise BrokerUnavailable(self._too_small(letter))
            if error is not None and fault_of(error) in {Fault.RECORD, Fault.SETTING}:
                raise DeadLetterRefused(self._refused(letter, error))
        if unsent:
            raise self._failure([*unsent.values()])

    def _failure(self, errors: Sequence[KafkaError | None]) -> Exception:
        """The exception for dead letters that are not delivered, and may be later."""
        known = [cause_of(error, self._producer) for error in errors if error is not None]
        if any(error.code() in MISSING_CODES for error in known):
            return _TopicMissing(f"the topic {self.topic} does not exist")
        if any(map(ends_client, known)):
            self._open()
        refusal = next((error for error in known if fault_of(error) is Fault.ACCESS), None)
        if refusal is not None:
            why = failure(self._connection.servers, refusal, right_to_topic("WRITE", self.topic))
            return BrokerAccessRefused(f"dead letters cannot be written to {self.topic}: {why}")
        reason = known[0].str() if known else "no answer in time"
        return BrokerUnavailable(f"dead letters cannot be written to {self.topic}: {reason}")

    def _send_smaller(self, letter: DeadLetter, unsent: dict[DeadLetter, KafkaError | None]) -> None:
        for form in (Form.ALONE, Form.WITHOUT_VALUE, Form.WITHOUT_CONTENT):
            unsent[letter] = None
            self._produce(self._producer, letter, unsent, form)
            self._flush()
            if letter not in unsent and form >= Form.WITHOUT_VALUE:
                log.warning("%s", self._omission(letter))
            if not _is_too_large(unsent.get(letter)):
                return

    def _flush(self) -> None:
        # In short steps: when Python exits it waits for this thread.
        give_up_at = time.monotonic() + _DELIVERY_TIMEOUT + 1
        while self._producer.flush(_FLUSH_STEP) and time.monotonic() < give_up_at and not self._closed.is_set():
            pass

    def _produce(
        self,
        producer: Producer,
        letter: DeadLetter,
        unsent: dict[DeadLetter, KafkaError | None],
        form: Form = Form.WHOLE,
    ) -> None:
        def on_delivery(error: KafkaError | None, _: Message | None) -> None:
            if error is None:
                self._delivered.add(letter)
                del unsent[letter]
            else:
                unsent[letter] = error

        contents = contents_of(letter, form, self._headers(letter))
        produce = partial(
            producer.produce,
            self.topic,
            key=contents.key,
            value=contents.value,
            timestamp=max(letter.record.timestamp, 0),
            headers=cast("Any", contents.headers),
            on_delivery=on_delivery,
        )
        try:
            kafka_producer.enqueue(producer, produce, until=self._closed.is_set)
        except KafkaException as exc:
            unsent[letter] = exc.args[0]

    def _headers(self, letter: DeadLetter) -> list[tuple[str, bytes | None]]:
        return headers_of(letter, failed_at=self._now(), signing_key=self._signing_key)

    def _omission(self, letter: DeadLetter) -> str:
        return (
            f"The record {_coordinates(letter)} has {self._size(letter)} bytes with its headers, also compressed more"
            f" than max.message.bytes of {self.topic}, which is {self._max_message_bytes}. Its dead letter was written"
            " without the value, and has its size and SHA-256. `streamapp dlq replay` reads the value from the original"
            f" topic as long as Kafka keeps it. To keep the values of further ones: {self._raise_limit(letter)}"
        )

    def _too_small(self, letter: DeadLetter) -> str:
        return (
            f"the topic {self.topic} refuses the dead letter of the record {_coordinates(letter)}, even without key and"
            f" value, because its max.message.bytes is {self._max_message_bytes}. Raise it: {self._raise_limit(letter)}"
        )

    def _size(self, letter: DeadLetter) -> int:
        return kafka_producer.record_size(letter.record, self._headers(letter))

    def _raise_limit(self, letter: DeadLetter) -> str:
        limit = min(self._size(letter) + DEAD_LETTER_OVERHEAD, MAX_TOPIC_MESSAGE_BYTES)
        return self._cli.alter_config(self.topic, f"max.message.bytes={limit}")

    def _refused(self, letter: DeadLetter, error: KafkaError) -> str:
        return (
            f"The topic {self.topic} refuses the dead letter of the record {_coordinates(letter)}, timestamp"
            f" {letter.record.timestamp}: {error.str()} ({error.name()}). A retry does not help. The offset of the"
            f" record is not committed. {self._remedy(error)}"
        )

    def _remedy(self, error: KafkaError) -> str:
        if config := _TOPIC_CONFIGS.get(error.code()):
            command = self._cli.alter_config(self.topic, config)
            other = _OTHER_CAUSES.get(error.code(), "")
            return f"Change the topic's configuration and start the worker again:\n  {command}{other}"
        first = remedy(error) or "The log of the broker says why"
        return f"{first}, and start the worker again."


class _TopicMissing(BrokerUnavailable):
    """The dead-letter topic does not exist."""


def _is_too_large(error: KafkaError | None) -> bool:
    return error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE


def _coordinates(letter: DeadLetter) -> str:
    origin = letter.origin
    return f"at {origin.topic}, partition {origin.partition}, offset {origin.offset}"
