"""Compare a stored document with its record: as bytes first, by field only if the bytes differ."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import bson
from bson import DatetimeMS

from streamapp.decode import document, identity, wire_format
from streamapp.decode.document import LENIENT, EventTimes
from streamapp.decode.writer_schema import UNREGISTERED, WriterSchema
from streamapp.errors import Undecodable
from streamapp.model.record import Origin, Record
from streamapp.model.stored_headers import header_name, stored_headers
from streamapp.verify.checks.shape_history import ShapeHistory

#: A schema id and its version label.
SchemaVersion = tuple[int, str]

#: No limits: the settings may have had other limits when the document was stored.
_ANY_TIME = EventTimes(earliest=-(2**63), ahead=2**65)
_AS_WRITTEN = ShapeHistory()
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)
# A field of type Date. Its last occurrence is the top-level field: the only field after it, `kafka`, has no other text
# than the topic name, and headers at its end.
_RECEIVED_AT = b"\x09received_at\x00"
_FIRST_IS_ID = b"\x02_id\x00"


def documents_in(batch: bytes) -> Iterator[bytes]:
    """Split a raw batch into BSON documents."""
    at = 0
    while at < len(batch):
        size = int.from_bytes(batch[at : at + 4], "little")
        yield batch[at : at + size]
        at += size


def id_in(raw: bytes) -> str:
    """Return the `_id` of a BSON document as text."""
    if raw[4:9] == _FIRST_IS_ID:
        return raw[13 : 12 + int.from_bytes(raw[9:13], "little")].decode(errors="replace")
    return str(bson.decode(raw, LENIENT)["_id"])


def difference(  # noqa: PLR0913 - what is compared, and what is known of it
    raw: bytes,
    record: Record,
    origin: Origin,
    schemas: Mapping[int, WriterSchema],
    noted: Container[object] = (),
    *,
    history: ShapeHistory = _AS_WRITTEN,
) -> str | None:
    """Return how a stored document differs from its record, by field names without values; None if they are equal.

    Args:
        raw: the document.
        record: what Kafka holds.
        origin: the record's first coordinates.
        schemas: what the registry has now.
        noted: the SchemaVersions that workers have seen in the registry.
        history: the shapes that the document may have.
    """
    expected = b""
    try:
        writer = wire_format.writer_of(record.value, schemas)
        headers = _expected_headers(raw, record) if record.headers else {}
        size = len(bson.encode(headers))
        for variant in history.variants(writer):
            expected = _expected(raw, record, origin, variant, headers)
            if _without_time(expected, size) == _without_time(raw, size):
                return None
    except Undecodable as exc:
        return f"stored, but the record is not an event ({exc.reason})"
    found = bson.decode(raw, LENIENT)
    names = [*_different(history.as_written(found, writer), bson.decode(expected, LENIENT), noted)]
    if names:
        return f"{', '.join(names)} differ{'s' if len(names) == 1 else ''}"
    # Decoding hides a duplicate field name, of which it keeps the last, and invalid UTF-8, which it replaces.
    return None if bson.encode(found) == raw else "the fields differ"


def _expected_headers(raw: bytes, record: Record) -> Mapping[str, str]:
    """The headers that a document should have: the setting of the worker that stored it says which, so it may have any.

    A header that it has must be that of the record.
    """
    fields = _headers_of(bson.decode(raw, LENIENT).get("kafka"))
    return stored_headers(record.headers, {header_name(field): field for field in fields})


def _headers_of(kafka: object) -> Mapping[str, Any]:
    headers = cast("Any", kafka).get("headers") if isinstance(kafka, dict) else None
    return cast("dict[str, Any]", headers) if isinstance(headers, dict) else {}


def _expected(raw: bytes, record: Record, origin: Origin, writer: WriterSchema, headers: Mapping[str, str]) -> bytes:
    event = wire_format.read(cast("bytes", record.value), writer)
    expected = document.build(
        event, writer=writer, origin=origin, received_at=_SOME_TIME, times=_ANY_TIME, headers=headers
    )
    return bson.encode(expected if id_in(raw) == expected["_id"] else identity.with_id_of_its_own(expected))


def id_of_its_own(record: Record, origin: Origin, schemas: Mapping[int, WriterSchema]) -> str | None:
    """The `_id` of an event whose usual one belongs to another event; None if the record is not an event.

    Kafka gave its offset to another record before: see `streamapp.decode.identity`.
    """
    try:
        writer, event = wire_format.decode(record.value, schemas)
        came = document.build(event, writer=writer, origin=origin, received_at=_SOME_TIME, times=_ANY_TIME)
    except Undecodable:
        return None
    return identity.with_id_of_its_own(came)["_id"]


def _without_time(raw: bytes, headers_size: int) -> bytes:
    at = raw.rfind(_RECEIVED_AT, 0, len(raw) - headers_size) + len(_RECEIVED_AT)
    return raw[:at] + raw[at + 8 :]


def has_lost_schema(
    raw: bytes,
    record: Record,
    origin: Origin,
    schemas: Mapping[int, WriterSchema],
    noted: Mapping[SchemaVersion, str | None],
) -> bool:
    """Whether the registry no longer has the schema of a stored document, which is right as far as can be checked.

    A registry loses a schema if its version is deleted for good, or if it is restored from an older copy. It may then
    give the id to another schema, even under the same version label. The arguments are those of `difference`; `noted`
    has the fingerprints of the schemas, None where a worker before version 0.3 noted the schema.
    """
    try:
        schema_id = wire_format.schema_id_of(record.value)
    except Undecodable:
        return False
    found = bson.decode(raw, LENIENT)
    wanted = document.kafka_part(origin, _expected_headers(raw, record))
    if found.get("schema_id") != schema_id or not _is_kafka_part(found.get("kafka"), wanted):
        return False
    now = schemas.get(schema_id)
    if now is None or now.problem:
        return True
    label = found.get("schema_version")
    if label != now.version:
        return (schema_id, label) in noted
    return noted.get((schema_id, now.version)) not in {None, now.fingerprint}


def _is_kafka_part(actual: object, wanted: Mapping[str, Any]) -> bool:
    return _bytes(actual) in {_bytes(wanted), _bytes({**wanted, "apart": True})}


def _different(found: Mapping[str, Any], expected: Mapping[str, Any], noted: Container[object]) -> Iterator[str]:
    for name in {**expected, **found}:
        actual, wanted = found.get(name), expected.get(name)
        if name == "received_at":
            is_same = isinstance(actual, (datetime, DatetimeMS))
        elif name == "kafka" and isinstance(wanted, dict):
            is_same = _is_kafka_part(actual, cast("dict[str, Any]", wanted))
        elif name == "schema_version" and (actual == UNREGISTERED or (expected["schema_id"], actual) in noted):
            is_same = True  # the version may have been registered, deleted or registered again since
        else:
            is_same = (name in found) == (name in expected) and _bytes(actual) == _bytes(wanted)
        if not is_same:
            yield name


def _bytes(value: Any) -> bytes:
    return bson.encode({"": value})
