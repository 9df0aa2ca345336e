"""Batches are decoded in parts of bounded memory, with turns of the event loop in between."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from streamapp.decode.batch import DecodedBatch, DecodedEvents
from streamapp.model.record import PartitionBatch
from streamapp.sink import decoding
from tests.support.factories import NOW


class _Record:
    timestamp, key, headers = NOW, None, ()

    def __init__(self, offset: int, size: int) -> None:
        self.offset = offset
        self.value = bytes(size)


class _Decoder:
    """Takes the same time for each record, and makes every third one an event out of order."""

    def __init__(self, seconds: float) -> None:
        self.now = 0.0
        self.calls: list[int] = []
        self._seconds = seconds

    def build(self, batch: PartitionBatch, *_: Any, **__: Any) -> DecodedBatch:
        self.calls.append(len(batch.records))
        self.now += self._seconds * len(batch.records)
        documents: list[Any] = [{"_id": record.offset} for record in batch.records]
        out_of_order = {index for index, record in enumerate(batch.records) if record.offset % 3 == 0}
        return DecodedBatch(DecodedEvents(documents, batch.records, ["1"] * len(documents)), [], out_of_order)


def decode(
    monkeypatch: pytest.MonkeyPatch, seconds: float, records: int, size: int
) -> tuple[list[tuple[DecodedBatch, int]], _Decoder, int]:
    """Decode a batch; return its parts, the decoder, and how often the event loop had a turn."""
    decoder = _Decoder(seconds)
    monkeypatch.setattr(decoding, "build", decoder.build)
    batch = PartitionBatch(
        topic="events",
        partition=0,
        topic_id=None,
        assignment=0,
        begin=0,
        records=[_Record(offset, size) for offset in range(records)],
        size=records * size,
    )
    turns = 0

    async def scenario() -> list[tuple[DecodedBatch, int]]:
        nonlocal turns

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count_turns())
        parts = decoding.decode_in_parts(
            batch,
            {},
            times=None,  # pyright: ignore[reportArgumentType] - unused here
            received_at=datetime.now(UTC),
            clock=lambda: decoder.now,
        )
        found = [part async for part in parts]
        counting.cancel()
        return found

    return asyncio.run(scenario()), decoder, turns


def test_normal_events_are_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a few microseconds each."""
    parts, decoder, _ = decode(monkeypatch, 7e-6, 4_000, 100)

    assert [len(part.events.documents) for part, _ in parts] == [4_000]
    assert len(decoder.calls) <= 5
    assert parts[0][0].out_of_order == set(range(0, 4_000, 3))


def test_records_that_expand_are_decoded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is inserted before the next one is decoded."""
    parts, decoder, turns = decode(monkeypatch, 0.02, 100, 20_000)

    assert max(decoder.calls) == 1
    assert max(len(part.events.documents) for part, _ in parts) <= 3
    assert [record.offset for part, _ in parts for record in part.events.records] == list(range(100))
    assert all(part.events.records[-1].offset == last for part, last in parts)
    assert turns >= 50
