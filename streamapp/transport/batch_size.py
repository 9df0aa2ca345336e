"""Measure the memory that records take up, and split records into batches of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from streamapp.model.record_columns import MEMORY, VALUE_SIZE, RecordColumns

#: Memory of one record beside its key and value: 220 bytes measured with tracemalloc, and a reserve for its document.
RECORD_OVERHEAD_BYTES = 300
#: Memory of a header beside its name and value.
HEADER_OVERHEAD_BYTES = 150
#: A record with more headers becomes a dead letter: an empty header of two bytes takes 64 bytes of memory.
MAX_HEADERS = 10_000
#: A record with more than MAX_HEADERS is larger.
MANY_HEADERS_BYTES = MAX_HEADERS * HEADER_OVERHEAD_BYTES


class Sized(Protocol):
    """The part of a record that takes up memory."""

    @property
    def key(self) -> bytes | None:
        """Key as sent."""
        ...

    @property
    def value(self) -> bytes | None:
        """Value as sent."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Pairs of name and value."""
        ...


R = TypeVar("R", bound=Sized)


def memory_sizes(records: Sequence[Sized]) -> list[int]:
    """The memory size of each record; a call for each would take half as long again."""
    if isinstance(records, RecordColumns):
        return records.column(MEMORY)
    return [
        RECORD_OVERHEAD_BYTES
        + len(record.value or b"")
        + len(record.key or b"")
        + (_headers_size(headers) if (headers := record.headers) else 0)
        for record in records
    ]


def _headers_size(headers: Sequence[tuple[str, bytes | None]]) -> int:
    size = HEADER_OVERHEAD_BYTES * len(headers)
    if len(headers) <= MAX_HEADERS:
        size += sum(len(name) + len(value or b"") for name, value in headers)
    return size


def _value_sizes(records: Sequence[Sized]) -> list[int]:
    if isinstance(records, RecordColumns):
        return [max(0, size) for size in records.column(VALUE_SIZE)]
    return [len(record.value or b"") for record in records]


def split(records: Sequence[R], *, max_records: int, max_bytes: int) -> Iterator[Sequence[R]]:
    """Split records into batches of at most `max_records` and `max_bytes` of values.

    A record whose value is larger than `max_bytes` becomes a batch of its own.
    """
    begin = batch_bytes = 0
    for index, length in enumerate(_value_sizes(records)):
        if index > begin and (index - begin == max_records or batch_bytes + length > max_bytes):
            yield records[begin:index]
            begin, batch_bytes = index, 0
        batch_bytes += length
    if begin < len(records):
        yield records[begin:]
