"""Find the records of a batch with the compiled kernel, which makes no object of a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from streamapp.model.record import BatchRecord
from streamapp.model.record_columns import Piece, RecordColumns, RecordKernel
from streamapp.transport.batch_size import HEADER_OVERHEAD_BYTES, MAX_HEADERS, RECORD_OVERHEAD_BYTES
from streamapp.transport.record_batch import RecordBatch, UnpackedRecords

#: Records of one batch: objects, or a piece that the kernel has found.
Records = Sequence[BatchRecord] | Piece
#: Version of the message format that the kernel reads.
_MAGIC = 2
_MEMORY = RECORD_OVERHEAD_BYTES, HEADER_OVERHEAD_BYTES, MAX_HEADERS

#: Returns the kernel; None: aiokafka reads the records.
KernelOf = Callable[[], RecordKernel | None]


def without_kernel() -> None:
    """No kernel."""


class ColumnReader:
    """Finds records like aiokafka, or declines."""

    def __init__(self, kernel: RecordKernel) -> None:
        self._kernel = kernel

    def find(self, batch: RecordBatch, records: UnpackedRecords, *, begin: int) -> Piece | None:
        """Records of a batch from an offset on; None if the kernel declines them."""
        header = batch.header
        if batch.magic != _MAGIC or header is None:
            return None
        place = batch.offset, records.last_offset, header.first_ms, header.append_ms
        try:
            found = self._kernel.records(records.data, records.record_count, begin, place, _MEMORY)
        except OverflowError:  # an offset of more than 64 bits
            return None
        return None if found is None else Piece(records.data, *found)

    def fitting(self, piece: Piece, at: int, max_records: int, max_bytes: int) -> tuple[Piece, int, int]:
        """The records from an index on until they reach a limit, their number, and their bytes of memory."""
        number, memory = self._kernel.fitting(piece.rows, at, max_records, max_bytes)
        return piece if number == piece.record_count else piece.part(at, at + number), number, memory


def joined(parts: Sequence[Records]) -> Sequence[BatchRecord]:
    """The records of all parts; as columns if all of them are pieces."""
    pieces = [part for part in parts if isinstance(part, Piece)]
    if pieces and len(pieces) == len(parts):
        return RecordColumns(pieces)
    return [*chain.from_iterable(RecordColumns([part]) if isinstance(part, Piece) else part for part in parts)]
