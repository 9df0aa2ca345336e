"""Read record batches that aiokafka cannot read, so that one record does not stop its partition.

Kafka does not validate everything that producers send, for example the encoding of header names. Each batch is read by
aiokafka first. Where that fails, its records are read one by one, and what is not a record becomes a record that holds
the bytes: its first byte is no magic byte of the wire format, so that it becomes a dead letter.
"""

# aiokafka's readers are private: tests/unit/test_vendor_internals.py.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from struct import Struct
from typing import Any, NamedTuple

from aiokafka import codec
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecord
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from mode import get_logger

from streamapp.model.record import HEADER_PREFIX, UNKNOWN_TIMESTAMP

log = get_logger(__name__)

#: First byte of the value of a record that could not be read; its bytes follow.
UNREADABLE = b"\xff"
#: Base offset, length of what follows, leader epoch, magic.
_START = Struct(">qiib")
_LENGTH_END = 12
#: Attributes, last offset delta, first timestamp, maximum timestamp, producer (14 bytes), number of records.
_HEADER = Struct(">hiqq14xi")
_HEADER_BEGIN, _RECORDS_BEGIN = 21, 61
_FIRST_MAGIC_WITH_HEADERS = 2
_CODEC_MASK, _LOG_APPEND_TIME, _CONTROL = 0x07, 0x08, 0x20
_DECODERS = {1: codec.gzip_decode, 2: codec.snappy_decode, 3: codec.lz4_decode, 4: codec.zstd_decode}


class RawBatch(NamedTuple):
    """One record batch of a fetch response."""

    offset: int
    magic: int
    data: bytes


def raw_batches(data: bytes) -> Iterator[RawBatch]:
    """Yield the complete batches of a fetch response; the broker may cut the last one."""
    at = 0
    while at + _START.size <= len(data):
        offset, length, _, magic = _START.unpack_from(data, at)
        end = at + _LENGTH_END + length
        if end > len(data) or length < 0:
            return
        yield RawBatch(offset, magic, data[at:end])
        at = end


def has_old_format(data: bytes) -> bool:
    """Whether a fetch response begins with a batch of a message format before version 2."""
    return len(data) >= _START.size and data[_START.size - 1] < _FIRST_MAGIC_WITH_HEADERS


class LenientRecords(PartitionRecords):
    """Replaces aiokafka's reader of one fetch response; it raises no error."""

    def __init__(self, stock: PartitionRecords, data: bytes) -> None:
        super().__init__(
            stock._tp,
            None,
            stock._aborted_transactions,
            stock.next_fetch_offset,
            key_deserializer=None,
            value_deserializer=None,
            check_crcs=True,
            isolation_level=stock._isolation_level,
        )
        self._data = data

    def _consumer_record(self, tp: Any, record: Any) -> Any:  # noqa: ARG002 - aiokafka's signature
        """Return the record as it was decoded; old message formats have no timestamp."""
        if record.timestamp is not None:
            return record
        return DefaultRecord(record.offset, UNKNOWN_TIMESTAMP, 0, record.key, record.value, [])

    def _unpack_records(self) -> Generator[Any, Any, None]:
        for batch in raw_batches(self._data):
            begin = self.next_fetch_offset
            self._records = MemoryRecords(batch.data)
            try:
                records = list(super()._unpack_records())
                end = self.next_fetch_offset
            except Exception as exc:  # noqa: BLE001 - whatever a client library raises
                found = read_leniently(batch) if _has_right_checksum(batch) else [_whole(batch, begin)]
                records = [each for each in found if each.offset >= begin]
                end = max(begin, batch.offset + 1, last_offset(batch) + 1)
                self._log(batch, end, exc)
            for record in records:
                self.next_fetch_offset = record.offset + 1
                yield record
            self.next_fetch_offset = end

    def _log(self, batch: RawBatch, end: int, exc: Exception) -> None:
        # Without the message of the error, which can hold values of a record.
        log.warning(
            "A record batch of %s, partition %d, offsets %d to %d, cannot be read as a whole (%s). Its records are read"
            " one by one; what cannot be read becomes a dead letter.",
            self._tp.topic,
            self._tp.partition,
            batch.offset,
            end - 1,
            type(exc).__name__,
        )


def last_offset(batch: RawBatch) -> int:
    """The last offset of a batch, as its header says; its offset where there is no such header."""
    if batch.magic < _FIRST_MAGIC_WITH_HEADERS or len(batch.data) < _RECORDS_BEGIN:
        return batch.offset
    _, last_delta, *_ = _HEADER.unpack_from(batch.data, _HEADER_BEGIN)
    return batch.offset + max(0, last_delta)


def read_leniently(batch: RawBatch) -> Sequence[Any]:
    """Read the records of a batch as far as possible; the rest becomes one record that holds its bytes."""
    if batch.magic < _FIRST_MAGIC_WITH_HEADERS or len(batch.data) < _RECORDS_BEGIN:
        return [_unreadable(batch.offset, UNKNOWN_TIMESTAMP, batch.data)]
    attributes, _, first_ms, last_ms, count = _HEADER.unpack_from(batch.data, _HEADER_BEGIN)
    if attributes & _CONTROL:
        return []
    body, compression = batch.data[_RECORDS_BEGIN:], attributes & _CODEC_MASK
    if compression:
        try:
            body = _DECODERS[compression](body)
        except Exception:  # noqa: BLE001 - whatever a library raises
            return [_unreadable(batch.offset, last_ms, batch.data)]
    append_ms = last_ms if attributes & _LOG_APPEND_TIME else None
    return list(_records(body, batch.offset, first_ms, append_ms, count))


def _records(body: bytes, base: int, first_ms: int, append_ms: int | None, count: int) -> Iterator[Any]:
    at, offset = 0, base
    fallback_ms = first_ms if append_ms is None else append_ms
    for _ in range(count):
        length = _record_length(body, at)
        if length is None:
            yield _unreadable(offset, fallback_ms, body[at:])
            return
        _, at = _varint(body, at)
        data = body[at : at + length]
        at += length
        try:
            offset = max(offset, base + _offset_delta(data))
            record = _record(data, offset, first_ms, append_ms)
        except (ValueError, IndexError):
            record = _unreadable(offset, fallback_ms, data)
        yield record
        offset += 1


def _record_length(body: bytes, at: int) -> int | None:
    """The length of the record that begins here; None if it cannot be right."""
    try:
        length, at = _varint(body, at)
    except (ValueError, IndexError):
        return None
    return length if 0 < length <= len(body) - at else None


def _record(data: bytes, offset: int, first_ms: int, append_ms: int | None) -> Any:
    """Read one record; `offset` is that after the record before it. Raises ValueError and IndexError."""
    at = 1  # attributes, which are unused
    delta_ms, at = _varint(data, at)
    _, at = _varint(data, at)
    key, at = _bytes(data, at)
    value, at = _bytes(data, at)
    headers, at = _headers(data, at)
    if at != len(data):
        raise ValueError(at)
    return DefaultRecord(offset, first_ms + delta_ms if append_ms is None else append_ms, 0, key, value, headers)


def _offset_delta(data: bytes) -> int:
    _, at = _varint(data, 1)
    return _varint(data, at)[0]


def _headers(data: bytes, at: int) -> tuple[list[tuple[str, bytes | None]], int]:
    headers = list[tuple[str, bytes | None]]()
    has_odd_name = False
    count, at = _varint(data, at)
    for _ in range(count):
        name, at = _bytes(data, at)
        value, at = _bytes(data, at)
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


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _varint(data, at)
    if length < 0:
        return None, at
    if at + length > len(data):
        raise ValueError(length)
    return data[at : at + length], at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a zigzag integer of at most 64 bits."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more bytes follow
            return (number >> 1) ^ -(number & 1), at
    raise ValueError(at)


def _has_right_checksum(batch: RawBatch) -> bool:
    """Whether the bytes are those that the producer sent; batches of old formats have no such checksum."""
    if batch.magic < _FIRST_MAGIC_WITH_HEADERS or len(batch.data) < _RECORDS_BEGIN:
        return True
    return calc_crc32c(batch.data[_HEADER_BEGIN:]) == int.from_bytes(batch.data[_HEADER_BEGIN - 4 : _HEADER_BEGIN])


def _whole(batch: RawBatch, begin: int) -> Any:
    """A batch with a wrong checksum as one record: none of its values can be trusted."""
    return _unreadable(max(begin, batch.offset), UNKNOWN_TIMESTAMP, batch.data)


def _unreadable(offset: int, timestamp: int, data: bytes) -> Any:
    return DefaultRecord(offset, timestamp, 0, None, UNREADABLE + data, [])
