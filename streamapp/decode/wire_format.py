"""Wire bytes ↔ event, in Confluent's format: byte 0, schema id (4 bytes, big endian), Avro body. No network."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import fastavro

from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.event import Event, Schema
from streamapp.model.record import Reason

MAGIC_BYTE = 0
HEADER = struct.Struct(">bi")

#: Those of short texts, as Avro writes them.
_LENGTHS = [bytes([2 * length]) for length in range(64)]


def schema_id_of(value: bytes | None) -> int:
    """The schema id on the wire; negative ids exist in no registry.

    Raises:
        Undecodable: no value, or no header.
    """
    if value is None:
        raise Undecodable(Reason.TOMBSTONE, "the record has no value")
    if not value:
        raise Undecodable(Reason.EMPTY, "the value has no bytes")
    if value[0] != MAGIC_BYTE:
        raise Undecodable(Reason.BAD_MAGIC_BYTE, f"the first byte is {value[0]}, not {MAGIC_BYTE}")
    if len(value) < HEADER.size:
        raise Undecodable(Reason.TRUNCATED, f"{len(value)} bytes are too few for magic byte and schema id")
    return HEADER.unpack_from(value)[1]


def decode(value: bytes | None, schemas: Mapping[int, WriterSchema]) -> tuple[WriterSchema, Event]:
    """The event in `value`, and the schema it was written with, out of all that exist.

    Raises:
        Undecodable: no header, no such schema, or see `read`.
    """
    schema_id = schema_id_of(value)
    writer = schemas.get(schema_id)
    if writer is None:
        raise Undecodable(Reason.UNKNOWN_SCHEMA_ID, f"the registry knows no schema {schema_id}")
    return writer, read(cast("bytes", value), writer)


def read(value: bytes, writer: WriterSchema) -> Event:
    """The event in `value`, as values that MongoDB stores.

    Raises:
        Undecodable: the body does not fit the writer schema, or the schema is no event's.
    """
    if writer.problem:
        raise Undecodable(Reason.INCOMPATIBLE_SCHEMA, f"schema {writer.schema_id}: {writer.problem}")
    body = io.BytesIO(value)
    body.seek(HEADER.size)
    try:
        event = writer.reader(body, writer.reading, None)
    except Exception as exc:  # bytes from outside may break the reader in any way
        # fastavro's IndexError: the bytes end within a number.
        if isinstance(exc, EOFError) or (isinstance(exc, IndexError) and body.tell() == len(value)):
            raise Undecodable(Reason.TRUNCATED, f"the body ends early for schema {writer.schema_id}") from exc
        raise Undecodable(Reason.UNDECODABLE, f"{type(exc).__name__}: {exc}") from exc
    if body.tell() != len(value):
        # Written with another schema than its id says: what was read is not what was meant.
        raise Undecodable(Reason.UNDECODABLE, f"{len(value) - body.tell()} bytes are left over after the body")
    return event


def write(event: Mapping[str, Any], *, schema: Schema, schema_id: int) -> bytes:
    """The wire bytes of `event`, written with `schema` (as fastavro parsed it)."""
    out = io.BytesIO()
    out.write(HEADER.pack(MAGIC_BYTE, schema_id))
    fastavro.schemaless_writer(out, schema, event)
    return out.getvalue()


class EventCodec:
    """Events of our own two versions to wire bytes and back; whoever knows the registry tells their ids."""

    def __init__(self, ours: Mapping[int, WriterSchema] | None = None) -> None:
        self.know(ours or {})

    def know(self, ours: Mapping[int, WriterSchema]) -> None:
        """Learn under which ids our versions (1, 2) are registered; comes before the first event."""
        self._ours = {version: (_parsed(version), writer.schema_id) for version, writer in ours.items()}
        self._is_plain = {version: _is_plain(version, schema) for version, (schema, _) in self._ours.items()}
        self._by_id = {writer.schema_id: writer for writer in ours.values()}

    def dumps(self, event: Event) -> bytes:
        """The wire bytes of an event, which is of version 2 if it has a browser."""
        version = 2 if "browser" in event else 1
        schema, schema_id = self._ours[version]
        if self._is_plain[version]:
            try:
                return HEADER.pack(MAGIC_BYTE, schema_id) + _body(event)
            except (AttributeError, LookupError, TypeError, ValueError):
                pass  # fastavro has words for it, or takes it
        return write(event, schema=schema, schema_id=schema_id)

    def loads(self, value: bytes) -> Event:
        """The event in `value`; raises Undecodable, and KeyError for a schema of others."""
        return read(value, self._by_id[schema_id_of(value)])


def _is_plain(version: int, schema: Schema) -> bool:
    """Whether a schema is still the one that `_body` writes: somebody may have changed it."""
    probe = {"user_id": "u", "event_type": "e", "event_timestamp": 2**40, "metadata": {"device": "d", "location": "l"}}
    probes = [probe] if version == 1 else [{**probe, "browser": "b"}, {**probe, "browser": None}]
    try:
        return all(write(each, schema=schema, schema_id=0)[HEADER.size :] == _body(each) for each in probes)
    except Exception:  # noqa: BLE001 - fastavro has many ways to say that a schema is another one
        return False


def _body(event: Event) -> bytes:
    """The Avro body of an event of ours, several times as fast as fastavro; raises where that has to look at it."""
    at, metadata = 2 * event["event_timestamp"], event["metadata"]
    if not 1 << 35 <= at < 1 << 42:  # a number of six bytes, from 1970-07-18 to 2039-09-07
        raise ValueError
    parts = (
        _text(event["user_id"]),
        _text(event["event_type"]),
        bytes(
            (
                at & 127 | 128,
                at >> 7 & 127 | 128,
                at >> 14 & 127 | 128,
                at >> 21 & 127 | 128,
                at >> 28 & 127 | 128,
                at >> 35,
            )
        ),
        _text(metadata["device"]),
        _text(metadata["location"]),
        _or_null(event["browser"]) if "browser" in event else b"",
    )
    return b"".join(parts)


@lru_cache(1_000)  # there are few different ones
def _text(text: str) -> bytes:
    encoded = text.encode()
    return _LENGTHS[len(encoded)] + encoded


def _or_null(text: str | None) -> bytes:
    return b"\0" if text is None else b"\2" + _text(text)


def _parsed(version: int) -> Schema:
    return fastavro.parse_schema(event.schema(version), named_schemas={})
