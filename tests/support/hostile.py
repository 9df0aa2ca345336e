"""Events that take far more memory or time than their bytes suggest, under a schema that anybody may register."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.support import foreign

#: Items of the array that expands: two bytes each, and some hundred bytes of memory.
EXPANDED = 20_000
#: Digits of a decimal, whose conversion takes quadratic time.
DECIMAL_BYTES = 100_000
#: The field has no value, or one.
_NULL, _VALUE = b"\x00", b"\x02"
#: A block of 2⁶² items, and the end of its array.
_ENDLESS = b"\x80" * 9 + b"\x01" + b"\x00"


class Sample(NamedTuple):
    """A record, and its fate: the fields of the event that is stored, or the reason of its dead letter."""

    value: bytes
    fields: Mapping[str, Any] | None
    reason: str | None = None


def schema(base: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with three more fields."""
    small = {"type": "record", "name": "Small", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}]}
    nothing = {"type": "record", "name": "Nothing", "fields": []}
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2}
    types = {
        "many": {"type": "array", "items": small},
        "price": decimal,
        "nothing": {"type": "array", "items": nothing},
    }
    more = [{"name": name, "type": ["null", type_], "default": None} for name, type_ in types.items()]
    return {**base, "fields": [*base["fields"], *more]}


def samples(values: Mapping[str, Any], written: Mapping[str, Any], schema_id: int) -> Iterator[Sample]:
    """Yield a record of each kind.

    Args:
        values: of an event.
        written: what `schema` returned.
        schema_id: its id.
    """
    many = [{"a": 1, "b": 2}] * EXPANDED
    fields = {**values, "many": many, "price": None, "nothing": None}
    yield Sample(foreign.wire(dict(fields), written, schema_id), fields)
    plain = foreign.wire({**values, "many": None, "price": None, "nothing": None}, written, schema_id)
    yield Sample(plain[:-1] + _VALUE + _ENDLESS, None, "undecodable")
    digits = _length(DECIMAL_BYTES) + b"\x7f" * DECIMAL_BYTES
    yield Sample(plain[:-2] + _VALUE + digits + _NULL, None, "refused-by-store")


def _length(number: int) -> bytes:
    left, found = number * 2, bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*found, left])
