"""To the dead-letter topic: the record as it was, with headers that say where it stood and what was wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast
from weakref import WeakSet

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamapp.errors import BrokerUnavailable, DeadLetterRefused, DeadLetterTopicTooSmall
from streamapp.kafka import producer as kafka_producer
from streamapp.kafka.admin import DEAD_LETTER_OVERHEAD, MOST_MESSAGE_BYTES
from streamapp.kafka.cli_hints import Tools
from streamapp.model.record import HEADER_PREFIX, DeadLetter

_MAX_ERROR_BYTES = 1024
#: Seconds until a dead letter that nobody acknowledges counts as not delivered.
_DELIVERY_TIMEOUT = 10.0
_FLUSH_STEP = 0.2

#: Answers that stay the same for this record and this topic, however often it is sent; size is told apart.
_REFUSALS = frozenset(
    {
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_RECORD,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.POLICY_VIOLATION,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
        KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
    }
)


def headers_of(letter: DeadLetter, *, failed_at: datetime) -> list[tuple[str, bytes | None]]:
    """The record's own headers, then ours; those of an earlier failure are replaced."""
    origin = letter.origin
    ours = {
        "reason": letter.reason.value,
        "error": letter.error.encode("utf-8", "replace")[:_MAX_ERROR_BYTES].decode("utf-8", "ignore"),
        "topic": origin.topic,
        "partition": str(origin.partition),
        "offset": str(origin.offset),
        "timestamp": str(origin.timestamp),
        "schema_id": "" if letter.schema_id is None else str(letter.schema_id),
        "failed_at": failed_at.isoformat(),
        "attempt": str(origin.failures + 1),
        "incarnation": origin.topic_id or "",
    }
    added = {HEADER_PREFIX + name: text.encode() for name, text in ours.items()}
    own = [(name, value) for name, value in letter.record.headers if name not in added]
    return own + list(added.items())


class DeadLetterProducer:
    """Delivers dead letters; every one is acknowledged by all in-sync replicas before `send` returns.

    On confluent-kafka: aiokafka refuses a record that has neither key nor value, which a dead letter may well be.
    """

    _producer: Producer
    _max_message_bytes: int

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        topic: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.topic = topic
        self._bootstrap_servers = bootstrap_servers
        self._tools = Tools(servers=bootstrap_servers)
        self._now = now
        # Its own, so that nobody else's calls that wait hold up dead letters, nor they others.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="dead-letters")
        self._closed = threading.Event()
        #: Of those that somebody may send again, since others with them could not be delivered.
        self._delivered = WeakSet[DeadLetter]()

    def open(self, *, max_message_bytes: int) -> None:
        """Make ready for dead letters of up to `max_message_bytes`, which is what the topic takes; comes first."""
        self._max_message_bytes = max_message_bytes
        self._producer = kafka_producer.producer(
            self._bootstrap_servers, max_message_bytes=max_message_bytes, timeout_seconds=_DELIVERY_TIMEOUT
        )

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Deliver all of them.

        Raises:
            BrokerUnavailable: some may be delivered, some not; the same call may be repeated, and sends the rest.
            DeadLetterTopicTooSmall: the topic will never take one of them, because of its size.
            DeadLetterRefused: the topic will never take one of them, as it is set up.
        """
        try:
            sent = asyncio.get_running_loop().run_in_executor(self._threads, self._send, letters)
        except RuntimeError as exc:
            message = f"no dead letters for {self.topic} any more: the worker ends"
            raise BrokerUnavailable(message) from exc
        await sent

    def close(self) -> None:
        """Take no more dead letters; what is under way is not waited for."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _send(self, letters: Sequence[DeadLetter]) -> None:
        unsent: dict[DeadLetter, KafkaError | None] = {each: None for each in letters if each not in self._delivered}
        for letter in [*unsent]:
            self._produce(self._producer, letter, unsent)
        self._flush()
        for letter, error in unsent.items():
            if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise DeadLetterTopicTooSmall(self._too_small(letter))
            if error is not None and error.code() in _REFUSALS:
                raise DeadLetterRefused(self._refused(letter, error))
        if unsent:
            error = next(iter(unsent.values()))
            message = f"dead letters cannot be written to {self.topic}: {error.str() if error else 'no answer in time'}"
            raise BrokerUnavailable(message)

    def _flush(self) -> None:
        # A little at a time: at its end Python waits for this thread.
        give_up_at = time.monotonic() + _DELIVERY_TIMEOUT + 1
        while self._producer.flush(_FLUSH_STEP) and time.monotonic() < give_up_at and not self._closed.is_set():
            pass

    def _produce(self, producer: Producer, letter: DeadLetter, unsent: dict[DeadLetter, KafkaError | None]) -> None:
        def on_delivery(error: KafkaError | None, _: Message | None) -> None:
            if error is None:
                self._delivered.add(letter)
                del unsent[letter]
            else:
                unsent[letter] = error

        record = letter.record
        produce = partial(
            producer.produce,
            self.topic,
            key=record.key,
            value=record.value,
            timestamp=max(record.timestamp, 0),
            headers=cast("Any", headers_of(letter, failed_at=self._now())),
            on_delivery=on_delivery,
        )
        try:
            kafka_producer.hand_over(producer, produce, until=self._closed.is_set)
        except KafkaException as exc:
            unsent[letter] = exc.args[0]

    def _too_small(self, letter: DeadLetter) -> str:
        size = kafka_producer.size_of(letter.record, headers_of(letter, failed_at=self._now()))
        return (
            f"a dead letter of {size} bytes, headers included ({_place(letter)}) does not fit into {self.topic}, whose"
            f" max.message.bytes is {self._max_message_bytes}. Nothing of it is acked. Raise the limit and start the"
            " worker again:\n  "
            + self._tools.configs(
                self.topic, f"max.message.bytes={min(size + DEAD_LETTER_OVERHEAD, MOST_MESSAGE_BYTES)}"
            )
        )

    def _refused(self, letter: DeadLetter, error: KafkaError) -> str:
        remedy = "cleanup.policy=delete"
        if error.code() == KafkaError.INVALID_TIMESTAMP:
            remedy = f"message.timestamp.after.max.ms={2**63 - 1},message.timestamp.before.max.ms={2**63 - 1}"
        return (
            f"a dead letter ({_place(letter)}, timestamp {letter.record.timestamp}) is refused by {self.topic}, and"
            f" would always be: {error.str()} ({error.name()}). Nothing of it is acked. Let the topic take any"
            f" record, and start the worker again:\n  {self._tools.configs(self.topic, remedy)}"
        )


def _place(letter: DeadLetter) -> str:
    origin = letter.origin
    return f"from {origin.topic}, partition {origin.partition}, offset {origin.offset}"
