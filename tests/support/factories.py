"""Records, events and batches, with only what a test cares about to be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

import bson
import fastavro
from aiokafka.record.default_records import DefaultRecord

from streamapp.decode import wire_format
from streamapp.decode.document import LazyDocument
from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.kafka.dead_letter_contents import headers_of
from streamapp.model import event
from streamapp.model.record import BatchRecord, DeadLetter, PartitionBatch, Reason, TopicRecord, origin_of
from streamapp.model.user_event import VERSIONS, DimensionValues
from streamapp.transport.batch_size import memory_sizes

NOW = 1_790_000_000_000
TOPIC_ID = "AAAAAAAAAAAAAAAAAAAAAB"
#: Our schemas as a registry might know them, by version and by id.
WRITERS: dict[int, WriterSchema] = {
    version: writer_schema(event.schema(version), schema_id=version, version=f"v{version}") for version in VERSIONS
}
V1, V2 = WRITERS[1], WRITERS[2]


#: Values of an event that do not matter.
NO_VALUES = DimensionValues._make([""] * len(DimensionValues._fields))


class FakeRecord(TopicRecord):
    """A Kafka record that nobody sent."""

    __slots__ = ()

    def __new__(
        cls,
        *,
        value: bytes | None,
        topic: str = "user_events",
        partition: int = 0,
        offset: int = 0,
        timestamp: int = NOW,
        key: bytes | None = b"user-1",
        headers: tuple[tuple[str, bytes | None], ...] = (),
    ) -> Self:
        """Make one; the same as `TopicRecord` with other defaults."""
        return super().__new__(cls, topic, partition, offset, timestamp, key, value, headers)


def an_event(**changes: Any) -> dict[str, Any]:
    """Return an event of V1, or of V2 if a browser is given."""
    values = {
        "user_id": "user-1",
        "event_type": "click",
        "event_timestamp": NOW,
        "metadata": {"device": "mobile", "location": "DE"},
    }
    return values | changes


def lazy(document: Mapping[str, Any]) -> LazyDocument:
    """Return a document as the fast path makes it, of an event whose values do not matter."""
    return LazyDocument(bson.encode(document), 0, 0, "", NO_VALUES)


def wire(values: dict[str, Any], schema: event.Schema | None = None, schema_id: int | None = None) -> bytes:
    """Return the wire bytes of an event, of V2 if it has a browser."""
    version = 2 if "browser" in values else 1
    parsed = fastavro.parse_schema(schema or event.schema(version), named_schemas={})
    return wire_format.write(values, schema=parsed, schema_id=schema_id or version)


def a_record(values: dict[str, Any] | None = None, **changes: Any) -> FakeRecord:
    """Return the record of an event."""
    return FakeRecord(**{"value": wire(values or an_event()), **changes})


def in_form(records: Sequence[BatchRecord]) -> Sequence[BatchRecord]:
    """Return the records of a batch as they are; a test may have them as columns."""
    return records


def a_batch(
    *records: FakeRecord, topic_id: str | None = TOPIC_ID, assignment: int = 0, begin: int | None = None
) -> PartitionBatch:
    """Return these records as one batch, in which they are what aiokafka decodes."""
    return PartitionBatch(
        topic=records[0].topic,
        partition=records[0].partition,
        topic_id=topic_id,
        assignment=assignment,
        begin=begin,
        records=in_form(
            [DefaultRecord(each.offset, each.timestamp, 0, each.key, each.value, each.headers) for each in records]
        ),
        size=sum(memory_sizes(records)),
    )


def a_letter(reason: Reason = Reason.UNDECODABLE, error: str = "broken", **changes: Any) -> DeadLetter:
    """Return a dead letter; `changes` are of its record."""
    record = FakeRecord(**{"value": b"\x01broken", **changes})
    return DeadLetter(record=record, origin=origin_of(record, TOPIC_ID), reason=reason, error=error, schema_id=None)


def replayed(letter: DeadLetter) -> tuple[tuple[str, bytes | None], ...]:
    """Return the headers with which a dead letter comes again once it is replayed."""
    return tuple(headers_of(letter, failed_at=datetime.fromtimestamp(NOW / 1000, UTC)))
