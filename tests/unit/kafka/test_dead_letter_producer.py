"""The headers of a dead letter, and the dead letters that are sent again."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from confluent_kafka import KafkaError

from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import BrokerAccessRefused, BrokerUnavailable, DeadLetterRefused
from streamapp.kafka.dead_letter_contents import headers_of
from streamapp.kafka.dead_letter_producer import DeadLetterProducer
from streamapp.model.omitted import is_original, restored_headers
from streamapp.model.record import DeadLetter, Reason, origin_of
from streamapp.model.replays import is_signed
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

    def __init__(self, error: KafkaError | None = None) -> None:
        self.error = error or KafkaError(KafkaError._MSG_TIMED_OUT)
        self.refused = {b"second"}
        self.delivered: list[bytes] = []
        self.is_full = False

    def produce(
        self, _: str, *, value: bytes, on_delivery: Callable[[KafkaError | None, Any], None], **__: Any
    ) -> None:
        if self.is_full:
            raise BufferError
        if value in self.refused:
            on_delivery(self.error, None)
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
    monkeypatch.setattr("streamapp.connections.kafka._Producer", lambda *_, **__: producer)
    topic = DeadLetterProducer(connection=KafkaConnection(servers="nowhere:1"), topic="x.dlq")
    topic.open(max_message_bytes=1_000_000)
    letters = [a_letter(value=value) for value in (b"first", b"second", b"third")]

    with pytest.raises(BrokerUnavailable):
        asyncio.run(topic.send(letters))
    producer.refused.clear()
    asyncio.run(topic.send(letters))

    assert [b"first", b"third", b"second"] == producer.delivered


def test_a_refused_right_is_waited_for_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator can grant it while the worker runs."""
    producer = _Refusing(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    monkeypatch.setattr("streamapp.connections.kafka._Producer", lambda *_, **__: producer)
    topic = DeadLetterProducer(connection=KafkaConnection(servers="nowhere:1"), topic="x.dlq")
    topic.open(max_message_bytes=1_000_000)

    with pytest.raises(BrokerAccessRefused, match=r"written to x\.dlq: .*nowhere:1.* the right WRITE to the topic x"):
        asyncio.run(topic.send([a_letter(value=b"second")]))


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (KafkaError.INVALID_RECORD, "--add-config cleanup.policy=delete"),
        (KafkaError.INVALID_RECORD, "If the topic is not compacted, the broker validates schemas"),
        (KafkaError.INVALID_TIMESTAMP, "--add-config message.timestamp.after.max.ms="),
        (KafkaError.RECORD_LIST_TOO_LARGE, "--add-config segment.bytes="),
        (KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT, "--add-config message.format.version="),
        (KafkaError.UNSUPPORTED_COMPRESSION_TYPE, "Set STREAMAPP_KAFKA_COMPRESSION"),
        (KafkaError.TOPIC_EXCEPTION, "Correct STREAMAPP_TOPIC,"),
        (KafkaError.INVALID_MSG_SIZE, "The log of the broker says why,"),
    ],
)
def test_a_dead_letter_that_no_retry_delivers_has_a_remedy(
    monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    """The one of its error, and no other."""
    producer = _Refusing(KafkaError(code))
    monkeypatch.setattr("streamapp.connections.kafka._Producer", lambda *_, **__: producer)
    topic = DeadLetterProducer(connection=KafkaConnection(servers="nowhere:1"), topic="x.dlq")
    topic.open(max_message_bytes=1_000_000)

    with pytest.raises(DeadLetterRefused) as refused:
        asyncio.run(topic.send([a_letter(value=b"second")]))

    assert remedy in str(refused.value)
    assert "start the worker again" in str(refused.value)
    assert "cleanup.policy" not in str(refused.value) or code == KafkaError.INVALID_RECORD


def test_a_producer_with_a_fatal_error_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would report every further letter as failed."""
    error = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True)
    producers = [_Refusing(error), _Refusing()]
    producers[1].refused.clear()
    waiting = iter(producers)
    monkeypatch.setattr("streamapp.connections.kafka._Producer", lambda *_, **__: next(waiting))
    topic = DeadLetterProducer(connection=KafkaConnection(servers="nowhere:1"), topic="x.dlq")
    topic.open(max_message_bytes=1_000_000)

    with pytest.raises(BrokerUnavailable):
        asyncio.run(topic.send([a_letter(value=b"second")]))
    asyncio.run(topic.send([a_letter(value=b"second")]))

    assert [b"second"] == producers[1].delivered


class _Limited:
    """A producer for a topic that refuses records, and batches of records, of more bytes."""

    def __init__(self, limit: int, *, batches: int = 0) -> None:
        self.limit = limit
        #: The first records come in a batch that is too large.
        self.batches = batches
        self.delivered: list[tuple[bytes | None, bytes | None, dict[str, bytes]]] = []

    def produce(self, _: str, *, key: Any, value: Any, headers: Any, on_delivery: Any, **__: Any) -> None:
        self.batches -= 1
        size = len(key or b"") + len(value or b"") + len(dict(headers).get("trace", b""))
        if size > self.limit or self.batches >= 0:
            on_delivery(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), None)
        else:
            self.delivered.append((key, value, dict(headers)))
            on_delivery(None, None)

    def flush(self, _: float) -> int:
        return 0


def sent_to(producer: _Limited, monkeypatch: pytest.MonkeyPatch, *letters: DeadLetter) -> DeadLetterProducer:
    """Send dead letters to this producer."""
    monkeypatch.setattr("streamapp.connections.kafka._Producer", lambda *_, **__: producer)
    topic = DeadLetterProducer(connection=KafkaConnection(servers="nowhere:1"), topic="x.dlq", signing_key=b"key")
    topic.open(max_message_bytes=producer.limit)
    asyncio.run(topic.send(letters))
    return topic


def test_a_letter_that_does_not_fit_is_sent_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers have size, digest, start and end; key and own headers are unchanged, and it is signed."""
    producer, value = _Limited(100), b"a" * 64 + b"-" + b"z" * 64

    sent_to(producer, monkeypatch, a_letter(value=value, headers=(("trace", b"own"),)))

    ((key, found, headers),) = producer.delivered
    assert (b"user-1", None, b"own") == (key, found, headers["trace"])
    omitted = {name: headers[f"streamapp.value_{name}"] for name in ("omitted", "size", "sha256", "start", "end")}
    assert {
        "omitted": b"true",
        "size": b"129",
        "sha256": sha256(value).hexdigest().encode(),
        "start": b"a" * 64,
        "end": b"z" * 64,
    } == omitted
    assert is_signed(b"key", [*headers.items()], key, found)
    letter = FakeRecord(key=key, value=found, headers=tuple(headers.items()))
    original = FakeRecord(value=value)
    assert is_original(letter, original)
    assert not is_original(letter, original._replace(value=b"another"))
    assert is_signed(b"key", restored_headers(letter, original), key, value)


def test_a_letter_with_a_large_key_and_large_headers_is_sent_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """No record stops a worker."""
    producer, record = _Limited(100), FakeRecord(value=b"v", key=b"k" * 99, headers=(("trace", b"x" * 99),))

    sent_to(producer, monkeypatch, a_letter(value=record.value, key=record.key, headers=record.headers))

    ((key, value, headers),) = producer.delivered
    assert (None, None, b"99") == (key, value, headers["streamapp.key_size"])
    assert "trace" not in headers
    letter = FakeRecord(key=key, value=value, headers=tuple(headers.items()))
    assert is_original(letter, record)
    assert dict(restored_headers(letter, record))["trace"] == b"x" * 99


def test_a_letter_without_a_key_has_no_headers_of_an_omitted_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing key and an omitted one are different; the original record is recognised."""
    producer, record = _Limited(100), FakeRecord(value=b"v", key=None, headers=(("trace", b"x" * 101),))

    sent_to(producer, monkeypatch, a_letter(value=record.value, key=None, headers=record.headers))

    ((key, value, headers),) = producer.delivered
    assert (None, None, b"1") == (key, value, headers["streamapp.value_size"])
    assert not [name for name in headers if name.startswith("streamapp.key_")]
    letter = FakeRecord(key=key, value=value, headers=tuple(headers.items()))
    assert is_original(letter, record)
    assert not is_original(letter, record._replace(key=b"k"))


def test_letters_of_a_batch_that_is_too_large_are_sent_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They keep their values."""
    producer = _Limited(100, batches=2)

    sent_to(producer, monkeypatch, a_letter(value=b"first"), a_letter(value=b"second"))

    assert [b"first", b"second"] == [value for _, value, _ in producer.delivered]


def test_a_topic_that_accepts_no_letter_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker waits, and the error names the remedy."""
    with pytest.raises(BrokerUnavailable, match=r"max\.message\.bytes=") as caught:
        sent_to(_Limited(-1), monkeypatch, a_letter(value=b"first"))

    assert "even without key and value" in str(caught.value)


class _Missing(_Refusing):
    """A producer whose topic does not exist until it is created."""

    def __init__(self) -> None:
        super().__init__()
        self.exists = False

    def produce(self, topic: str, *, value: bytes, on_delivery: Any, **values: Any) -> None:
        if self.exists:
            super().produce(topic, value=value, on_delivery=on_delivery, **values)
        else:
            on_delivery(KafkaError(KafkaError._UNKNOWN_TOPIC), None)


def test_a_topic_that_was_deleted_is_created_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the worker's settings and not those of the broker; the next call delivers the letters."""
    producer, configs = _Missing(), list[dict[str, Any]]()
    monkeypatch.setattr("streamapp.connections.kafka._Producer", lambda config, **_: configs.append(config) or producer)
    topic = DeadLetterProducer(connection=KafkaConnection(servers="nowhere:1"), topic="x.dlq")

    async def create() -> int:
        producer.exists = True
        return 5_000

    topic.open(max_message_bytes=1_000_000, create_topic=create)
    letter = a_letter(value=b"first")
    with pytest.raises(BrokerUnavailable, match="created again"):
        asyncio.run(topic.send([letter]))
    asyncio.run(topic.send([letter]))

    assert [b"first"] == producer.delivered
    assert [False, False] == [config["allow.auto.create.topics"] for config in configs]
    assert "x.dlq does not exist any more" in caplog.text


def test_send_waits_while_the_queue_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch may have more dead letters than the queue takes."""
    producer = _Refusing()
    producer.is_full = True
    monkeypatch.setattr("streamapp.connections.kafka._Producer", lambda *_, **__: producer)
    topic = DeadLetterProducer(connection=KafkaConnection(servers="nowhere:1"), topic="x.dlq")
    topic.open(max_message_bytes=1_000_000)

    asyncio.run(topic.send([a_letter(value=b"first")]))

    assert [b"first"] == producer.delivered


def test_dead_letters_do_not_wait_for_threads_of_the_default_executor() -> None:
    """The producer has threads of its own; once closed, it raises BrokerUnavailable."""
    go_on = threading.Event()
    topic = DeadLetterProducer(connection=KafkaConnection(servers="127.0.0.1:1"), topic="t.dlq")
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
