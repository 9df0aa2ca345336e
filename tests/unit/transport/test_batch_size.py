"""The memory size of records, and their split into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from aiokafka.record.default_records import DefaultRecord
from hypothesis import given
from hypothesis import strategies as st

from streamapp.model.record_columns import RecordColumns
from streamapp.transport.batch_size import RECORD_OVERHEAD_BYTES, memory_sizes, split
from tests.support.columns import columns_of


@dataclass(frozen=True, slots=True)
class FakeRecord:
    """The part of a record that takes up memory."""

    value: bytes | None = b""
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


@given(st.lists(st.one_of(st.none(), st.binary(max_size=30)), max_size=60), st.integers(1, 10), st.integers(1, 100))
def test_split_keeps_order_and_limits(values: list[bytes | None], max_records: int, max_bytes: int) -> None:
    """The batches hold every record once and in order; only a batch of one record may exceed the bytes."""
    records = [FakeRecord(value=value) for value in values]

    batches = list(split(records, max_records=max_records, max_bytes=max_bytes))

    assert [record for batch in batches for record in batch] == records
    for batch in batches:
        assert 1 <= len(batch) <= max_records
        assert len(batch) == 1 or sum(len(record.value or b"") for record in batch) <= max_bytes


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (FakeRecord(b"1234", b"12"), 6),
        (FakeRecord(None), 0),
        (FakeRecord(b"", b""), 0),
        (FakeRecord(b"", b"", [("name", b"value"), ("", None)]), 2 * 150 + 9),
    ],
)
def test_memory_size_counts_key_value_headers_and_overhead(record: FakeRecord, expected: int) -> None:
    """Empty records and empty headers take up memory, too."""
    assert memory_sizes([record]) == [RECORD_OVERHEAD_BYTES + expected]


@pytest.mark.parametrize(("max_records", "max_bytes"), [(2, 100), (9, 7), (9, 1)])
def test_columns_are_split_like_objects(max_records: int, max_bytes: int) -> None:
    """Each batch has columns, too."""
    objects = [DefaultRecord(at, 0, 0, b"k", value, []) for at, value in enumerate([b"123", None, b"12345", b"", b"6"])]
    columns = columns_of(objects)

    batches = [*split(columns, max_records=max_records, max_bytes=max_bytes)]

    assert all(isinstance(batch, RecordColumns) for batch in batches)
    assert memory_sizes(columns) == memory_sizes(objects)
    assert [[each.offset for each in batch] for batch in batches] == [
        [each.offset for each in batch] for batch in split(objects, max_records=max_records, max_bytes=max_bytes)
    ]
