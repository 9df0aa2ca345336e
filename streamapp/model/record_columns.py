"""Kafka records as columns: the bytes of their batches, and a row of numbers for each record.

An object for each record takes more memory and time. The compiled kernel makes the rows, see kernel/records.h, and
reads the values from them; a record becomes an object when it is asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from struct import Struct
from typing import Any, NamedTuple, Protocol

from streamapp.model.record import HEADER_PREFIX, BatchRecord
from streamapp.model.record_format import varint

#: Of a record: offset, timestamp, place and size of the key, of the value, place and number of the headers, memory.
#: Places are in the data; the size of null is -1.
ROW = Struct("=qq7i4x")
OFFSET, VALUE_SIZE, MEMORY = 0, 5, 8
_PREFIX = HEADER_PREFIX.encode()
#: The bit of a byte of an integer that says that more bytes follow; most integers of headers have one byte.
_MORE_FOLLOW = 0x80


class Piece(NamedTuple):
    """Some records of one record batch."""

    #: The bytes of the records, and perhaps of others.
    data: bytes
    #: A ROW for each record.
    rows: bytes
    has_headers: bool

    @property
    def record_count(self) -> int:
        """The number of records."""
        return len(self.rows) // ROW.size

    def part(self, begin: int, end: int) -> Piece:
        """The records from one index to another."""
        return self._replace(rows=self.rows[begin * ROW.size : end * ROW.size])


class RecordKernel(Protocol):
    """The part of the compiled kernel that finds records."""

    def records(
        self,
        data: bytes,
        count: int,
        begin: int,
        batch: tuple[int, int, int, int | None],
        memory: tuple[int, int, int],
        /,
    ) -> tuple[bytes, bool] | None:
        """The rows of records, see `ROW`, and whether any has headers; None: declined.

        Args:
            data: the uncompressed records of a record batch.
            count: how many there are.
            begin: records before this offset are left out, and those whose offset is not above the one before.
            batch: base offset, offset of the last record, first timestamp; the timestamp of all if the broker set it.
            memory: of a record, besides key and value, and of a header; records with more headers are declined.
        """
        ...

    def fitting(self, rows: bytes, begin: int, max_records: int, max_bytes: int, /) -> tuple[int, int]:
        """The number of rows from an index on until they reach a limit, and their memory."""
        ...

    def value_starts(self, pieces: tuple[Piece, ...], size: int, /) -> set[bytes]:
        """The distinct first bytes of the values, of all that have so many bytes."""
        ...


class ColumnRecord(NamedTuple):
    """A record that was asked for; see `BatchRecord`."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class RecordColumns(Sequence[BatchRecord]):
    """Records of a partition, in offset order."""

    __slots__ = ("_ends", "pieces")

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = tuple(pieces)
        self._ends = [*accumulate(piece.record_count for piece in pieces)]

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        indexes: Any = range(len(self))[index]
        if isinstance(indexes, int):
            return self._at(indexes)
        if indexes.step == 1:
            return self._part(indexes.start, indexes.stop)
        return [self._at(each) for each in indexes]

    def __iter__(self) -> Iterator[BatchRecord]:
        return (_record(piece.data, *row) for piece in self.pieces for row in ROW.iter_unpack(piece.rows))

    def column(self, number: int) -> list[int]:
        """One number of each ROW."""
        return [row[number] for piece in self.pieces for row in ROW.iter_unpack(piece.rows)]

    def _at(self, at: int) -> BatchRecord:
        number = bisect_right(self._ends, at)
        piece = self.pieces[number]
        return _record(
            piece.data, *ROW.unpack_from(piece.rows, (at - self._ends[number] + piece.record_count) * ROW.size)
        )

    def _part(self, begin: int, end: int) -> RecordColumns:
        parts, number = list[Piece](), bisect_right(self._ends, begin)
        for piece, piece_end in zip(self.pieces[number:], self._ends[number:], strict=True):
            start = piece_end - piece.record_count
            if start >= end:
                break
            parts.append(piece.part(max(0, begin - start), end - start))
        return RecordColumns([piece for piece in parts if piece.rows])


def offsets(records: Sequence[BatchRecord]) -> list[int]:
    """The offset of each record."""
    return records.column(OFFSET) if isinstance(records, RecordColumns) else [record.offset for record in records]


def with_headers(records: Sequence[BatchRecord]) -> Sequence[BatchRecord]:
    """The records that have headers."""
    if isinstance(records, RecordColumns):
        records = RecordColumns([piece for piece in records.pieces if piece.has_headers])
    return [record for record in records if record.headers]


def possible_replays(records: Sequence[BatchRecord]) -> Sequence[BatchRecord]:
    """The records that have headers, without pieces whose headers cannot have the prefix of streamapp."""
    if isinstance(records, RecordColumns):
        records = RecordColumns([piece for piece in records.pieces if _PREFIX in piece.data])
    return with_headers(records)


def _record(  # noqa: PLR0913, PLR0917 - the fields of a row
    data: bytes,
    offset: int,
    timestamp: int,
    key_at: int,
    key_size: int,
    value_at: int,
    value_size: int,
    headers_at: int,
    header_count: int,
    _memory: int,
) -> ColumnRecord:
    return ColumnRecord(
        offset,
        timestamp,
        None if key_size < 0 else data[key_at : key_at + key_size],
        None if value_size < 0 else data[value_at : value_at + value_size],
        [*_headers(data, headers_at, header_count)] if header_count else (),
    )


def _headers(data: bytes, at: int, count: int) -> Iterator[tuple[str, bytes | None]]:
    for _ in range(count):
        size, at = varint(data, at) if data[at] & _MORE_FOLLOW else (data[at] >> 1, at + 1)  # never null
        name, at = data[at : at + size].decode(), at + size
        size, at = varint(data, at) if data[at] & (_MORE_FOLLOW | 1) else (data[at] >> 1, at + 1)
        yield name, None if size < 0 else data[at : at + size]
        at += max(0, size)
