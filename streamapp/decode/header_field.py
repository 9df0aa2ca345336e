"""Add `kafka.headers` to documents that the fast path has made of records without their headers."""

from __future__ import annotations

from typing import NamedTuple

import bson

from streamapp.decode.document import LazyDocument
from streamapp.model.record import BatchRecord
from streamapp.model.stored_headers import HeaderFields, Headers, stored_headers

_BEYOND_INT32 = 2**31
#: Bytes of the BSON elements `kafka.offset`, as int32 and as int64, and `kafka.timestamp`.
_INT32_SIZE, _INT64_SIZE, _TIMESTAMP_SIZE = 12, 16, 19


class BareRecord(NamedTuple):
    """What the fast path reads of a record."""

    offset: int
    timestamp: int
    value: bytes | None
    headers: tuple[()] = ()

    @classmethod
    def of(cls, record: BatchRecord) -> BareRecord:
        """The record without its headers."""
        return cls(record.offset, record.timestamp, record.value)


class HeaderField:
    """Adds the field `kafka.headers` to documents of one partition."""

    def __init__(self, fields: HeaderFields, *, topic: str, partition: int) -> None:
        self._fields = fields
        self._constant_size = len(bson.encode({"topic": topic, "partition": partition})) + _TIMESTAMP_SIZE

    def add(self, document: LazyDocument, headers: Headers) -> None:
        """Add those of a record's headers that are stored; `kafka` is the last field, and has this one last."""
        found = stored_headers(headers, self._fields)
        if not found:
            return
        raw, element = document.raw, bson.encode({"headers": found})[4:-1]
        kafka_size = self._constant_size + (_INT32_SIZE if document.offset < _BEYOND_INT32 else _INT64_SIZE)
        kafka = len(raw) - 1 - kafka_size
        document.raw = b"".join(
            (
                _size(len(raw) + len(element)),
                raw[4:kafka],
                _size(kafka_size + len(element)),
                raw[kafka + 4 : -2],
                element,
                b"\0\0",
            )
        )


def _size(size: int) -> bytes:
    return size.to_bytes(4, "little")
