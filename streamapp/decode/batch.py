"""Turn the records of a batch into documents and dead letters."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from traceback import format_tb

from streamapp.decode import document, wire_format
from streamapp.decode.document import Document, EventTimes, LazyDocument
from streamapp.decode.fast_path import FastPath
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import Undecodable
from streamapp.model.record import BatchRecord, DeadLetter, Origin, PartitionBatch, Reason, Record, origin_of

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class DecodedBatch:
    """A batch's records after decoding: each is a document or a dead letter."""

    documents: list[Document]
    #: The records of the documents, in the same order.
    records: list[BatchRecord]
    #: Their schema versions, likewise.
    versions: list[str]
    dead: list[DeadLetter]
    #: Indexes of the documents whose place in the partition is behind the rollups.
    out_of_order: set[int]

    def refuse(self, index: int, why: str, batch: PartitionBatch) -> None:
        """Make a dead letter of a document that the store refuses, too; it stays where it is."""
        record = batch.placed(self.records[index])
        letter = DeadLetter(
            record=record,
            origin=origin_of(record, batch.topic_id),
            reason=Reason.REFUSED_BY_STORE,
            error=why,
            schema_id=self.documents[index]["schema_id"],
        )
        self.dead.append(letter)

    def places(self) -> Iterator[tuple[int, str]]:
        """Offset and `_id` of each document that comes in order."""
        for index, (record, made) in enumerate(zip(self.records, self.documents, strict=True)):
            if index not in self.out_of_order:
                yield record.offset, made["_id"]

    def split(self) -> tuple[DecodedBatch, DecodedBatch]:
        """What comes in order, and what comes apart; both with the same dead letters."""
        if not self.out_of_order:
            return self, DecodedBatch([], [], [], self.dead, set())
        in_turn = self._part([index for index in range(len(self.documents)) if index not in self.out_of_order])
        out_of_order = self._part(sorted(self.out_of_order))
        # A mark will be added to each.
        out_of_order.documents = [
            each.decoded() if isinstance(each, LazyDocument) else each for each in out_of_order.documents
        ]
        return in_turn, out_of_order

    def _part(self, indexes: Sequence[int]) -> DecodedBatch:
        documents = [self.documents[i] for i in indexes]
        records, versions = [self.records[i] for i in indexes], [self.versions[i] for i in indexes]
        return DecodedBatch(documents, records, versions, self.dead, set())


def build(
    batch: PartitionBatch, schemas: Mapping[int, WriterSchema], *, times: EventTimes, received_at: datetime
) -> DecodedBatch:
    """Decode each record of a batch, by the schemas that exist; those that cannot be stored become dead letters."""
    decoded, topic_id = DecodedBatch([], [], [], [], set()), batch.topic_id
    fast_path = FastPath(batch, schemas, times=times, received_at=received_at)
    for record in batch.records:
        if (made := fast_path.document(record)) is not None:
            decoded.documents.append(made)
            decoded.records.append(record)
            decoded.versions.append(made.row[3][4])
            continue
        placed = batch.placed(record)
        origin = origin_of(placed, topic_id)
        try:
            writer, event = wire_format.decode(record.value, schemas)
            made = document.build(event, writer=writer, origin=origin, received_at=received_at, times=times)
        except Undecodable as exc:
            decoded.dead.append(_dead_letter(placed, origin, exc))
        except Exception as exc:  # noqa: BLE001 - a fault of ours that one record brings out must not stop its partition
            _tell(placed, exc)
            unforeseen = Undecodable(Reason.UNDECODABLE, f"{type(exc).__name__}: {exc}")
            decoded.dead.append(_dead_letter(placed, origin, unforeseen))
        else:
            if record.headers and origin.is_elsewhere(placed, topic_id):
                decoded.out_of_order.add(len(decoded.documents))
            decoded.documents.append(made)
            decoded.records.append(record)
            decoded.versions.append(writer.version)
    return decoded


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
