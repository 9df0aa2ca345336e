"""Find orphans: documents and dead letters without a record in the topic, also while workers run.

A record exists before its document or dead letter. So the end offsets are fetched again before an id beyond the known
end counts as an orphan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from streamapp.decode import identity
from streamapp.kafka.topic_reader import TopicReader
from streamapp.mongodb.client import Mongo
from streamapp.verify.checks.offsets import OffsetBitmap
from streamapp.verify.checks.result import PartitionFates
from streamapp.verify.reused_offsets import has_id_of_its_own

#: Ids per query.
MAX_IDS_PER_QUERY = 5_000
_TOPIC_ID_LENGTH = 22
_ID_SUFFIX = re.compile(r"(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})")
_COORDINATE_FIELDS = dict.fromkeys(("kafka.topic", "kafka.partition", "kafka.offset", *identity.FIELDS), 1)


class _Reference(NamedTuple):
    """The record that a document or a dead letter refers to."""

    partition: int
    offset: int
    what: str = "a document without a record"
    is_document: bool = True


class OrphanSearch:
    """Searches all documents and dead letters for orphans.

    Args:
        reader: reads the topic.
        mongo: has the documents.
        topic_id: of the topic; None if the broker has no topic ids.
        is_compacted: whether the topic is compacted.
        records: the offsets that have a record, by partition that existed at the start.
        fates: receives the problems, by partition.
        outside: receives the problems without a partition.
        reused: ids of events with a record whose offset Kafka had given to another record before.
    """

    def __init__(  # noqa: PLR0913 - the facts of the topic
        self,
        reader: TopicReader,
        mongo: Mongo,
        *,
        topic_id: str | None,
        is_compacted: bool,
        records: Mapping[int, OffsetBitmap],
        fates: Mapping[int, PartitionFates],
        outside: PartitionFates,
        reused: Container[str],
    ) -> None:
        self._reader = reader
        self._events = mongo.primary["events"]
        self._topic_id = topic_id
        self._is_compacted = is_compacted
        self._records = records
        self._fates = fates
        self._outside = outside
        self._reused = reused
        self._bounds: Mapping[int, tuple[int, int]] = {}

    def find(self, failed: Iterable[str], advance: Callable[[int], None]) -> None:
        """Search all documents, and failed events by their `_id`; call `advance` with the number of documents read."""
        # Fetched after the records were read: records that were deleted since lie before the new start offset.
        self._bounds = self._fetch_bounds()
        with self._events.find({}, {"_id": 1}, batch_size=MAX_IDS_PER_QUERY).hint([("_id", 1)]) as found:
            for documents in _chunks(found):
                self._check(self._references_in([document["_id"] for document in documents]))
                advance(len(documents))
        for ids in _chunks(failed):
            references = (self._reference_of(id_) for id_ in ids)
            self._check(
                ref._replace(what="a dead letter without a record", is_document=False) for ref in references if ref
            )

    def _reference_of(self, id_: object) -> _Reference | None:
        """Parse an `_id` of the current topic id; return None for any other `_id`."""
        prefix = f"{self._topic_id}-"
        if self._topic_id is None or not isinstance(id_, str) or not id_.startswith(prefix):
            return None
        match = _ID_SUFFIX.fullmatch(id_, len(prefix))
        return match and _Reference(int(match[1]), int(match[2]))

    def _references_in(self, ids: Sequence[Any]) -> Iterator[_Reference]:
        others: list[Any] = []
        for id_ in ids:
            if ref := self._reference_of(id_):
                yield ref
            elif "\ufffd" in str(id_):  # invalid bytes, decoded: a query cannot find the document
                self._outside.extra.add_without_offset(f"_id {id_!r:.100} is not valid UTF-8")
            else:
                others.append(id_)
        if others:
            for document in self._events.find({"_id": {"$in": others}}, _COORDINATE_FIELDS):
                if ref := self._reference_in_document(document):
                    yield ref

    def _reference_in_document(self, document: Mapping[str, Any]) -> _Reference | None:
        """Return the reference of a document with another `_id`; None if the document needs no further check."""
        id_, kafka = document["_id"], document.get("kafka")
        where = kafka if isinstance(kafka, dict) else {}
        topic, partition, offset = (where.get(name) for name in ("topic", "partition", "offset"))
        if not (isinstance(topic, str) and isinstance(partition, int) and isinstance(offset, int)):
            self._outside.extra.add_without_offset(f"_id {id_!r:.100} has no coordinates in `kafka`")
            return None
        if topic != self._reader.topic:
            return None
        if _has_another_topic_id(id_, partition, offset) or self._is_beside_another_topic_id(document):
            self._fates.get(partition, self._outside).older += 1
            return None
        if self._topic_id is None and str(id_).startswith(f"{topic}-{partition}-{offset}-"):
            return _Reference(partition, offset)
        if self._has_record(partition, offset):
            self._add_second(partition, offset, document)
            return None
        return _Reference(partition, offset, f"a document without a record, _id {id_!r:.100}")

    def _is_beside_another_topic_id(self, document: Mapping[str, Any]) -> bool:
        """Whether an event has an `_id` of its own, and another topic id."""
        return not str(document["_id"]).startswith(f"{self._topic_id}-") and has_id_of_its_own(document)

    def _add_second(self, partition: int, offset: int, document: Mapping[str, Any]) -> None:
        """Add a document whose offset has a record, and that has not the usual `_id`."""
        id_ = document["_id"]
        if has_id_of_its_own(document):
            # One that belongs to no record: Kafka has lost the end of its log again.
            self._fates[partition].older += id_ not in self._reused
        else:
            self._fates[partition].double.add(offset, f"also stored as _id {id_!r:.100}")

    def _has_record(self, partition: int, offset: int) -> bool:
        return partition in self._records and offset in self._records[partition]

    def _check(self, references: Iterable[_Reference]) -> None:
        orphans = [ref for ref in references if not self._has_record(ref.partition, ref.offset)]
        if any(self._is_beyond(ref) for ref in orphans):
            self._bounds = self._fetch_bounds()
        for ref in orphans:
            self._check_one(ref)

    def _check_one(self, ref: _Reference) -> None:
        if ref.partition not in self._bounds:
            self._outside.extra.add(ref.offset, f"{ref.what}: the topic has no partition {ref.partition}")
            return
        low, _ = self._bounds[ref.partition]
        fates = self._fates.get(ref.partition, self._outside)
        if ref.offset < low or (self._is_compacted and self._is_within(ref)):
            fates.older += ref.is_document
        elif self._is_within(ref) or self._is_beyond(ref):
            where = "" if ref.partition in self._fates else f" in partition {ref.partition}"
            fates.extra.add(ref.offset, f"{ref.what}{where}")
        # Otherwise the record was written after the bounds were fetched for the first time.

    def _is_within(self, ref: _Reference) -> bool:
        """Whether the record, if it exists, has been read."""
        return ref.partition in self._records and ref.offset < self._records[ref.partition].end

    def _is_beyond(self, ref: _Reference) -> bool:
        """Whether the offset lies beyond the known end of the topic."""
        return ref.partition not in self._bounds or ref.offset >= self._bounds[ref.partition][1]

    def _fetch_bounds(self) -> Mapping[int, tuple[int, int]]:
        return {partition: self._reader.bounds(partition) for partition in self._reader.partitions()}


def _chunks(found: Iterable[Any]) -> Iterator[Sequence[Any]]:
    each = iter(found)
    while chunk := [*islice(each, MAX_IDS_PER_QUERY)]:
        yield chunk


def _has_another_topic_id(id_: Any, partition: int, offset: int) -> bool:
    """Whether an `_id` has these coordinates and another topic id."""
    end = f"-{partition}-{offset}"
    return isinstance(id_, str) and len(id_) == _TOPIC_ID_LENGTH + len(end) and id_.endswith(end)
