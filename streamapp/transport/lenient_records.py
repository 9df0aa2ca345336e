"""Read the records of a batch one by one, where aiokafka cannot read the batch.

Kafka does not validate everything that producers send, for example the encoding of header names. What is not a record
becomes a record that holds the bytes: its first byte is no magic byte of the wire format, so that it becomes a dead
letter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from aiokafka.record.default_records import DefaultRecord

from streamapp.model.record import HEADER_PREFIX, UNKNOWN_TIMESTAMP, UNREADABLE
from streamapp.model.record_format import nullable_bytes, varint
from streamapp.transport.record_batch import BatchHeader, RecordBatch


def unreadable(offset: int, timestamp: int, data: bytes) -> Any:
    """The record in place of bytes that cannot be read."""
    return DefaultRecord(offset, timestamp, 0, None, UNREADABLE + data, [])


def read_leniently(batch: RecordBatch) -> Sequence[Any]:
    """Read the records of an uncompressed batch as far as possible; the rest becomes one record with its bytes."""
    header = batch.header
    if header is None:
        return [unreadable(batch.offset, UNKNOWN_TIMESTAMP, batch.data)]
    if header.is_control:
        return []
    return [*_records(batch, header)]


def _records(batch: RecordBatch, header: BatchHeader) -> Iterator[Any]:
    body, first_ms, append_ms = batch.records, header.first_ms, header.append_ms
    at, offset = 0, batch.first_offset
    fallback_ms = first_ms if append_ms is None else append_ms
    for _ in range(header.record_count):
        length = _record_length(body, at)
        if length is None:
            yield unreadable(offset, fallback_ms, body[at:])
            return
        _, at = varint(body, at)
        data = body[at : at + length]
        at += length
        try:
            offset = max(offset, _offset_within(batch, data))
            record = _record(data, offset, first_ms, append_ms)
        except (ValueError, IndexError):
            record = unreadable(offset, fallback_ms, data)
        yield record
        offset += 1


def _offset_within(batch: RecordBatch, data: bytes) -> int:
    """The offset of a record. Raises IndexError, and ValueError if it is one of the records that follow the batch."""
    offset = batch.offset + offset_delta(data)
    if offset > batch.last_offset:
        raise ValueError(offset)
    return offset


def _record_length(body: bytes, at: int) -> int | None:
    """The length of the record that begins here; None if it cannot be right."""
    try:
        length, at = varint(body, at)
    except (ValueError, IndexError):
        return None
    return length if 0 < length <= len(body) - at else None


def _record(data: bytes, offset: int, first_ms: int, append_ms: int | None) -> Any:
    """Read one record; `offset` is that after the record before it. Raises ValueError and IndexError."""
    at = 1  # attributes, which are unused
    delta_ms, at = varint(data, at)
    _, at = varint(data, at)
    key, at = nullable_bytes(data, at)
    value, at = nullable_bytes(data, at)
    headers, at = _headers(data, at)
    if at != len(data):
        raise ValueError(at)
    return DefaultRecord(offset, first_ms + delta_ms if append_ms is None else append_ms, 0, key, value, headers)


def offset_delta(data: bytes) -> int:
    """The offset of a record less that of its batch. Raises ValueError and IndexError."""
    _, at = varint(data, 1)
    return varint(data, at)[0]


def _headers(data: bytes, at: int) -> tuple[list[tuple[str, bytes | None]], int]:
    headers = list[tuple[str, bytes | None]]()
    has_odd_name = False
    count, at = varint(data, at)
    for _ in range(count):
        name, at = nullable_bytes(data, at)
        value, at = nullable_bytes(data, at)
        has_odd_name |= not _is_utf8(name or b"")
        headers.append(((name or b"").decode(errors="backslashreplace"), value))
    if has_odd_name:
        # Dead letters have no such names. Clients such as librdkafka return no header at all of such a record, so that
        # `verify` would not see the origin.
        headers = [(name, value) for name, value in headers if not name.startswith(HEADER_PREFIX)]
    return headers, at


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def header_count(data: bytes | bytearray, at: int) -> int:
    """The number of headers of the record that begins here, without its length. Raises ValueError and IndexError."""
    at += 1
    for _ in range(2):
        _, at = varint(data, at)
    for _ in range(2):
        length, at = varint(data, at)
        at += max(0, length)
    return varint(data, at)[0]
