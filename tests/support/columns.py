"""Records as columns, as the compiled kernel makes them."""

from __future__ import annotations

from collections.abc import Sequence

from streamapp.model.record import BatchRecord
from streamapp.model.record_columns import ROW, Piece, RecordColumns
from streamapp.transport.batch_size import memory_sizes


def columns_of(records: Sequence[BatchRecord]) -> RecordColumns:
    """Return the records as columns of one piece."""
    data, rows = bytearray(), list[bytes]()
    for record, memory in zip(records, memory_sizes(records), strict=True):
        places = [_added(data, part) for part in (record.key, record.value)]
        headers_at = len(data)
        for name, value in record.headers:
            data += nullable(name.encode()) + nullable(value)
        fields = (*places[0], *places[1], headers_at, len(record.headers), memory)
        rows.append(ROW.pack(record.offset, record.timestamp, *fields))
    return RecordColumns([Piece(bytes(data), b"".join(rows), any(record.headers for record in records))])


def varint(number: int) -> bytes:
    """Encode a zigzag integer of 64 bits."""
    zigzag, found = ((number << 1) ^ (number >> 63)) & (1 << 64) - 1, b""
    while zigzag >= 0x80:
        found, zigzag = found + bytes([zigzag & 0x7F | 0x80]), zigzag >> 7
    return found + bytes([zigzag])


def nullable(data: bytes | None) -> bytes:
    """Encode bytes or null."""
    return varint(-1) if data is None else varint(len(data)) + data


def _added(data: bytearray, part: bytes | None) -> tuple[int, int]:
    at = len(data)
    data += part or b""
    return at, -1 if part is None else len(part)
