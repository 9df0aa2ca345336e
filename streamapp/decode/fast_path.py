"""The fast path: from a record to the BSON that MongoDB stores, without values in between.

It returns the same bytes as the generic path (`wire_format.decode`, `document.build`, BSON), or declines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from struct import Struct
from typing import Any

import bson

from streamapp.decode import document, wire_format
from streamapp.decode.code_generator import SIZES
from streamapp.decode.document import EventTimes, LazyDocument
from streamapp.decode.header_field import HeaderField
from streamapp.decode.transcoder import Transcode
from streamapp.decode.writer_schema import WriterSchema
from streamapp.model.record import BatchRecord, PartitionBatch
from streamapp.model.stored_headers import NO_FIELDS, HeaderFields, is_ordinary

# The BSON element `kafka.offset`, and what follows its name: the offset, the timestamp, the end of `kafka`.
_INT32, _AFTER_INT32 = b"\x10offset\0", Struct("<i11sqx")
_INT64, _AFTER_INT64 = b"\x12offset\0", Struct("<q11sqx")
_BEYOND_INT32 = 2**31
#: Characters of the longest offset and a null.
_MAX_OFFSET_LENGTH = 20
#: Partitions whose constant elements are cached: many batches hold few events.
_MAX_CACHED_PARTITIONS = 1_000


_Encoder = Callable[[BatchRecord, bytes], LazyDocument]


class FastPath:
    """Converts the records of one batch; declines records that it does not support."""

    def __init__(
        self,
        batch: PartitionBatch,
        schemas: Mapping[int, WriterSchema],
        *,
        times: EventTimes,
        received_at: datetime,
        header_fields: HeaderFields = NO_FIELDS,
    ) -> None:
        self._batch = batch
        self._schemas = schemas
        self._times = times
        self._received_at = received_at
        self._headers = HeaderField(header_fields, topic=batch.topic, partition=batch.partition)
        #: Header of the value → its encoder; None if the fast path declines such records.
        self._encoders: dict[bytes, _Encoder | None] = {}

    def document(self, record: BatchRecord) -> LazyDocument | None:
        """The record's document; None if the fast path declines the record."""
        value, headers = record.value, record.headers
        if not value or (headers and not is_ordinary(headers)):
            return None
        header = value[: wire_format.HEADER.size]
        try:
            if header not in self._encoders:
                self._encoders[header] = self._encoder(header)
            encoder = self._encoders[header]
            if encoder is None:
                return None
            made = encoder(record, value)
            if headers:
                self._headers.add(made, headers)
        except Exception:  # noqa: BLE001 - the generic path reports the error, or decodes the record
            return None
        else:
            return made

    def _encoder(self, header: bytes) -> _Encoder | None:
        topic_id, records = self._batch.topic_id, self._batch.records
        if len(header) < wire_format.HEADER.size or topic_id is None:
            return None
        if records[0].offset < _BEYOND_INT32 <= records[-1].offset:  # int32 and int64 in one batch
            return None
        magic_byte, schema_id = wire_format.HEADER.unpack(header)
        writer = self._schemas.get(schema_id)
        if magic_byte != wire_format.MAGIC_BYTE or writer is None or writer.transcode is None:
            return None
        return self._compose(writer, writer.transcode, topic_id)

    def _compose(self, writer: WriterSchema, transcode: Transcode, topic_id: str) -> _Encoder:
        earliest, ahead, latest = self._times.earliest, self._times.ahead, self._times.latest(self._received_at)
        topic, partition = self._batch.topic, self._batch.partition
        id_starts = _id_starts(topic_id, partition)
        fields = {"schema_version": writer.version, "schema_id": writer.schema_id, "received_at": self._received_at}
        marker, rest = (
            (_INT32, _AFTER_INT32) if self._batch.records[-1].offset < _BEYOND_INT32 else (_INT64, _AFTER_INT64)
        )
        after = elements_of(fields) + _kafka_start(topic, partition, marker, rest.size)

        def encode(record: BatchRecord, value: bytes) -> LazyDocument:
            offset, timestamp = record.offset, record.timestamp
            id_end = b"%d\0" % offset
            kafka_end = rest.pack(offset, b"\x09timestamp\0", timestamp)
            raw, at, user_id, dimensions = transcode(value, id_starts[len(id_end)] + id_end, after + kafka_end)
            if not (earliest <= at <= latest and at - ahead <= timestamp >= 0):
                raise ValueError
            return LazyDocument(raw, offset, at, user_id, dimensions)

        return encode


@lru_cache(_MAX_CACHED_PARTITIONS)
def _id_starts(topic_id: str, partition: int) -> Sequence[bytes]:
    """The start of the element `_id`, by the length of the rest."""
    start = document.id_start(topic_id, partition).encode()
    return [b"\x02_id\0" + SIZES[len(start) + length] + start for length in range(_MAX_OFFSET_LENGTH + 1)]


@lru_cache(_MAX_CACHED_PARTITIONS)
def _kafka_start(topic: str, partition: int, marker: bytes, rest_size: int) -> bytes:
    """The start of the element `kafka`, which `rest_size` more bytes complete."""
    start = elements_of({"topic": topic, "partition": partition}) + marker
    return b"\x03kafka\0" + SIZES[4 + len(start) + rest_size] + start


def elements_of(fields: Mapping[str, Any]) -> bytes:
    """A document's elements without its size and its end."""
    return bson.encode(fields)[4:-1]
