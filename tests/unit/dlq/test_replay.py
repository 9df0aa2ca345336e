"""The memory that a replay takes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from streamapp.connections.kafka import KafkaConnection
from streamapp.dlq.index import Letter
from streamapp.dlq.replay import Replay, batches_by_bytes
from tests.unit.dlq.test_index import a_letter


def sized(*sizes: int) -> Sequence[Letter]:
    """Return letters of records of these sizes in bytes."""
    return [Letter(**{**vars(a_letter(offset)), "size": size}) for offset, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1_000_000], [[0]]),
        ([1_000, 1_000, 1_000], [[0, 1], [2]]),
        ([9_000, 0, 1, 9_000, 1], [[0], [1, 2], [3], [4]]),
        # An empty record takes memory for its headers.
        ([0, 0, 0, 0], [[0, 1, 2], [3]]),
    ],
)
def test_letters_are_batched_by_memory(sizes: list[int], expected: list[list[int]]) -> None:
    """The order is kept; a record above the limit is a batch of its own."""
    assert expected == [[letter.offset for letter in batch] for batch in batches_by_bytes(sized(*sizes), 7_000)]


@dataclass(frozen=True, kw_only=True)
class _Record:
    offset: int
    key: bytes = b"k"
    value: bytes = b"v"
    headers: tuple[tuple[str, bytes], ...] = ()


class _CountingTopic:
    """A dead-letter topic that counts how many of its records are referenced."""

    topic = "x.dlq"

    def __init__(self) -> None:
        self.referenced = weakref.WeakSet[_Record]()
        self.max_held = 0

    def read(self, _: int, start: int, end: int) -> Iterator[_Record]:
        for offset in range(start, end):
            record = _Record(offset=offset)
            self.referenced.add(record)
            self.max_held = max(self.max_held, len(self.referenced))
            yield record


class _SlowProducer:
    """A producer that confirms no delivery before flush."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[None, None], None]] = []

    def produce(self, *_: Any, on_delivery: Callable[[None, None], None], **__: Any) -> None:
        self._waiting.append(on_delivery)

    def poll(self, _: float) -> None: ...

    def flush(self, _: float) -> int:
        for on_delivery in self._waiting:
            on_delivery(None, None)
        return 0


def test_produced_records_are_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most one batch and the record in hand are referenced at the same time."""
    monkeypatch.setattr("streamapp.connections.kafka._Producer", lambda *_, **__: _SlowProducer())
    topic = _CountingTopic()
    replay = Replay(
        connection=KafkaConnection(servers="nowhere:1"),
        letters=topic,  # pyright: ignore[reportArgumentType]
        topic="x",
        partitions=1,
        max_message_bytes=1_000_000,
        fetched_bytes=7_000,
    )
    gc.disable()
    try:
        outcome = replay.run(sized(*[1] * 30))
    finally:
        gc.enable()

    assert 30 == outcome.replayed
    assert topic.max_held <= 3 + 1
