"""Fetched records are kept only while the topic id is certain."""

from __future__ import annotations

import asyncio
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.types import CompactString, Int16, Int32, UnsignedVarInt32

from streamapp.transport import topic_id_check
from streamapp.transport.topic_id_check import TopicIdCheck
from streamapp.transport.topic_id_request import TopicIdRequest, TopicIdResponse

OLD, NEW = b"1" * 16, b"2" * 16
OLD_ID, NEW_ID = "MTExMTExMTExMTExMTExMQ", "MjIyMjIyMjIyMjIyMjIyMg"
UNKNOWN_TOPIC, FORBIDDEN = 3, 29
FETCH = FetchRequest(200, 1, 1_000, 1, [("events", [(0, 50, 1_000)])])


def metadata(uuid: bytes, error_code: int = 0) -> TopicIdResponse:
    """Decode a metadata response, as a broker sends it."""
    brokers = UnsignedVarInt32.encode(1)
    controller = CompactString().encode("cluster") + Int32.encode(1)
    topic = UnsignedVarInt32.encode(2) + Int16.encode(error_code) + CompactString().encode("events") + uuid
    return TopicIdResponse.decode(BytesIO(Int32.encode(0) + brokers + controller + topic + b"partitions"))


class Broker:
    """Serves one record of a topic, whose id may change while a fetch is under way."""

    def __init__(self, answer: TopicIdResponse, *, known: str | None = OLD_ID, error_code: int = 0) -> None:
        self.known: dict[str, str | None] = {} if known is None else {"events": known}
        self.changed: list[str] = []
        self.asked = 0
        self.records = b"records"
        self.error_code = error_code
        self._answer = answer
        self.check = TopicIdCheck(
            self._send, topics=frozenset({"events"}), known=lambda: self.known, on_changed=self._note
        )

    async def _send(self, node_id: int, request: Any, *, group: Any = None) -> Any:
        if isinstance(request, TopicIdRequest):
            self.asked += 1
            return self._answer
        partition = [0, self.error_code, 100, self.records]
        return SimpleNamespace(topics=[("events", [partition]), ("others", [[0, 0, 1, b"records"]])])

    def _note(self, topic: str) -> None:
        self.changed.append(topic)
        self.known.pop(topic)

    def fetch(self) -> list[tuple[str, list[Any]]]:
        """Fetch once; return what is kept of the batch topic."""
        response = asyncio.run(self.check.send(1, FETCH))
        assert "others" in dict(response.topics)
        return [partitions for topic, partitions in response.topics if topic == "events"]


@pytest.mark.parametrize(("pause", "asked"), [(0.01, 1), (0.3, 2)])
def test_records_are_kept_if_the_topic_id_is_the_same_after_the_fetch(
    monkeypatch: pytest.MonkeyPatch, pause: float, asked: int
) -> None:
    """A fetch with records is checked if the worker has paused before it, as a suspended one does."""
    broker = Broker(metadata(OLD))
    found = list[object]()
    for now in (100.0, 100.0 + pause):
        monkeypatch.setattr(topic_id_check, "monotonic", lambda now=now: now)
        found.append(broker.fetch())

    assert [[[[0, 0, 100, b"records"]]]] * 2 == found
    assert (asked, []) == (broker.asked, broker.changed)


def test_records_of_a_re_created_topic_are_dropped() -> None:
    """They were read at an offset of the deleted topic; the consumer reads the new topic from its start."""
    broker = Broker(metadata(NEW))

    assert broker.fetch() == []
    assert broker.changed == ["events"]


def test_records_are_dropped_while_the_topic_id_is_not_known() -> None:
    """A topic id that becomes known after the fetch may be that of another topic."""
    broker = Broker(metadata(NEW), known=None)

    assert broker.fetch() == []
    assert (broker.asked, broker.changed) == (0, [])


def test_records_of_a_deleted_topic_are_dropped() -> None:
    """It may be created again at any moment."""
    broker = Broker(metadata(bytes(16), UNKNOWN_TOPIC))

    assert broker.fetch() == [[]]
    assert broker.changed == []


def test_an_error_of_the_fetch_is_followed_by_a_check() -> None:
    """A deleted topic is such an error; aiokafka acts on it, too."""
    broker = Broker(metadata(OLD), error_code=UNKNOWN_TOPIC)
    broker.records = b""

    assert broker.fetch() == broker.fetch() == [[[0, UNKNOWN_TOPIC, 100, b""]]]
    assert broker.asked == 2


def test_an_error_of_the_fetch_reaches_aiokafka_if_the_check_fails_too() -> None:
    """With a revoked right, both fail: aiokafka acts on the error of the fetch."""
    broker = Broker(metadata(bytes(16), FORBIDDEN), error_code=FORBIDDEN)
    broker.records = b""

    assert broker.fetch() == [[[0, FORBIDDEN, 100, b""]]]


def test_an_idle_topic_is_checked_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A re-created topic may have as many records as the deleted one."""
    broker = Broker(metadata(OLD))
    broker.records = b""
    for now in (100.0, 101.0, 103.0, 104.0):
        monkeypatch.setattr(topic_id_check, "monotonic", lambda now=now: now)
        broker.fetch()

    assert broker.asked == 2


def test_before_a_commit_the_topic_is_the_same() -> None:
    """Offsets of a deleted topic must not be committed for the new one."""

    async def has_changed(broker: Broker) -> bool:
        return await broker.check.has_changed(1, "events")

    assert not asyncio.run(has_changed(Broker(metadata(OLD))))
    assert asyncio.run(has_changed(Broker(metadata(NEW))))
    assert asyncio.run(has_changed(Broker(metadata(bytes(16), UNKNOWN_TOPIC))))
    assert asyncio.run(has_changed(Broker(metadata(OLD), known=None)))


def test_a_broker_without_topic_ids_is_not_asked() -> None:
    """Kafka has them since 2.8."""
    with pytest.raises(NotImplementedError):
        TopicIdRequest("events").prepare({3: (0, 9)})
