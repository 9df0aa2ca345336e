"""Add `kafka.headers` to documents that the fast path has made of records without their headers."""

from __future__ import annotations

from typing import NamedTuple

import bson

from streamapp.decode.document import LazyDocument
from streamapp.model.record import BatchRecord
from streamapp.model.stored_headers import MAX_VALUE_BYTES, HeaderFields, Headers, stored_headers

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
        #: The BSON element of `kafka.headers`, by the headers: a batch is from few clients.
        self._elements: dict[Headers, bytes] = {}
        self._constant_size = len(bson.encode({"topic": topic, "partition": partition})) + _TIMESTAMP_SIZE

    def add(self, document: LazyDocument, headers: Headers) -> None:
        """Add those of a record's headers that are stored; `kafka` is the last field, and gets this one last."""
        # What is cut off the values does not matter, and would take time to compare.
        chosen = [(name, value and value[: MAX_VALUE_BYTES + 1]) for name, value in headers if name in self._fields]
        element = self._element(tuple(chosen)) if chosen else b""
        if not element:
            return
        raw = document.raw
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

    def _element(self, headers: Headers) -> bytes:
        element = self._elements.get(headers)
        if element is None:
            found = stored_headers(headers, self._fields)
            element = self._elements[headers] = bson.encode({"headers": found})[4:-1] if found else b""
        return element


def _size(size: int) -> bytes:
    return size.to_bytes(4, "little")
