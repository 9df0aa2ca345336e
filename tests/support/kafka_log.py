"""Damage the log of a local broker, as an error of a disk or the loss of its last writes does.

Source of the layout: Kafka's documentation, "Record Batch".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streamapp.local.backend import Backend

#: Of a batch: its length begins here, and does not count the bytes before its own end.
_LENGTH_AT, _LENGTH_END = 8, 12
_LAST_OFFSET_DELTA_AT = 23
#: Within the records of a batch, which its checksum covers.
_RECORDS_AT = 61


class Batch(NamedTuple):
    """A batch: its first and last offset, and its position and size in its segment."""

    segment: Path
    first: int
    last: int
    at: int
    size: int


def batches(backend: Backend, topic: str, partition: int) -> list[Batch]:
    """The batches of a partition, in offset order."""
    folder = Path(backend.data_dir) / "kafka" / "data" / f"{topic}-{partition}"
    return [batch for segment in sorted(folder.glob("*.log")) for batch in _batches_in(segment)]


def truncate(backend: Backend, topic: str, *, ends: dict[int, int]) -> dict[int, int]:
    """Kill the broker, remove the records from these offsets on, and start it; return the new end of each partition.

    A batch that holds records on both sides is removed as a whole.
    """
    backend.kafka.kill()
    try:
        return {partition: _truncate(batches(backend, topic, partition), end) for partition, end in ends.items()}
    finally:
        backend.kafka.start()


def corrupt(backend: Backend, topic: str, partition: int, offset: int) -> Batch:
    """Flip a bit in the batch that holds an offset, and return the batch; the broker does not notice it."""
    batch = next(each for each in batches(backend, topic, partition) if each.first <= offset <= each.last)
    with batch.segment.open("r+b") as log:
        log.seek(batch.at + _RECORDS_AT)
        byte = log.read(1)[0]
        log.seek(batch.at + _RECORDS_AT)
        log.write(bytes([byte ^ 1]))
    return batch


def _truncate(found: list[Batch], end: int) -> int:
    lost = [batch for batch in found if batch.last >= end]
    if not lost:
        return found[-1].last + 1 if found else 0
    for batch in reversed(lost):
        with batch.segment.open("r+b") as log:
            log.truncate(batch.at)
    return lost[0].first


def _batches_in(segment: Path) -> Iterator[Batch]:
    data, at = segment.read_bytes(), 0
    while at + _RECORDS_AT <= len(data):
        size = _LENGTH_END + int.from_bytes(data[at + _LENGTH_AT : at + _LENGTH_END])
        first = int.from_bytes(data[at : at + _LENGTH_AT])
        if size <= _LENGTH_END or at + size > len(data):
            return
        delta = int.from_bytes(data[at + _LAST_OFFSET_DELTA_AT : at + _LAST_OFFSET_DELTA_AT + 4])
        yield Batch(segment, first, first + delta, at, size)
        at += size
