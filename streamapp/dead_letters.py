"""To the dead-letter topic: the record as it was, with headers that say where it stood and what was wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamapp.broker import silent
from streamapp.errors import BrokerUnavailable, DeadLetterTopicTooSmall
from streamapp.record import OURS, DeadLetter

_MAX_ERROR_BYTES = 1024
#: Seconds until a dead letter that nobody acknowledges counts as not delivered.
_DELIVERY_TIMEOUT = 10.0


def headers_of(letter: DeadLetter, *, failed_at: datetime) -> list[tuple[str, bytes]]:
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
        "incarnation": origin.incarnation or "",
    }
    added = {OURS + name: text.encode() for name, text in ours.items()}
    own = [(name, value) for name, value in letter.record.headers if name not in added]
    return own + list(added.items())


class DeadLetterTopic:
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
        self._now = now

    def open(self, *, max_message_bytes: int) -> None:
        """Make ready for dead letters of up to `max_message_bytes`, which is what the topic takes; comes first."""
        self._max_message_bytes = max_message_bytes
        self._producer = Producer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "enable.idempotence": True,
                "message.max.bytes": max_message_bytes,
                "delivery.timeout.ms": int(_DELIVERY_TIMEOUT * 1000),
                "linger.ms": 5,
                "log_level": 0,
            },
            logger=silent,
        )

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Deliver all of them.

        Raises:
            BrokerUnavailable: some may be delivered, some not; the same call may be repeated.
            DeadLetterTopicTooSmall: the topic will never take one of them.
        """
        await asyncio.to_thread(self._send, letters)

    def _send(self, letters: Sequence[DeadLetter]) -> None:
        unsent: dict[DeadLetter, KafkaError | None] = dict.fromkeys(letters)
        for letter in letters:
            self._produce(self._producer, letter, unsent)
        self._producer.flush(_DELIVERY_TIMEOUT + 1)
        for letter, error in unsent.items():
            if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise DeadLetterTopicTooSmall(self._too_small(letter))
        if unsent:
            error = next(iter(unsent.values()))
            message = f"dead letters cannot be written to {self.topic}: {error.str() if error else 'no answer in time'}"
            raise BrokerUnavailable(message)

    def _produce(self, producer: Producer, letter: DeadLetter, unsent: dict[DeadLetter, KafkaError | None]) -> None:
        def on_delivery(error: KafkaError | None, _: Message | None) -> None:
            if error is None:
                del unsent[letter]
            else:
                unsent[letter] = error

        record = letter.record
        try:
            producer.produce(
                self.topic,
                key=record.key,
                value=record.value,
                timestamp=max(record.timestamp, 0),
                headers=cast("Any", headers_of(letter, failed_at=self._now())),
                on_delivery=on_delivery,
            )
        except KafkaException as exc:
            unsent[letter] = exc.args[0]

    def _too_small(self, letter: DeadLetter) -> str:
        size = len(letter.record.value or b"") + len(letter.record.key or b"")
        return (
            f"a dead letter of {size} bytes (from {letter.origin.topic}, partition {letter.origin.partition},"
            f" offset {letter.origin.offset}) does not fit into {self.topic}, whose max.message.bytes is"
            f" {self._max_message_bytes}. Nothing of it is acked. Raise the limit and start the worker again:\n"
            f"  kafka-configs --bootstrap-server {self._bootstrap_servers} --alter --entity-type topics"
            f" --entity-name {self.topic} --add-config max.message.bytes={size + 64 * 1024}"
        )
