"""A dead letter that has only a part of its record is compared by it."""

from __future__ import annotations

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streamapp.model.record import UNREADABLE
from streamapp.model.record_format import varint
from streamapp.verify.checks.cut_record import cut_record_in
from tests.support.factories import FakeRecord

#: Bytes of the header of a batch.
_BEGIN = 61


def stored(*, key: bytes | None, value: bytes | None, offset: int = 300, later_ms: int = 90_000) -> bytes:
    """Return a record as Kafka stores it, without its length, with offset and time within its batch."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 26)
    builder.append(0, 1, b"", b"", [])
    builder.append(offset, 1 + later_ms, key, value, [("name", b"x")] * 3)
    data = bytes(builder.build())
    length, begin = varint(data, _BEGIN)
    _, begin = varint(data, begin + length)
    return data[begin:]


def a_letter(start: bytes, *, key: bytes | None = None) -> FakeRecord:
    """Return the dead letter of a record with this start."""
    return FakeRecord(value=UNREADABLE + start, key=key)


@pytest.mark.parametrize("key", [None, b"", b"k" * 200])
@pytest.mark.parametrize("value", [None, b"", b"v", b"v" * 5_000])
def test_the_first_bytes_are_those_of_the_record(key: bytes | None, value: bytes | None) -> None:
    """Of any length; key, value and their lengths are compared."""
    cut = cut_record_in(a_letter(stored(key=key, value=value)))

    assert cut is not None
    assert cut.is_of(FakeRecord(value=value, key=key))
    assert not cut.is_of(FakeRecord(value=b"other", key=key))
    assert not cut.is_of(FakeRecord(value=value, key=b"other"))
    assert not cut.is_of(FakeRecord(value=(value or b"") + b"longer", key=key))


def test_no_more_than_the_first_bytes_are_compared() -> None:
    """What the dead letter does not have cannot differ."""
    cut = cut_record_in(a_letter(stored(key=None, value=b"v" * 5_000)))

    assert cut is not None
    assert cut.is_of(FakeRecord(value=b"v" * 4_999 + b"w", key=None))
    assert not cut.is_of(FakeRecord(value=b"w" + b"v" * 4_999, key=None))


@pytest.mark.parametrize("value", [b"", b"v" * 5_000])
def test_the_value_without_key_and_headers_is_that_of_the_record(value: bytes) -> None:
    """Of a record with too many headers in a small batch."""
    cut = cut_record_in(a_letter(value))

    assert cut is not None
    assert cut.is_of(FakeRecord(value=value, key=b"k"))
    assert not cut.is_of(FakeRecord(value=b"w" + value[1:], key=b"k"))
    assert not cut.is_of(FakeRecord(value=value + b"v", key=b"k"))


@pytest.mark.parametrize("letter", [a_letter(b"x", key=b"k"), FakeRecord(value=None), FakeRecord(value=b"abc")])
def test_other_dead_letters_have_their_record(letter: FakeRecord) -> None:
    assert cut_record_in(letter) is None
