"""Events whose offset Kafka gave to another record, after a broker had lost the end of its log.

The first event has the usual `_id`, and its record is lost; the other one has an `_id` of its own. See
`streamapp.decode.identity`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from bson import decode, encode

from streamapp.decode import document, identity
from streamapp.decode.document import LENIENT
from streamapp.decode.writer_schema import WriterSchema
from streamapp.model.record import Origin, Record
from streamapp.verify.checks import document_diff
from streamapp.verify.checks.document_diff import SchemaVersion
from streamapp.verify.checks.shape_history import ShapeHistory


class ReusedOffsets:
    """Finds the events with an `_id` of their own.

    Args:
        find_documents: returns the stored documents with these ids as BSON.
    """

    def __init__(self, find_documents: Callable[[Sequence[str]], Mapping[str, bytes]]) -> None:
        self._find_documents = find_documents
        #: The shapes that the documents may have.
        self.history = ShapeHistory()
        #: The ids of those that belong to a record.
        self.found: set[str] = set()

    def is_stored(
        self,
        record: Record,
        origin: Origin,
        schemas: Mapping[int, WriterSchema],
        noted: Mapping[SchemaVersion, str | None],
    ) -> bool:
        """Whether the event of a record is stored under an `_id` of its own."""
        own_id = document_diff.id_of_its_own(record, origin, schemas)
        stored = self._find_documents([own_id]).get(own_id) if own_id else None
        if own_id is None or stored is None:
            return False
        if document_diff.difference(stored, record, origin, schemas, noted, history=self.history):
            return False
        self.found.add(own_id)
        return True

    def of_lost_records(self, replays: Mapping[int, Origin]) -> AbstractSet[int]:
        """The offsets, among those of replayed dead letters, of which there is the event of a lost record.

        Args:
            replays: the own coordinates of the records, by offset.
        """
        found = self._find_documents([document.id_of(own) for own in replays.values()]) if replays else {}
        return {
            offset
            for offset, own in replays.items()
            if (raw := found.get(document.id_of(own))) and is_of_lost_record(raw, own)
        }


def is_of_lost_record(raw: bytes, origin: Origin) -> bool:
    """Whether a document has another Kafka timestamp than the record with its `_id`."""
    kafka, part = decode(raw, LENIENT).get("kafka"), document.kafka_part(origin)
    return isinstance(kafka, dict) and encode({name: kafka.get(name) for name in part}) != encode(part)


def has_id_of_its_own(stored: Mapping[str, Any]) -> bool:
    """Whether the `_id` of a stored document is right for an event with an `_id` of its own."""
    usual_id, *_ = str(stored["_id"]).rsplit("-", 2)
    return identity.has_id_of_its_own(stored, usual_id)
