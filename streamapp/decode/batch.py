"""Decode the records of a batch into events and dead letters."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from traceback import format_tb
from typing import cast

from streamapp.decode import compiled_path, document, foreign_format, wire_format
from streamapp.decode.document import Document, EventTimes, LazyDocument
from streamapp.decode.fast_path import FastPath
from streamapp.decode.kernel import Kernel
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import Undecodable
from streamapp.model.record import BatchRecord, DeadLetter, Origin, PartitionBatch, Reason, Record
from streamapp.model.stored_headers import NO_FIELDS, HeaderFields, stored_headers

log = logging.getLogger(__name__)

#: Bytes of memory that the generic path builds in one part: some 10 ms of work.
PART_BYTES = 4 * 1024 * 1024
#: What a record costs on the generic path in any case, expressed in bytes.
_RECORD_BYTES = 4_096
#: The generic path can take 20 ms for a value of this size, and longer for larger ones.
_LARGE_VALUE_BYTES = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class DecodedEvents:
    """Events of a batch; the three sequences have the same order."""

    documents: Sequence[Document] = ()
    records: Sequence[BatchRecord] = ()
    versions: Sequence[str] = ()

    @classmethod
    def joined(cls, parts: Sequence[DecodedEvents]) -> DecodedEvents:
        """The events of several parts, in offset order."""
        together = cls(
            [*chain.from_iterable(each.documents for each in parts)],
            [*chain.from_iterable(each.records for each in parts)],
            [*chain.from_iterable(each.versions for each in parts)],
        )
        return together.part(sorted(range(len(together.records)), key=lambda i: together.records[i].offset))

    def dead_letters(self, refused: Mapping[int, str], batch: PartitionBatch) -> list[DeadLetter]:
        """Make the dead letters of refused documents; `refused` maps their index to the error."""
        return [self._dead_letter(index, error, batch) for index, error in refused.items()]

    def part(self, indexes: Sequence[int]) -> DecodedEvents:
        """Some of the events, by their index."""
        return DecodedEvents(
            [self.documents[i] for i in indexes],
            [self.records[i] for i in indexes],
            [self.versions[i] for i in indexes],
        )

    def with_fields(self, indexes: Sequence[int]) -> DecodedEvents:
        """The same with decoded documents: the store of events out of order adds a field to each."""
        events = self.part(indexes)
        return DecodedEvents([*map(document.decoded, events.documents)], events.records, events.versions)

    def _dead_letter(self, index: int, error: str, batch: PartitionBatch) -> DeadLetter:
        record = batch.with_coordinates(self.records[index])
        return DeadLetter(
            record=record,
            origin=batch.origin_of(record),
            reason=Reason.REFUSED_BY_STORE,
            error=error,
            schema_id=self.documents[index]["schema_id"],
        )


@dataclass(frozen=True, slots=True, eq=False)
class DecodedBatch:
    """Some records of a batch after decoding: each is an event or a dead letter."""

    events: DecodedEvents
    dead: Sequence[DeadLetter]
    #: Indexes of the replayed events: their offset does not say when they arrived.
    out_of_order: AbstractSet[int]
    #: Offset of the last record.
    last_offset: int

    def offsets(self) -> Iterator[int]:
        """The offset of each event that is in order."""
        return (record.offset for index, record in enumerate(self.events.records) if index not in self.out_of_order)

    def split(
        self, previously_failed: Collection[int] = ()
    ) -> tuple[DecodedEvents, DecodedEvents, Sequence[DeadLetter]]:
        """The events in order, the events out of order, and the dead letters.

        Args:
            previously_failed: offsets of further events that are out of order.
        """
        out_of_order = self.out_of_order
        if previously_failed:
            records = enumerate(self.events.records)
            out_of_order = out_of_order | {index for index, record in records if record.offset in previously_failed}
        if not out_of_order:
            return self.events, DecodedEvents(), self.dead
        in_order = self.events.part([index for index in range(len(self.events.documents)) if index not in out_of_order])
        return in_order, self.events.with_fields(sorted(out_of_order)), self.dead


#: Says that the next part takes long, and would block the event loop.
NEXT_IS_LARGE = DecodedBatch(DecodedEvents(), (), frozenset(), -1)


def parts(  # noqa: PLR0913 - the records, and what decoding depends on
    batch: PartitionBatch,
    schemas: Mapping[int, WriterSchema],
    *,
    times: EventTimes,
    received_at: datetime,
    kernel: Kernel | None = None,
    header_fields: HeaderFields = NO_FIELDS,
) -> Iterator[DecodedBatch]:
    """Decode the records of a batch with the schemas that exist; the other records become dead letters.

    A part ends once the generic path has built PART_BYTES, because a record there can become many times as large as its
    value. The caller lets the event loop run between two parts. Records on the fast path cost so little that a batch of
    them is one part.

    Before a large record on the generic path it yields NEXT_IS_LARGE, which holds no records: the caller then gets the
    next part in a thread.

    Args:
        batch: the records.
        schemas: their writer schemas, by id.
        times: the limits of event times.
        received_at: the time at which the worker received the records.
        kernel: converts the records of the fast path; None: the generated code does.
        header_fields: the headers that are stored.
    """
    made = None
    if kernel:
        made = compiled_path.converted(
            kernel, batch, schemas, times=times, received_at=received_at, header_fields=header_fields
        )
    if made and not made.declined:
        documents, versions = cast("Sequence[LazyDocument]", made.documents), cast("Sequence[str]", made.versions)
        yield DecodedBatch(DecodedEvents(documents, batch.records, versions), (), frozenset(), batch.records[-1].offset)
        return
    fast_path = FastPath(batch, schemas, times=times, received_at=received_at, header_fields=header_fields)
    fast = _drained(made.documents) if made else map(fast_path.document, batch.records)
    yield from _parts(batch, fast, schemas, times=times, received_at=received_at, header_fields=header_fields)


def _drained(documents: list[LazyDocument | None]) -> Iterator[LazyDocument | None]:
    """The documents, which are removed from the list: those of one part are freed while the next is built."""
    documents.reverse()
    while documents:
        yield documents.pop()


def _parts(  # noqa: PLR0913 - see `parts`
    batch: PartitionBatch,
    fast: Iterable[LazyDocument | None],
    schemas: Mapping[int, WriterSchema],
    *,
    times: EventTimes,
    received_at: datetime,
    header_fields: HeaderFields,
) -> Iterator[DecodedBatch]:
    """The same, given the documents that the fast path has made; None for records that it declined."""
    documents, records, versions = list[Document](), list[BatchRecord](), list[str]()
    dead, out_of_order, topic_id = list[DeadLetter](), set[int](), batch.topic_id
    built, is_in_thread, last_offset = 0, False, batch.records[-1].offset
    for record, fast_document in zip(batch.records, fast, strict=True):
        if fast_document is not None:
            documents.append(fast_document)
            records.append(record)
            versions.append(fast_document.dimensions.schema_version)
            continue
        if not is_in_thread and len(record.value or b"") > _LARGE_VALUE_BYTES:
            is_in_thread = True
            yield NEXT_IS_LARGE
        placed = batch.with_coordinates(record)
        origin = batch.origin_of(placed)
        built += _RECORD_BYTES
        try:
            writer = wire_format.writer_of(record.value, schemas)
            event, size = wire_format.build(cast("bytes", record.value), writer)
            built += size
            headers = stored_headers(record.headers, header_fields)
            made = document.build(
                event, writer=writer, origin=origin, received_at=received_at, times=times, headers=headers
            )
        except Undecodable as exc:
            built += exc.built
            dead.append(_dead_letter(placed, origin, exc))
        except Exception as exc:  # noqa: BLE001 - an unexpected error in one record must not stop its partition
            dead.append(_dead_letter(placed, origin, _logged(placed, exc)))
        else:
            if record.headers and origin.differs_from(placed, topic_id):
                out_of_order.add(len(documents))
            documents.append(document.encoded(made))
            records.append(record)
            versions.append(writer.version)
        if built >= PART_BYTES and record.offset != last_offset:
            yield DecodedBatch(DecodedEvents(documents, records, versions), dead, out_of_order, record.offset)
            documents, records, versions, dead, out_of_order = [], [], [], [], set()
            built, is_in_thread = 0, False
    yield DecodedBatch(DecodedEvents(documents, records, versions), dead, out_of_order, last_offset)


def _dead_letter(record: Record, origin: Origin, exc: Undecodable) -> DeadLetter:
    try:
        schema_id = wire_format.schema_id_of(record.value)
    except Undecodable:
        schema_id = None
    error = f"{exc}{foreign_format.hint(exc.reason, record.value, record.headers)}"
    return DeadLetter(record=record, origin=origin, reason=Reason(exc.reason), error=error, schema_id=schema_id)


def _logged(record: Record, exc: Exception) -> Undecodable:
    # Without the message of the error, which can hold values of the record.
    log.error(
        "unexpected error while decoding %s, partition %d, offset %d: %s\n%s",
        record.topic,
        record.partition,
        record.offset,
        type(exc).__name__,
        "".join(format_tb(exc.__traceback__)),
    )
    return Undecodable(Reason.UNDECODABLE, f"{type(exc).__name__}: {exc}")
