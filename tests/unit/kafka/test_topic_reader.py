"""The committed offsets of a group while its broker starts, and records with odd headers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Never

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka import topic_reader
from streamapp.kafka.topic_reader import TopicReader


class _Starting:
    """A consumer whose first request fails."""

    def __init__(self, code: int, reported: int | None = None) -> None:
        self._errors = [KafkaError(code)]
        self.reported = reported

    def committed(self, wanted: list[TopicPartition], **_: Any) -> list[TopicPartition]:
        if self._errors:
            raise KafkaException(self._errors.pop())
        return wanted

    def poll(self, _: float) -> Any:
        """Report an error beside the request."""
        return None if self.reported is None else SimpleNamespace(error=lambda: KafkaError(self.reported))


def test_a_missing_coordinator_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that has just started takes some seconds to become the coordinator."""
    monkeypatch.setattr(topic_reader, "_POLL_SECONDS", 0.0)
    wanted = [TopicPartition("x", 0)]

    assert wanted == topic_reader._committed(_Starting(KafkaError.NOT_COORDINATOR), wanted)


def test_another_error_is_raised_at_once() -> None:
    """A retry does not help."""
    with pytest.raises(KafkaException):
        topic_reader._committed(_Starting(KafkaError.GROUP_AUTHORIZATION_FAILED), [])


def test_a_missing_right_to_the_group_is_reported_beside_the_request() -> None:
    """librdkafka itself waits for the coordinator until its timeout."""
    consumer = _Starting(KafkaError._TIMED_OUT, KafkaError.GROUP_AUTHORIZATION_FAILED)

    with pytest.raises(KafkaException) as caught:
        topic_reader._committed(consumer, [])

    assert KafkaError.GROUP_AUTHORIZATION_FAILED == caught.value.args[0].code()


class _Found:
    """A message of a partition."""

    def __init__(self, *, code: int | None = None) -> None:
        self._code = code

    def error(self) -> KafkaError | None:
        return None if self._code is None else KafkaError(self._code)

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000

    def headers(self) -> list[tuple[str, bytes]]:
        return []

    def __getattr__(self, name: str) -> Any:
        return lambda: {"topic": "events", "partition": 0, "offset": 7, "key": b"k", "value": b"v"}[name]


class _WithoutGroup:
    """A consumer without the right to its group: librdkafka reports that beside the records."""

    def assign(self, _: list[TopicPartition]) -> None: ...

    def unassign(self) -> None: ...

    def poll(self, _: float) -> _Found:
        return _Found(code=KafkaError.GROUP_AUTHORIZATION_FAILED)

    def consume(self, _: int, **__: Any) -> list[_Found]:
        return [_Found()]


def test_reading_needs_no_right_to_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its committed offsets do."""
    monkeypatch.setattr(KafkaConnection, "consumer", lambda *_, **__: _WithoutGroup())
    reader = TopicReader(KafkaConnection(servers="127.0.0.1:1"), "events")

    assert [b"v"] == [record.value for record in reader.read(0, 7, 8)]


class _OddHeader:
    """A message with a header name that is not UTF-8."""

    def headers(self) -> Never:
        raise SystemError("returned a result with an exception set")

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000

    def __getattr__(self, name: str) -> Any:
        return lambda: {"topic": "events", "partition": 0, "offset": 7, "key": b"k", "value": b"v"}[name]


def test_a_header_name_that_is_not_utf8_leaves_no_header() -> None:
    """The record is returned."""
    message: Any = _OddHeader()

    assert topic_reader._record(message) == ("events", 0, 7, 1_000, b"k", b"v", [])
