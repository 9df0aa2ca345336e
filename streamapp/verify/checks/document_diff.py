"""Whether a stored document is what its record becomes: compared as bytes, and by field only where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import bson
from bson import DatetimeMS

from streamapp.decode import document, wire_format
from streamapp.decode.document import LENIENT, EventTimes
from streamapp.decode.writer_schema import UNREGISTERED, WriterSchema
from streamapp.errors import Undecodable
from streamapp.model.record import Origin, Record

#: Which times are believable is a matter of settings, which may have been others.
_ANY_TIME = EventTimes(earliest=-(2**63), ahead=2**65)
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)
# A field of type Date. The last one is ours: only `kafka` comes after it, which holds no text but the topic's name.
_RECEIVED_AT = b"\x09received_at\x00"
_FIRST_IS_ID = b"\x02_id\x00"


def documents_in(batch: bytes) -> Iterator[bytes]:
    """The documents of a raw batch, as bytes."""
    at = 0
    while at < len(batch):
        size = int.from_bytes(batch[at : at + 4], "little")
        yield batch[at : at + size]
        at += size


def id_in(raw: bytes) -> str:
    """The `_id` of a document that has a text for it."""
    if raw[4:9] == _FIRST_IS_ID:
        return raw[13 : 12 + int.from_bytes(raw[9:13], "little")].decode(errors="replace")
    return str(bson.decode(raw, LENIENT)["_id"])


def difference(raw: bytes, record: Record, origin: Origin, schemas: Mapping[int, WriterSchema]) -> str | None:
    """What is wrong with the stored document of a record; None if nothing is. Names fields, never what they hold."""
    try:
        writer, event = wire_format.decode(record.value, schemas)
        expected = document.build(event, writer=writer, origin=origin, received_at=_SOME_TIME, times=_ANY_TIME)
    except Undecodable as exc:
        return f"stored, but its record is no event ({exc.reason})"
    if _without_time(bson.encode(expected)) == _without_time(raw):
        return None
    found = bson.decode(raw, LENIENT)
    names = [*_different(found, bson.decode(bson.encode(expected), LENIENT))]
    if names:
        return f"{', '.join(names)} differ{'s' if len(names) == 1 else ''}"
    # Of a name that stands there twice only the last is decoded, and what is no text is replaced.
    return None if bson.encode(found) == raw else "its fields differ"


def _without_time(raw: bytes) -> bytes:
    at = raw.rfind(_RECEIVED_AT) + len(_RECEIVED_AT)
    return raw[:at] + raw[at + 8 :]


def _different(found: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    for name in {**expected, **found}:
        theirs, ours = found.get(name), expected.get(name)
        if name == "received_at":
            is_same = isinstance(theirs, (datetime, DatetimeMS))
        elif name == "kafka" and isinstance(ours, dict):
            is_same = _bytes(theirs) in {_bytes(ours), _bytes({**ours, "apart": True})}
        elif name == "schema_version" and theirs == UNREGISTERED:
            is_same = True  # it may have been registered since
        else:
            is_same = (name in found) == (name in expected) and _bytes(theirs) == _bytes(ours)
        if not is_same:
            yield name


def _bytes(value: Any) -> bytes:
    return bson.encode({"": value})
