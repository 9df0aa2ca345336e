"""The record batches of a fetch response.

Source: Kafka documentation, "Message Format".
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from aiokafka.record.util import calc_crc32c

from streamapp.model.record import UNKNOWN_TIMESTAMP

#: Base offset, length of what follows, leader epoch, magic.
_START = Struct(">qiib")
_LENGTH, _LENGTH_END = Struct(">i"), 12
#: Attributes, last offset delta, first timestamp, maximum timestamp, producer (14 bytes), number of records.
_HEADER = Struct(">hiqq14xi")
_HEADER_BEGIN, _RECORDS_BEGIN = 21, 61
_ATTRIBUTES, _COUNT, _COUNT_BEGIN = Struct(">hi"), Struct(">i"), 57
_PRODUCER_ID, _PRODUCER_ID_BEGIN = Struct(">q"), 43
_FIRST_MAGIC_WITH_HEADERS = 2
_CODEC_MASK, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20


class BatchHeader(NamedTuple):
    """What a record batch says of its records."""

    attributes: int
    #: Offset of the last record, less that of the first.
    last_delta: int
    #: Milliseconds since the epoch.
    first_ms: int
    last_ms: int
    record_count: int

    @property
    def compression(self) -> int:
        """The codec of the records, see `streamapp.transport.unpacking`; 0 for none."""
        return self.attributes & _CODEC_MASK

    @property
    def append_ms(self) -> int | None:
        """The timestamp of all records if the broker has set it, else None."""
        return self.last_ms if self.attributes & _LOG_APPEND_TIME else None

    @property
    def is_transactional(self) -> bool:
        """Whether it belongs to a transaction, which can be aborted."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """Whether it ends a transaction, and has no record of a producer."""
        return bool(self.attributes & _CONTROL)


class UnpackedRecords(NamedTuple):
    """Some records of a batch, without compression."""

    data: bytes
    record_count: int
    #: The offset of the first one, if nothing in it says another.
    first_offset: int
    #: The largest offset that one of them can have.
    last_offset: int


class RecordBatch(NamedTuple):
    """One record batch: the records that a producer sent together."""

    #: The offset to which the offsets in its records are added.
    offset: int
    #: Version of the message format.
    magic: int
    data: bytes
    #: The offset of its first record, if nothing in the record says another.
    first_offset: int
    #: None if it has an older message format.
    header: BatchHeader | None

    @classmethod
    def of(cls, offset: int, magic: int, data: bytes, first_offset: int) -> RecordBatch:
        """The batch in these bytes."""
        if magic < _FIRST_MAGIC_WITH_HEADERS or len(data) < _RECORDS_BEGIN:
            return cls(offset, magic, data, first_offset, None)
        return cls(offset, magic, data, first_offset, BatchHeader(*_HEADER.unpack_from(data, _HEADER_BEGIN)))

    @property
    def last_offset(self) -> int:
        """The offset of the last record, as its header says; its own offset where there is no such header."""
        return self.offset if self.header is None else self.offset + max(0, self.header.last_delta)

    @property
    def producer_id(self) -> int:
        """The id of an idempotent or transactional producer; for a batch with a header."""
        return _PRODUCER_ID.unpack_from(self.data, _PRODUCER_ID_BEGIN)[0]

    @property
    def records(self) -> bytes:
        """The records, which can be compressed."""
        return self.data[_RECORDS_BEGIN:]

    @property
    def has_right_checksum(self) -> bool:
        """Whether the bytes are those that the producer sent; batches of older formats have no such checksum."""
        if self.header is None:
            return True
        return calc_crc32c(self.data[_HEADER_BEGIN:]) == int.from_bytes(self.data[_HEADER_BEGIN - 4 : _HEADER_BEGIN])

    def with_records(self, records: UnpackedRecords) -> RecordBatch:
        """The batch with some of its records, uncompressed; its checksum is wrong."""
        start = bytearray(self.data[:_RECORDS_BEGIN])
        attributes, _ = _ATTRIBUTES.unpack_from(start, _HEADER_BEGIN)
        _LENGTH.pack_into(start, _LENGTH_END - _LENGTH.size, _RECORDS_BEGIN - _LENGTH_END + len(records.data))
        _ATTRIBUTES.pack_into(start, _HEADER_BEGIN, attributes & ~_CODEC_MASK, records.last_offset - self.offset)
        _COUNT.pack_into(start, _COUNT_BEGIN, records.record_count)
        return self.of(self.offset, self.magic, bytes(start) + records.data, records.first_offset)


def record_batches(data: bytes) -> Iterator[RecordBatch]:
    """Yield the complete batches of a fetch response; the broker may cut the last one."""
    at = 0
    while at + _START.size <= len(data):
        offset, length, _, magic = _START.unpack_from(data, at)
        end = at + _LENGTH_END + length
        if end > len(data) or length < 0:
            return
        yield RecordBatch.of(offset, magic, data[at:end], offset)
        at = end


def latest_timestamp(batch: RecordBatch) -> int:
    """The latest timestamp of its records in milliseconds since the epoch; UNKNOWN_TIMESTAMP without a header."""
    header = batch.header
    return UNKNOWN_TIMESTAMP if header is None else header.last_ms
