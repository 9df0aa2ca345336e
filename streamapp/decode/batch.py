"""Turn the records of a slice into documents and dead letters."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from traceback import format_tb

from streamapp.decode import document, wire_format
from streamapp.decode.document import Document, Encoded, EventTimes
from streamapp.decode.fast_path import ShortWay
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import Undecodable
from streamapp.model.record import DeadLetter, Origin, Reason, Record, Slice, SliceRecord, origin_of

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Built:
    """A slice's records after decoding: each is a document or a dead letter."""

    documents: list[Document]
    #: The records of the documents, in the same order.
    records: list[SliceRecord]
    #: Their schema versions, likewise.
    versions: list[str]
    dead: list[DeadLetter]
    #: Indexes of the documents whose place in the partition is behind the rollups.
    apart: set[int]

    def refuse(self, index: int, why: str, slice_: Slice) -> None:
        """Make a dead letter of a document that the store refuses, too; it stays where it is."""
        record = slice_.placed(self.records[index])
        letter = DeadLetter(
            record=record,
            origin=origin_of(record, slice_.incarnation),
            reason=Reason.REFUSED_BY_STORE,
            error=why,
            schema_id=self.documents[index]["schema_id"],
        )
        self.dead.append(letter)

    def places(self) -> Iterator[tuple[int, str]]:
        """Offset and `_id` of each document that comes in its turn."""
        for index, (record, made) in enumerate(zip(self.records, self.documents, strict=True)):
            if index not in self.apart:
                yield record.offset, made["_id"]

    def split(self) -> tuple[Built, Built]:
        """What comes in its turn, and what comes apart; both with the same dead letters."""
        if not self.apart:
            return self, Built([], [], [], self.dead, set())
        in_turn = self._part([index for index in range(len(self.documents)) if index not in self.apart])
        apart = self._part(sorted(self.apart))
        # A mark will be added to each.
        apart.documents = [each.decoded() if isinstance(each, Encoded) else each for each in apart.documents]
        return in_turn, apart

    def _part(self, indexes: Sequence[int]) -> Built:
        documents = [self.documents[i] for i in indexes]
        records, versions = [self.records[i] for i in indexes], [self.versions[i] for i in indexes]
        return Built(documents, records, versions, self.dead, set())


def build(slice_: Slice, schemas: Mapping[int, WriterSchema], *, times: EventTimes, received_at: datetime) -> Built:
    """Decode each record of a slice, by the schemas that exist; those that cannot be stored become dead letters."""
    built, incarnation = Built([], [], [], [], set()), slice_.incarnation
    short_way = ShortWay(slice_, schemas, times=times, received_at=received_at)
    for record in slice_.records:
        if (made := short_way.document(record)) is not None:
            built.documents.append(made)
            built.records.append(record)
            built.versions.append(made.row[3][4])
            continue
        placed = slice_.placed(record)
        origin = origin_of(placed, incarnation)
        try:
            writer, event = wire_format.decode(record.value, schemas)
            made = document.build(event, writer=writer, origin=origin, received_at=received_at, times=times)
        except Undecodable as exc:
            built.dead.append(_dead_letter(placed, origin, exc))
        except Exception as exc:  # noqa: BLE001 - a fault of ours that one record brings out must not stop its partition
            _tell(placed, exc)
            unforeseen = Undecodable(Reason.UNDECODABLE, f"{type(exc).__name__}: {exc}")
            built.dead.append(_dead_letter(placed, origin, unforeseen))
        else:
            if record.headers and origin.is_elsewhere(placed, incarnation):
                built.apart.add(len(built.documents))
            built.documents.append(made)
            built.records.append(record)
            built.versions.append(writer.version)
    return built


def _dead_letter(record: Record, origin: Origin, exc: Undecodable) -> DeadLetter:
    try:
        schema_id = wire_format.schema_id_of(record.value)
    except Undecodable:
        schema_id = None
    return DeadLetter(record=record, origin=origin, reason=Reason(exc.reason), error=str(exc), schema_id=schema_id)


def _tell(record: Record, exc: Exception) -> None:
    # Without its message, which may hold what is in the record.
    log.error(
        "%s, partition %d, offset %d could not be read, for a reason that nobody thought of: %s\n%s",
        record.topic,
        record.partition,
        record.offset,
        type(exc).__name__,
        "".join(format_tb(exc.__traceback__)),
    )
