"""The fast path with the compiled kernel: converts the records of a batch in one call.

Like `streamapp.decode.fast_path`, it returns the same bytes as the generic path, or declines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from streamapp.decode import document, wire_format
from streamapp.decode.document import EventTimes, LazyDocument
from streamapp.decode.fast_path import elements_of
from streamapp.decode.header_field import BareRecord, HeaderField
from streamapp.decode.kernel import Kernel
from streamapp.decode.writer_schema import WriterSchema
from streamapp.model.record import PartitionBatch
from streamapp.model.record_columns import Piece, RecordColumns
from streamapp.model.stored_headers import NO_FIELDS, HeaderFields, is_ordinary
from streamapp.model.user_event import DimensionValues

_INT64 = 2**63


class Converted(NamedTuple):
    """The documents of a batch and the schema version of each; both are None for a declined record."""

    documents: list[LazyDocument | None]
    versions: list[str | None]
    declined: int


def converted(  # noqa: PLR0913 - the records, and what decoding depends on
    kernel: Kernel,
    batch: PartitionBatch,
    schemas: Mapping[int, WriterSchema],
    *,
    times: EventTimes,
    received_at: datetime,
    header_fields: HeaderFields = NO_FIELDS,
) -> Converted | None:
    """The documents of a batch; None if the kernel declines it."""
    if batch.topic_id is None or times.ahead < 0:
        return None
    writers = {
        wire_format.HEADER.pack(wire_format.MAGIC_BYTE, schema_id): (writer.program, _after(writer, received_at))
        for schema_id, writer in schemas.items()
        if writer.program is not None
    }
    constants = (
        document.id_start(batch.topic_id, batch.partition).encode(),
        elements_of({"topic": batch.topic, "partition": batch.partition}),
        _as_int64(times.earliest),
        _as_int64(times.latest(received_at)),
        _as_int64(times.ahead),
    )

    def convert(records: list[Any] | tuple[Piece, ...]) -> Converted:
        return Converted(*kernel.documents(records, writers, constants, LazyDocument, DimensionValues))

    try:
        made = convert(batch.records.pieces if isinstance(batch.records, RecordColumns) else [*batch.records])
    except Exception:  # noqa: BLE001 - the generic path reports the error, or decodes the records
        return None
    try:
        return _with_headers(made, batch, convert, header_fields) if made.declined else made
    except Exception:  # noqa: BLE001 - as above
        return made


def _with_headers(
    made: Converted, batch: PartitionBatch, convert: Callable[[list[Any]], Converted], header_fields: HeaderFields
) -> Converted:
    """The same with the documents of records with headers: the kernel declines these, and converts them without."""
    if isinstance(batch.records, RecordColumns) and not any(piece.has_headers for piece in batch.records.pieces):
        return made
    ordinary = [(i, each) for i, each in enumerate(batch.records) if each.headers and is_ordinary(each.headers)]
    if not ordinary:
        return made
    headers = HeaderField(header_fields, topic=batch.topic, partition=batch.partition)
    documents, versions = [*made.documents], [*made.versions]
    more = convert([BareRecord.of(record) for _, record in ordinary])
    for (i, record), found, version in zip(ordinary, more.documents, more.versions, strict=True):
        if found is not None:
            headers.add(found, record.headers)
            documents[i], versions[i] = found, version
    return Converted(documents, versions, made.declined - len(ordinary) + more.declined)


def _after(writer: WriterSchema, received_at: datetime) -> bytes:
    """The elements between the event's own and `kafka`."""
    return elements_of({"schema_version": writer.version, "schema_id": writer.schema_id, "received_at": received_at})


def _as_int64(number: int) -> int:
    return max(-_INT64, min(number, _INT64 - 1))
