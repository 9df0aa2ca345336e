"""From records to the bytes that MongoDB stores: what `document.build` and BSON make of an event, the fast path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from struct import Struct
from typing import Any

import bson

from streamapp.decode import document, wire_format
from streamapp.decode.document import EventTimes, LazyDocument
from streamapp.decode.transcoder import SIZES, Transcode
from streamapp.decode.writer_schema import WriterSchema
from streamapp.model.record import BatchRecord, PartitionBatch

# What comes after `kafka.offset`: its value, the timestamp, the end of `kafka`.
_INT32, _AFTER_INT32 = b"\x10offset\0", Struct("<i11sqx")
_INT64, _AFTER_INT64 = b"\x12offset\0", Struct("<q11sqx")
_BEYOND_INT32 = 2**31
#: Of the longest one, with a null behind it.
_OFFSET_LENGTH = 20
#: Partitions for which is remembered what is the same in every batch: many batches hold few events.
_PARTITIONS = 1_000


_Encoder = Callable[[BatchRecord, bytes], LazyDocument]


class FastPath:
    """From the records of a batch to documents, past all values; not for every record."""

    def __init__(
        self, batch: PartitionBatch, schemas: Mapping[int, WriterSchema], *, times: EventTimes, received_at: datetime
    ) -> None:
        self._slice = batch
        self._schemas = schemas
        self._times = times
        self._received_at = received_at
        #: By the first bytes of a value; None where there is none.
        self._encoders: dict[bytes, _Encoder | None] = {}

    def document(self, record: BatchRecord) -> LazyDocument | None:
        """The record's document; None where only the generic path can tell what the record is."""
        value = record.value
        if record.headers or not value:
            return None
        header = value[: wire_format.HEADER.size]
        try:
            if header not in self._encoders:
                self._encoders[header] = self._encoder(header)
            encoder = self._encoders[header]
            return encoder(record, value) if encoder else None
        except Exception:  # noqa: BLE001 - whatever it is, the generic path has words for it
            return None

    def _encoder(self, header: bytes) -> _Encoder | None:
        topic_id, records = self._slice.topic_id, self._slice.records
        if len(header) < wire_format.HEADER.size or topic_id is None:
            return None
        if records[0].offset < _BEYOND_INT32 <= records[-1].offset:  # offsets of one size are enough
            return None
        magic_byte, schema_id = wire_format.HEADER.unpack(header)
        writer = self._schemas.get(schema_id)
        if magic_byte != wire_format.MAGIC_BYTE or writer is None or writer.transcode is None:
            return None
        return self._compose(writer, writer.transcode, topic_id)

    def _compose(self, writer: WriterSchema, transcode: Transcode, topic_id: str) -> _Encoder:
        earliest, ahead = self._times.earliest, self._times.ahead
        topic, partition = self._slice.topic, self._slice.partition
        id_starts = _id_starts(topic_id, partition)
        ours = {"schema_version": writer.version, "schema_id": writer.schema_id, "received_at": self._received_at}
        marker, rest = (
            (_INT32, _AFTER_INT32) if self._slice.records[-1].offset < _BEYOND_INT32 else (_INT64, _AFTER_INT64)
        )
        after = _elements(ours) + _place(topic, partition, marker, rest.size)

        def encode(record: BatchRecord, value: bytes) -> LazyDocument:
            offset, timestamp = record.offset, record.timestamp
            ours_after = after + rest.pack(offset, b"\x09timestamp\0", timestamp)
            id_end = b"%d\0" % offset
            raw, (at, user, values) = transcode(value, id_starts[len(id_end)] + id_end, ours_after)
            if not earliest <= at <= timestamp + ahead:
                raise ValueError
            return LazyDocument(raw, (offset, at, user, values))

        return encode


@lru_cache(_PARTITIONS)
def _id_starts(topic_id: str, partition: int) -> Sequence[bytes]:
    """What `_id` begins with, by the length of what follows."""
    start = document.id_start(topic_id, partition).encode()
    return [b"\x02_id\0" + SIZES[len(start) + length] + start for length in range(_OFFSET_LENGTH + 1)]


@lru_cache(_PARTITIONS)
def _place(topic: str, partition: int, marker: bytes, rest_size: int) -> bytes:
    """What `kafka` begins with; so many bytes follow."""
    place = _elements({"topic": topic, "partition": partition}) + marker
    return b"\x03kafka\0" + SIZES[4 + len(place) + rest_size] + place


def _elements(fields: Mapping[str, Any]) -> bytes:
    """The elements of a document, without its size and its end."""
    return bson.encode(fields)[4:-1]
