"""Records as columns are a sequence like a list of them."""

from __future__ import annotations

import pytest

from streamapp.model import record_columns
from streamapp.model.record_columns import ROW, ColumnRecord, Piece, RecordColumns

KEY, VALUE = b"key", b"value"
#: A header whose value is null, and one that is not ASCII.
HEADERS = b"\x02n\x01" + b"\x04\xc3\xa4\x02v"
DATA = KEY + VALUE + HEADERS


def piece(*offsets: int, header_count: int = 0) -> Piece:
    """Return records with these offsets."""
    rows = [ROW.pack(each, each * 10, 0, 3, 3, 5, 8, header_count, 300) for each in offsets]
    return Piece(DATA, b"".join(rows), header_count > 0)


def plain(offset: int) -> ColumnRecord:
    """Return the record with this offset."""
    return ColumnRecord(offset, offset * 10, KEY, VALUE, ())


COLUMNS = RecordColumns([piece(1, 2, 3), piece(5), piece(6, 7)])
LIST = [plain(each) for each in (1, 2, 3, 5, 6, 7)]


def test_it_is_a_sequence() -> None:
    """Each index and each range is that of a list."""
    assert ([*COLUMNS], len(COLUMNS)) == (LIST, 6)
    assert [COLUMNS[index] for index in range(-6, 6)] == [LIST[index] for index in range(-6, 6)]
    for begin in range(-7, 8):
        for end in range(-7, 8):
            assert [*COLUMNS[begin:end]] == LIST[begin:end]
            assert [*COLUMNS[begin:end:2]] == LIST[begin:end:2]
    for index in (-7, 6):
        with pytest.raises(IndexError):
            COLUMNS[index]


def test_a_part_has_no_piece_without_records() -> None:
    """So that their bytes can be freed."""
    part = COLUMNS[3:5]

    assert isinstance(part, RecordColumns)
    assert [1, 1] == [each.record_count for each in part.pieces]


def test_without_records() -> None:
    """It is false, like any empty sequence."""
    assert not RecordColumns([])
    assert [] == [*RecordColumns([])[:3]]


def test_null_and_headers() -> None:
    """A name has the characters that were sent."""
    rows = ROW.pack(1, 10, 0, -1, 0, -1, 8, 2, 300)

    (record,) = RecordColumns([Piece(DATA, rows, has_headers=True)])

    assert (None, None) == (record.key, record.value)
    assert [("n", None), ("ä", b"v")] == record.headers


def test_of_columns_and_of_lists() -> None:
    """Offsets and records with headers."""
    columns = RecordColumns([piece(1), piece(2, header_count=2)])

    for records in (columns, [*columns]):
        assert [1, 2] == record_columns.offsets(records)
        assert [2] == [each.offset for each in record_columns.with_headers(records)]
