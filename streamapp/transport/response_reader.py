"""Read the records of a fetch response, so that no record stops its partition, and no batch fills the memory.

Each batch is unpacked in pieces of bounded size. The compiled kernel finds the records of a piece; without it, or where
it declines the piece, aiokafka reads them. Where aiokafka cannot read a piece, its records are read one by one. What
cannot be read becomes a record that becomes a dead letter.
"""

# aiokafka's readers are private: tests/unit/test_vendor_internals.py.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import attrgetter
from time import monotonic
from typing import Any, NamedTuple, cast

from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecord
from aiokafka.record.memory_records import MemoryRecords
from mode import get_logger

from streamapp.model.record import UNKNOWN_TIMESTAMP, BatchRecord
from streamapp.model.record_columns import Piece, RecordKernel
from streamapp.transport.batch_pieces import BatchPieces
from streamapp.transport.batch_size import MANY_HEADERS_BYTES, MAX_HEADERS, memory_sizes
from streamapp.transport.column_reader import ColumnReader, Records, joined
from streamapp.transport.lenient_records import read_leniently, unreadable
from streamapp.transport.record_batch import BatchHeader, RecordBatch, UnpackedRecords, latest_timestamp, record_batches
from streamapp.transport.unpacking import UnpackError, needs_large_window

log = get_logger(__name__)

_offset_of = attrgetter("offset")


class Taken(NamedTuple):
    """Records taken from a response."""

    #: `RecordColumns` if the kernel has found all of them.
    records: Sequence[BatchRecord]
    #: Bytes of memory.
    size: int


class ResponseReader:
    """Takes the place of aiokafka's reader of one fetch response; raises no error.

    Args:
        stock: aiokafka's reader of the response, of which nothing has been read.
        data: the bytes of the response.
        may_use_large_window: whether no other reader has a large window in memory.
        kernel: finds the records; None: aiokafka reads them.
    """

    def __init__(
        self,
        stock: PartitionRecords,
        data: bytes,
        *,
        may_use_large_window: Callable[[], bool],
        kernel: RecordKernel | None = None,
    ) -> None:
        #: The offset after the records that were taken; aiokafka compares it with its position.
        self.next_fetch_offset = stock.next_fetch_offset
        #: Whether all records were taken.
        self.has_ended = False
        #: Whether it has a large window in memory, and whether it waits until no other reader has one.
        self.has_large_window = self.is_waiting = False
        self._may_use_large_window = may_use_large_window
        self._tp = stock._tp
        self._decoder, self._columns = _Decoder(stock), ColumnReader(kernel) if kernel else None
        self._steps = self._read(data)
        self._records: Records = ()
        self._at = self._count = 0
        self._has_logged = False

    def take(self, *, max_records: int, max_bytes: int, deadline: float) -> Taken:
        """Take the next records, until they reach a limit, or until an instant of the monotonic clock.

        A call does at least one step of bounded work. It can return no record although there are more.
        """
        taken, count, size = list[Records](), 0, 0
        while not self.has_ended and count < max_records and size < max_bytes:
            if self._at == self._count:
                self._step()
            some, number, memory = self._fitting(max_records - count, max_bytes - size)
            if number:
                taken.append(some)
            count, size, self._at = count + number, size + memory, self._at + number
            if self.is_waiting or monotonic() >= deadline:
                break
        records = joined(taken)
        if self._at == self._count:
            self.next_fetch_offset = self._decoder.next_fetch_offset
        elif count:
            self.next_fetch_offset = records[-1].offset + 1
        return Taken(records, size)

    def close(self) -> None:
        """Free the memory."""
        self._steps.close()
        self._records, self._count = (), 0

    def _step(self) -> None:
        records = next(self._steps, None)
        self.has_ended = records is None
        self._records, self._at = records or (), 0
        self._count = records.record_count if isinstance(records, Piece) else len(self._records)

    def _fitting(self, max_records: int, max_bytes: int) -> tuple[Records, int, int]:
        """The next of the records until they reach a limit, their number, and their bytes of memory."""
        if isinstance(self._records, Piece):
            return cast("ColumnReader", self._columns).fitting(self._records, self._at, max_records, max_bytes)
        some = self._records[self._at : self._at + max_records]
        sizes = memory_sizes(some)
        if max(sizes, default=0) > MANY_HEADERS_BYTES:
            some = [_with_few_headers(record) for record in some]
            sizes = memory_sizes(some)
        if sum(sizes) >= max_bytes:
            reached = next(index for index, total in enumerate(accumulate(sizes, initial=0)) if total >= max_bytes)
            some, sizes = some[:reached], sizes[:reached]
        return some, len(some), sum(sizes)

    def _read(self, data: bytes) -> Generator[Records, None, None]:
        """Yield the records after each step of bounded work."""
        for batch in record_batches(data):
            self._has_logged = False
            try:
                yield from self._read_batch(batch)
            except Exception as exc:  # noqa: BLE001 - whatever a client library or a codec raises
                self._log(batch, exc)
                self.has_large_window = False
                yield self._rest(batch, latest_timestamp(batch))
            self.has_large_window = False
            self._decoder.advance(batch.last_offset + 1)

    def _read_batch(self, batch: RecordBatch) -> Iterator[Records]:
        header = batch.header
        if not batch.has_right_checksum:
            self._log(batch, CorruptRecordException())
            yield self._rest(batch, UNKNOWN_TIMESTAMP)  # none of its values can be trusted
        elif header is not None and self._decoder.skips(batch, header):
            yield ()
        elif header is None or header.is_control:
            yield self._decode(batch)
        elif needs_large_window(header.compression, batch.records):
            while not self._may_use_large_window():
                self.is_waiting = True
                yield ()
            self.is_waiting, self.has_large_window = False, True
            yield from self._read_pieces(batch, header)
        else:
            yield from self._read_pieces(batch, header)

    def _read_pieces(self, batch: RecordBatch, header: BatchHeader) -> Iterator[Records]:
        for piece in BatchPieces(batch, header, begin=self._decoder.next_fetch_offset):
            if piece is None:
                yield ()
            elif isinstance(piece, UnpackedRecords):
                yield self._find(batch, piece) or self._decode(batch.with_records(piece))
            else:
                self._log(batch, UnpackError("a record is too large or has too many headers"))
                is_due = piece.offset >= self._decoder.next_fetch_offset
                self._decoder.advance(piece.offset + 1)
                yield [piece] if is_due else ()

    def _find(self, batch: RecordBatch, records: UnpackedRecords) -> Piece | None:
        """The records of a piece; None if the kernel declines them, or if there is no kernel."""
        if self._columns is None:
            return None
        found = self._columns.find(batch, records, begin=self._decoder.next_fetch_offset)
        if found:
            self._decoder.advance(records.last_offset + 1)
        return found

    def _decode(self, piece: RecordBatch) -> Sequence[BatchRecord]:
        begin = self._decoder.next_fetch_offset
        try:
            return self._decoder.decode(piece)
        except Exception as exc:  # noqa: BLE001 - whatever a client library raises
            self._log(piece, exc)
            self._decoder.next_fetch_offset = max(begin, piece.last_offset + 1)
            return [each for each in read_leniently(piece) if begin <= each.offset <= piece.last_offset]

    def _rest(self, batch: RecordBatch, timestamp: int) -> Sequence[BatchRecord]:
        """What is left of a batch as one record, which holds the bytes of the whole batch."""
        offset = max(self._decoder.next_fetch_offset, batch.offset)
        self._decoder.advance(batch.last_offset + 1)
        return [unreadable(offset, timestamp, batch.data)] if offset <= batch.last_offset else ()

    def _log(self, batch: RecordBatch, exc: Exception) -> None:
        if self._has_logged:
            return
        self._has_logged = True
        # Without the message of the error, which can hold values of a record.
        log.warning(
            "A record batch of %s, partition %d, offsets %d to %d, cannot be read as a whole (%s). What cannot be"
            " read of it becomes a dead letter.",
            self._tp.topic,
            self._tp.partition,
            batch.offset,
            batch.last_offset,
            exc if isinstance(exc, UnpackError) else type(exc).__name__,
        )


class _Decoder(PartitionRecords):
    """Reads one batch after another with aiokafka."""

    def __init__(self, stock: PartitionRecords) -> None:
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

    def skips(self, batch: RecordBatch, header: BatchHeader) -> bool:
        """Whether no record of a batch is to be read: its transaction was aborted, or compaction has emptied it."""
        if header.is_control:
            return not header.record_count
        if not header.is_transactional or self._isolation_level != READ_COMMITTED:
            return False
        self._consume_aborted_up_to(batch.offset)
        return batch.producer_id in self._aborted_producers

    def decode(self, batch: RecordBatch) -> Sequence[BatchRecord]:
        """Return the records of a batch from the next offset on; raises whatever aiokafka raises."""
        records: list[Any]
        self._records, header, begin = MemoryRecords(batch.data), batch.header, self.next_fetch_offset
        self._check_crcs = header is None  # else the checksum was that of the whole batch
        if header is None:
            return [*self._unpack_records()]
        if header.is_transactional or header.is_control:
            records = [*self._unpack_records()]
        else:
            stock: Any = self._records.next_batch()
            records = [*stock]
        if [*map(_offset_of, records)] != [*range(begin, begin + len(records))]:
            records = [*_ascending(records, begin)]
        if records and records[-1].offset > batch.last_offset:
            message = "a record has an offset beyond its batch"
            raise UnpackError(message)
        self.next_fetch_offset = max(begin, batch.last_offset + 1)
        return records

    def advance(self, offset: int) -> None:
        """Leave out the records before an offset."""
        self.next_fetch_offset = max(self.next_fetch_offset, offset)

    def _consumer_record(self, tp: Any, record: Any) -> Any:  # noqa: ARG002 - aiokafka's signature
        """Return the record as it was decoded, in place of a larger copy; old message formats have no timestamp."""
        if record.timestamp is not None:
            return record
        return DefaultRecord(record.offset, UNKNOWN_TIMESTAMP, 0, record.key, record.value, [])


def _ascending(records: Iterable[Any], begin: int) -> Iterator[Any]:
    """Leave out records before an offset, and those whose offset is not above that of the one before."""
    for record in records:
        if record.offset >= begin:
            begin = record.offset + 1
            yield record


def _with_few_headers(record: BatchRecord) -> BatchRecord:
    """The record that becomes a dead letter, in place of one with too many headers."""
    if len(record.headers) <= MAX_HEADERS:
        return record
    return unreadable(record.offset, record.timestamp, record.value or b"")
