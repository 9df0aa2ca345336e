"""The text of a field's value, by which events are counted, filtered and shown.

A field such as `browser` may have any type in a writer's schema. Its text depends on the stored value only: the value
before it is stored and after it is read from MongoDB has the same text, whatever Python type the driver gives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import InvalidOperation
from typing import Any

from bson import DatetimeMS, Decimal128
from bson.errors import BSONError
from bson.int64 import Int64

#: Bytes of a binary value that are in its text; the rest is "…".
_MAX_BYTES = 40
#: Characters of an array or a document after which its text ends.
_MAX_CHARACTERS = 100
_BOOLEANS = {"true": True, "false": False}


def text_of(value: object) -> str | None:
    """The text of a value in a document; None for null.

    date: UTC in ISO 8601 with milliseconds, or milliseconds since the epoch where the year does not have four digits.
    boolean: as in JSON. binary: hexadecimal. array, document: the texts of the first items.
    """
    if value is None or type(value) is str:
        return value
    for types, text in _TEXTS.items():
        if isinstance(value, types):
            return text(value)
    return str(value)


def values_of(text: str) -> list[Any]:
    """Stored values with this text, for a filter: the text itself, and values of other types."""
    return [text, *_others(text)]


def _others(text: str) -> Iterator[Any]:
    if text in _BOOLEANS:
        yield _BOOLEANS[text]
    with suppress(ValueError):
        if -(2**63) <= int(text) < 2**63:
            yield Int64(text)
            yield DatetimeMS(int(text))
    with suppress(ValueError):
        yield float(text)
    with suppress(ValueError, InvalidOperation, BSONError):
        yield Decimal128(text)
    with suppress(ValueError):
        yield bytes.fromhex(text)
    with suppress(ValueError):
        yield datetime.fromisoformat(text)


def _text_of_date(value: datetime | DatetimeMS) -> str:
    at = value if isinstance(value, DatetimeMS) else DatetimeMS(value)
    with suppress(ValueError, OverflowError, BSONError):
        return f"{at.as_datetime().replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    return str(int(at))


def _text_of_binary(value: bytes) -> str:
    return value[:_MAX_BYTES].hex() + ("…" if len(value) > _MAX_BYTES else "")


def _text_of_document(value: Mapping[str, Any]) -> str:
    return f"{{{_joined(f'{name[:_MAX_CHARACTERS]!r}: {_item(each)}' for name, each in value.items())}}}"


def _text_of_array(value: Sequence[Any]) -> str:
    return f"[{_joined(map(_item, value))}]"


def _joined(items: Iterable[str]) -> str:
    """The first items: an array may have a million."""
    texts, size = list[str](), 0
    for item in items:
        texts.append(item)
        size += len(item)
        if size > _MAX_CHARACTERS:
            return ", ".join([*texts, "…"])
    return ", ".join(texts)


def _item(value: object) -> str:
    return repr(value[:_MAX_CHARACTERS]) if isinstance(value, str) else text_of(value) or "null"


_TEXTS: Mapping[Any, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    (datetime, DatetimeMS): _text_of_date,
    bytes: _text_of_binary,
    Mapping: _text_of_document,
    list: _text_of_array,
}
