"""Split the records of a batch into pieces of bounded size, however many bytes they unpack to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from streamapp.model.record import BatchRecord
from streamapp.model.record_format import varint
from streamapp.transport.batch_size import MAX_HEADERS
from streamapp.transport.lenient_records import header_count, offset_delta, unreadable
from streamapp.transport.record_batch import BatchHeader, RecordBatch, UnpackedRecords
from streamapp.transport.unpacking import CHUNK_BYTES, UnpackError, unpacked

#: Records of a piece, at the most. It has as many bytes as a chunk, and those of the last record that begins there.
MAX_PIECE_RECORDS = 4_000
#: No event is as large as that: MongoDB stores documents of 16 MB. A larger record becomes a dead letter.
MAX_RECORD_BYTES = 32 * 1024 * 1024
#: Of a record with more bytes the headers are counted before they are read.
_LARGE_RECORD_BYTES = 64 * 1024
#: Bytes that the dead letter of such a record has of it.
_KEPT_BYTES = 1024


class BatchPieces:
    """Iterates over the pieces of one batch; each step does a bounded amount of work.

    A step yields a piece, None if there is no complete record yet, or, of a record that is too large, the record that
    becomes its dead letter. It raises whatever the library of a codec raises, and UnpackError if the records end early.
    """

    def __init__(self, batch: RecordBatch, header: BatchHeader, *, begin: int) -> None:
        self._batch = batch
        self._header = header
        #: Records before this offset are left out.
        self._begin = begin
        self._chunks = unpacked(header.compression, batch.records)
        self._bytes = bytearray()
        #: The offset after the records so far.
        self.next_offset = batch.offset

    def __iter__(self) -> Iterator[UnpackedRecords | BatchRecord | None]:
        chunks = [*islice(self._chunks, 2)]
        left = self._header.record_count
        is_small = len(chunks) < 2 and left <= MAX_PIECE_RECORDS  # noqa: PLR2004 - there is one chunk at the most
        if is_small:
            yield UnpackedRecords(b"".join(chunks), left, self._batch.offset, self._batch.last_offset)
            return
        self._bytes += b"".join(chunks)
        while left > 0:
            count, size, last = _complete_records(self._bytes, min(left, MAX_PIECE_RECORDS))
            left -= count
            if count:
                yield self._piece(count, size, last)
            elif size > MAX_RECORD_BYTES or (0 < size <= len(self._bytes)):
                left -= 1
                yield from self._too_large(size)
            else:
                self._read_chunk()
                yield None

    def _piece(self, count: int, size: int, last: int) -> UnpackedRecords | None:
        """Take records of so many bytes, of which the last one begins at `last`."""
        records, last_record = bytes(self._bytes[:size]), bytes(self._bytes[last : last + _KEPT_BYTES])
        del self._bytes[:size]
        first_offset, last_offset = self.next_offset, self._offset(last_record, self.next_offset + count - 1)
        self.next_offset = last_offset + 1
        if last_offset < self._begin:
            return None
        return UnpackedRecords(records, count, first_offset, last_offset)

    def _too_large(self, size: int) -> Iterator[BatchRecord | None]:
        """Pass over a record of so many bytes, its length included, in steps."""
        while len(self._bytes) < _KEPT_BYTES:  # of the record there are more
            self._read_chunk()
        _, at = varint(self._bytes, 0)
        start = bytes(self._bytes[at:_KEPT_BYTES])
        while size > len(self._bytes):
            size -= len(self._bytes)
            self._bytes.clear()
            self._read_chunk()
            yield None
        del self._bytes[:size]
        offset = self._offset(start, self.next_offset)
        self.next_offset = offset + 1
        yield unreadable(offset, self._header.last_ms, start) if offset >= self._begin else None

    def _offset(self, record: bytes, otherwise: int) -> int:
        """The offset in the first bytes of a record, within the batch."""
        try:
            offset = self._batch.offset + offset_delta(record)
        except (ValueError, IndexError):
            offset = otherwise
        return min(max(self.next_offset, offset), self._batch.last_offset)

    def _read_chunk(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            message = "the records end early"
            raise UnpackError(message)
        self._bytes += chunk


def _complete_records(data: bytearray, limit: int) -> tuple[int, int, int]:
    """Find the complete records at the beginning.

    Returns:
        Their number, their bytes, and where the last one begins, without its length. If there is none, the bytes of the
        first record, 0 if they are not known yet; they are complete only if it has too many headers.

    Raises:
        UnpackError: there is no record at the beginning.
    """
    at = count = last = 0
    size = len(data)
    while count < limit and at < CHUNK_BYTES:
        try:
            zigzag, begin = data[at], at + 1
            if zigzag < 0x80:  # noqa: PLR2004 - the bit that says that more bytes follow
                pass
            elif (second := data[begin]) < 0x80:  # noqa: PLR2004 - likewise
                zigzag, begin = zigzag & 0x7F | second << 7, at + 2
            else:
                length, begin = varint(data, at)
                zigzag = max(0, 2 * length)
        except IndexError:
            break
        except ValueError:
            zigzag, begin = 0, at
        if zigzag & 1 or not zigzag:
            if count:
                break
            message = "a record has an invalid length"
            raise UnpackError(message)
        end = begin + (zigzag >> 1)
        if end > size or (zigzag > 2 * _LARGE_RECORD_BYTES and _has_too_many_headers(data, begin)):
            return (count, at, last) if count else (0, end, 0)
        at, last = end, begin
        count += 1
    return count, at, last


def _has_too_many_headers(data: bytearray, at: int) -> bool:
    try:
        return header_count(data, at) > MAX_HEADERS
    except (ValueError, IndexError):
        return False  # no record; the readers of records find out
