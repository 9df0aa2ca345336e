"""The headers of a dead letter, and the dead letters that are sent again."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import KafkaError

from streamapp.errors import BrokerUnavailable
from streamapp.kafka import producer as kafka_producer
from streamapp.kafka.dead_letter_producer import DeadLetterProducer, headers_of
from streamapp.model.record import DeadLetter, Reason, origin_of
from tests.support.factories import NOW, TOPIC_ID, FakeRecord, a_letter

AT = datetime(2026, 9, 21, 12, tzinfo=UTC)


def test_headers_follow_the_contract() -> None:
    """The record's own headers first, then those of streamapp, all of them text."""
    letter = a_letter(Reason.TRUNCATED, "ends early", partition=2, offset=9, headers=(("trace", b"\xff"),))

    expected = [
        ("trace", b"\xff"),
        ("streamapp.reason", b"truncated"),
        ("streamapp.error", b"ends early"),
        ("streamapp.topic", b"user_events"),
        ("streamapp.partition", b"2"),
        ("streamapp.offset", b"9"),
        ("streamapp.timestamp", str(NOW).encode()),
        ("streamapp.schema_id", b""),
        ("streamapp.failed_at", b"2026-09-21T12:00:00+00:00"),
        ("streamapp.attempt", b"1"),
        ("streamapp.incarnation", TOPIC_ID.encode()),
    ]
    assert expected == headers_of(letter, failed_at=AT)


def test_the_error_is_cut_at_1_kib_between_characters() -> None:
    """It stays valid UTF-8."""
    headers = dict(headers_of(a_letter(error="é" * 5000), failed_at=AT))

    assert "é" * 512 == headers["streamapp.error"].decode()


def test_a_second_failure_keeps_the_first_coordinates_and_counts() -> None:
    """The headers of the first failure are replaced, not doubled."""
    first = a_letter(partition=2, offset=9, headers=(("reason", b"theirs"),))
    replayed = FakeRecord(value=b"\x01broken", partition=2, offset=100, headers=tuple(headers_of(first, failed_at=AT)))
    second = DeadLetter(
        record=replayed, origin=origin_of(replayed, TOPIC_ID), reason=Reason.EMPTY, error="", schema_id=5
    )

    headers = headers_of(second, failed_at=AT)

    assert len(headers) == len(dict(headers))
    values = {name.removeprefix("streamapp."): value for name, value in headers if name.startswith("streamapp.")}
    assert (b"2", b"9", b"2", b"5") == (values["partition"], values["offset"], values["attempt"], values["schema_id"])
    assert dict(headers)["reason"] == b"theirs"


class _Refusing:
    """A producer that delivers all values but the refused ones."""

    def __init__(self) -> None:
        self.refused = {b"second"}
        self.delivered: list[bytes] = []
        self.is_full = False

    def produce(
        self, _: str, *, value: bytes, on_delivery: Callable[[KafkaError | None, Any], None], **__: Any
    ) -> None:
        if self.is_full:
            raise BufferError
        if value in self.refused:
            on_delivery(KafkaError(KafkaError._MSG_TIMED_OUT), None)
        else:
            self.delivered.append(value)
            on_delivery(None, None)

    def poll(self, _: float) -> None:
        self.is_full = False

    def flush(self, _: float) -> int:
        return 0


def test_delivered_dead_letters_are_not_sent_again_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage that begins during a batch duplicates no dead letter."""
    producer = _Refusing()
    monkeypatch.setattr(kafka_producer, "Producer", lambda *_, **__: producer)
    topic = DeadLetterProducer(bootstrap_servers="nowhere:1", topic="x.dlq")
    topic.open(max_message_bytes=1_000_000)
    letters = [a_letter(value=value) for value in (b"first", b"second", b"third")]

    with pytest.raises(BrokerUnavailable):
        asyncio.run(topic.send(letters))
    producer.refused.clear()
    asyncio.run(topic.send(letters))

    assert [b"first", b"third", b"second"] == producer.delivered


def test_send_waits_while_the_queue_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch may have more dead letters than the queue takes."""
    producer = _Refusing()
    producer.is_full = True
    monkeypatch.setattr(kafka_producer, "Producer", lambda *_, **__: producer)
    topic = DeadLetterProducer(bootstrap_servers="nowhere:1", topic="x.dlq")
    topic.open(max_message_bytes=1_000_000)

    asyncio.run(topic.send([a_letter(value=b"first")]))

    assert [b"first"] == producer.delivered


def test_dead_letters_do_not_wait_for_threads_of_the_default_executor() -> None:
    """The producer has threads of its own; once closed, it raises BrokerUnavailable."""
    go_on = threading.Event()
    topic = DeadLetterProducer(bootstrap_servers="127.0.0.1:1", topic="t.dlq")
    topic._send = lambda _: None

    async def scenario() -> None:
        others = [asyncio.create_task(asyncio.to_thread(go_on.wait, 60)) for _ in range(100)]
        try:
            await asyncio.wait_for(topic.send([a_letter()]), 30)
        finally:
            go_on.set()
        await asyncio.gather(*others)
        topic.close()
        with pytest.raises(BrokerUnavailable):
            await topic.send([a_letter()])

    asyncio.run(scenario())
