"""How much of a replay is in memory at the same time."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from streamapp.dlq.index import Letter
from streamapp.dlq.replay import Replay, in_bytes
from streamapp.kafka import producer as kafka_producer
from tests.unit.dlq.test_index import a_letter


def sized(*sizes: int) -> Sequence[Letter]:
    """Return letters of records of so many bytes."""
    return [Letter(**{**vars(a_letter(offset)), "size": size}) for offset, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1_000_000], [[0]]),
        ([1_000, 1_000, 1_000], [[0, 1], [2]]),
        ([9_000, 0, 1, 9_000, 1], [[0], [1, 2], [3], [4]]),
        # Empty ones too have headers.
        ([0, 0, 0, 0], [[0, 1, 2], [3]]),
    ],
)
def test_letters_are_grouped_by_what_they_take_in_memory(sizes: list[int], expected: list[list[int]]) -> None:
    """In their order; what is too large alone comes alone."""
    assert expected == [[letter.offset for letter in group] for group in in_bytes(sized(*sizes), 7_000)]


@dataclass(frozen=True, kw_only=True)
class _Record:
    offset: int
    key: bytes = b"k"
    value: bytes = b"v"
    headers: tuple[tuple[str, bytes], ...] = ()


class _Topic:
    """A dead-letter topic that knows which of its records somebody holds."""

    topic = "x.dlq"

    def __init__(self) -> None:
        self.held = weakref.WeakSet[_Record]()
        self.most = 0

    def read(self, _: int, start: int, end: int) -> Iterator[_Record]:
        for offset in range(start, end):
            record = _Record(offset=offset)
            self.held.add(record)
            self.most = max(self.most, len(self.held))
            yield record


class _Silent:
    """A producer that says of nothing that it is delivered, until the end."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[None, None], None]] = []

    def produce(self, *_: Any, on_delivery: Callable[[None, None], None], **__: Any) -> None:
        self._waiting.append(on_delivery)

    def poll(self, _: float) -> None: ...

    def flush(self, _: float) -> int:
        for on_delivery in self._waiting:
            on_delivery(None, None)
        return 0


def test_no_record_is_held_once_it_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """But the one at hand: neither while it is delivered nor while others are fetched."""
    monkeypatch.setattr(kafka_producer, "Producer", lambda *_, **__: _Silent())
    topic = _Topic()
    going = Replay(
        bootstrap_servers="nowhere:1",
        letters=topic,  # pyright: ignore[reportArgumentType]
        topic="x",
        partitions=1,
        max_message_bytes=1_000_000,
        fetched_bytes=7_000,
    )
    gc.disable()
    try:
        outcome = going.run(sized(*[1] * 30))
    finally:
        gc.enable()

    assert 30 == outcome.replayed
    assert 3 + 1 >= topic.most
