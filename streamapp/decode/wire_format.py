"""Wire bytes ↔ event, in Confluent's format: byte 0, schema id (4 bytes, big endian), Avro body. No network."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any, cast

import fastavro

from streamapp.decode import encoder
from streamapp.decode.body_reader import DecodedBody
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.event import Event, Schema
from streamapp.model.record import UNREADABLE, Reason
from streamapp.model.user_event import OPTIONAL

MAGIC_BYTE = 0
HEADER = struct.Struct(">bi")


def schema_id_of(value: bytes | None) -> int:
    """The schema id in the header of `value`.

    Raises:
        Undecodable: no value, or no valid header.
    """
    if value is None:
        raise Undecodable(Reason.TOMBSTONE, "the record has no value")
    if not value:
        raise Undecodable(Reason.EMPTY, "the value has no bytes")
    if value.startswith(UNREADABLE):
        raise Undecodable(
            Reason.BAD_MAGIC_BYTE,
            f"the first byte is {value[0]}, not {MAGIC_BYTE}; the worker writes it before the bytes of what it cannot"
            " read, such as a damaged batch: see the warning for this offset in its log",
        )
    if value[0] != MAGIC_BYTE:
        raise Undecodable(Reason.BAD_MAGIC_BYTE, f"the first byte is {value[0]}, not {MAGIC_BYTE}")
    if len(value) < HEADER.size:
        raise Undecodable(Reason.TRUNCATED, f"{len(value)} bytes are too few for magic byte and schema id")
    return HEADER.unpack_from(value)[1]


def decode(value: bytes | None, schemas: Mapping[int, WriterSchema]) -> tuple[WriterSchema, Event]:
    """The event in `value` and its writer schema, one of `schemas`.

    Raises:
        Undecodable: see `writer_of` and `build`.
    """
    writer = writer_of(value, schemas)
    return writer, read(cast("bytes", value), writer)


def writer_of(value: bytes | None, schemas: Mapping[int, WriterSchema]) -> WriterSchema:
    """The writer schema of `value`, one of `schemas`.

    Raises:
        Undecodable: no header, or a schema id that is not in `schemas`.
    """
    schema_id = schema_id_of(value)
    writer = schemas.get(schema_id)
    if writer is None:
        raise Undecodable(Reason.UNKNOWN_SCHEMA_ID, f"the registry knows no schema {schema_id}")
    return writer


def read(value: bytes, writer: WriterSchema) -> Event:
    """The event in `value`, as values that MongoDB stores.

    Raises:
        Undecodable: see `build`.
    """
    return build(value, writer).value


def build(value: bytes, writer: WriterSchema) -> DecodedBody:
    """The event in `value`, as values that MongoDB stores, and about how many bytes of memory they take.

    Raises:
        Undecodable: the body does not match the writer schema, or the schema is not one of events.
    """
    try:
        return writer.read(value, HEADER.size)
    except Undecodable as exc:
        raise Undecodable(exc.reason, f"schema {writer.schema_id}: {exc}", built=exc.built) from None


def write(event: Mapping[str, Any], *, schema: Schema, schema_id: int) -> bytes:
    """The wire bytes of `event`, written with `schema` (as fastavro parsed it)."""
    out = io.BytesIO()
    out.write(HEADER.pack(MAGIC_BYTE, schema_id))
    fastavro.schemaless_writer(out, schema, event)
    return out.getvalue()


class EventCodec:
    """Encodes and decodes events of the versions that streamapp registers."""

    def __init__(self, ours: Mapping[int, WriterSchema] | None = None) -> None:
        self.know(ours or {})

    def know(self, ours: Mapping[int, WriterSchema]) -> None:
        """Set the registered schemas, by version; must be called before the first event."""
        self._ours = {version: (_parsed(version), writer.schema_id) for version, writer in ours.items()}
        self._encoders = {version: encoder.compiled(event.schema(version)) for version in ours}
        self._by_id = {writer.schema_id: writer for writer in ours.values()}

    def dumps(self, event: Event) -> bytes:
        """The wire bytes of an event, written with the first version that has all its fields."""
        version = version_of(event)
        schema, schema_id = self._ours[version]
        if encode := self._encoders[version]:
            try:
                return HEADER.pack(MAGIC_BYTE, schema_id) + encode(event)
            except (AttributeError, LookupError, TypeError, ValueError):
                pass  # fastavro encodes the event or reports the error
        return write(event, schema=schema, schema_id=schema_id)

    def loads(self, value: bytes) -> Event:
        """The event in `value`.

        Raises:
            Undecodable: see `read`.
            KeyError: written with the schema of another program.
        """
        return read(value, self._by_id[schema_id_of(value)])


def version_of(event: Mapping[str, Any]) -> int:
    """The first version of the schema that has all fields of an event."""
    for path, since in _ADDED:
        if path in event:
            return since
    return 1


#: Fields that came after version 1, and their versions, the latest first.
_ADDED = sorted(((field.path, field.since) for field in OPTIONAL), key=lambda added: -added[1])


def _parsed(version: int) -> Schema:
    return fastavro.parse_schema(event.schema(version), named_schemas={})
