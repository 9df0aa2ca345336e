"""Deliver dead letters: the record unchanged, with headers for its coordinates and the reason of the failure."""

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
from streamapp.kafka.admin import DEAD_LETTER_OVERHEAD, MAX_TOPIC_MESSAGE_BYTES
from streamapp.kafka.cli_hints import KafkaCli
from streamapp.model import replays
from streamapp.model.record import HEADER_PREFIX, DeadLetter

_MAX_ERROR_BYTES = 1024
#: Seconds until a dead letter without an acknowledgement counts as not delivered.
_DELIVERY_TIMEOUT = 10.0
_FLUSH_STEP = 0.2

#: Errors for this record and topic that a retry does not fix; the size limit is handled separately.
_PERMANENT_ERRORS = frozenset(
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


def headers_of(
    letter: DeadLetter, *, failed_at: datetime, signing_key: bytes | None = None
) -> list[tuple[str, bytes | None]]:
    """The record's own headers, then those of streamapp; they replace those of an earlier failure."""
    origin = letter.origin
    values = {
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
    ours = {name: text.encode() for name, text in values.items()}
    if signing_key is not None:
        ours["signature"] = replays.sign(signing_key, ours, letter.record.key, letter.record.value)
    stale = {HEADER_PREFIX + name for name in (*ours, "signature")}
    own = [(name, value) for name, value in letter.record.headers if name not in stale]
    return own + [(HEADER_PREFIX + name, value) for name, value in ours.items()]


class DeadLetterProducer:
    """Delivers dead letters; all in-sync replicas have acknowledged each of them before `send` returns.

    It uses confluent-kafka, because aiokafka refuses a record without key and value, which a dead letter may be.
    """

    _producer: Producer
    _max_message_bytes: int

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        topic: str,
        signing_key: bytes | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.topic = topic
        self._bootstrap_servers = bootstrap_servers
        self._cli = KafkaCli(servers=bootstrap_servers)
        self._now = now
        self._signing_key = signing_key
        # Its own threads, so that waiting calls elsewhere do not delay dead letters, nor dead letters other calls.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="dead-letters")
        self._closed = threading.Event()
        #: Dead letters that were delivered in a call that failed for others: a repeated call skips them.
        self._delivered = WeakSet[DeadLetter]()

    def open(self, *, max_message_bytes: int) -> None:
        """Create the producer; must be called first.

        Args:
            max_message_bytes: max.message.bytes of the dead-letter topic.
        """
        self._max_message_bytes = max_message_bytes
        self._producer = kafka_producer.producer(
            self._bootstrap_servers, max_message_bytes=max_message_bytes, timeout_seconds=_DELIVERY_TIMEOUT
        )

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Deliver all dead letters.

        Raises:
            BrokerUnavailable: some are not delivered; a repeated call sends these.
            DeadLetterTopicTooSmall: one exceeds the size limit of the topic.
            DeadLetterRefused: the configuration of the topic forbids one.
        """
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
        for letter in [*unsent]:
            self._produce(self._producer, letter, unsent)
        self._flush()
        for letter, error in unsent.items():
            if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise DeadLetterTopicTooSmall(self._too_small(letter))
            if error is not None and error.code() in _PERMANENT_ERRORS:
                raise DeadLetterRefused(self._refused(letter, error))
        if unsent:
            error = next(iter(unsent.values()))
            message = f"dead letters cannot be written to {self.topic}: {error.str() if error else 'no answer in time'}"
            raise BrokerUnavailable(message)

    def _flush(self) -> None:
        # In short steps: when Python exits it waits for this thread.
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
            headers=cast("Any", self._headers(letter)),
            on_delivery=on_delivery,
        )
        try:
            kafka_producer.enqueue(producer, produce, until=self._closed.is_set)
        except KafkaException as exc:
            unsent[letter] = exc.args[0]

    def _headers(self, letter: DeadLetter) -> list[tuple[str, bytes | None]]:
        return headers_of(letter, failed_at=self._now(), signing_key=self._signing_key)

    def _too_small(self, letter: DeadLetter) -> str:
        size = kafka_producer.record_size(letter.record, self._headers(letter))
        return (
            f"The dead letter of the record {_coordinates(letter)} has {size} bytes including headers. The topic"
            f" {self.topic} does not accept it, because its max.message.bytes is {self._max_message_bytes}. The offset"
            " of the record is not committed. Raise the limit and start the worker again:\n  "
            + self._cli.alter_config(
                self.topic, f"max.message.bytes={min(size + DEAD_LETTER_OVERHEAD, MAX_TOPIC_MESSAGE_BYTES)}"
            )
        )

    def _refused(self, letter: DeadLetter, error: KafkaError) -> str:
        remedy = "cleanup.policy=delete"
        if error.code() == KafkaError.INVALID_TIMESTAMP:
            remedy = f"message.timestamp.after.max.ms={2**63 - 1},message.timestamp.before.max.ms={2**63 - 1}"
        return (
            f"The topic {self.topic} refuses the dead letter of the record {_coordinates(letter)}, timestamp"
            f" {letter.record.timestamp}: {error.str()} ({error.name()}). A retry does not help. The offset of the"
            " record is not committed. Change the topic's configuration and start the worker again:\n"
            f"  {self._cli.alter_config(self.topic, remedy)}"
        )


def _coordinates(letter: DeadLetter) -> str:
    origin = letter.origin
    return f"at {origin.topic}, partition {origin.partition}, offset {origin.offset}"
