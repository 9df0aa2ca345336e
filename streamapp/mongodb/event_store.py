"""Events in MongoDB: inserts with an outcome per document, the counts of dead letters, and the indexes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, cast

import pymongo
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    OperationFailure,
)

from streamapp.decode import identity
from streamapp.decode.document import Document, LazyDocument, UnencodableError, to_bson
from streamapp.decode.writer_schema import UNREGISTERED, WriterSchema
from streamapp.errors import StoreUnavailable
from streamapp.model.record import DeadLetter, PartitionId
from streamapp.model.user_event import TIME
from streamapp.mongodb import canonical_schemas, dead_letter_counts, failed_offsets, write_commands
from streamapp.mongodb.client import DUPLICATE_KEY, Mongo, is_transient, is_wrong_setting, write_errors
from streamapp.mongodb.faults import COMMAND_RECORD_CODES
from streamapp.mongodb.write_commands import MAX_BYTES
from streamapp.rollups.recount import PROJECTION
from streamapp.sink.ports import Outcome

log = logging.getLogger(__name__)

#: Characters of a schema and those that it refers to, as far as they are stored for the dashboard.
MAX_SOURCES_LENGTH = 262_144

#: What `known` reads of an event.
KNOWN_FIELDS = sorted({*PROJECTION, *identity.FIELDS, "kafka.apart"})

_Raw = RawBSONDocument | LazyDocument

_INDEX_CONFLICTS = frozenset({85, 86})


class EventStore:
    """The collections `events`, `dead_letters`, `failed_offsets`, `schema_versions` and `canonical_schemas`."""

    def __init__(self, mongo: Mongo, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._call = mongo.call
        self._database = mongo.database
        self._primary = mongo.primary
        self._now = now

    async def prepare(self) -> None:
        """Create the indexes that queries use."""
        await self._call(self._create_indexes)

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Insert documents; each is stored, a duplicate, or refused.

        Raises:
            StoreUnavailable: some may be stored, some not; the same call may be repeated.
        """
        return await self._call(lambda: self._insert(documents))

    async def known(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """The stored events by `_id`, with KNOWN_FIELDS; `kafka.apart`: counted out of order."""
        return await self._call(lambda: self._known(ids))

    async def failed_before(self, partition_id: PartitionId, offsets: Sequence[int]) -> AbstractSet[int]:
        """The offsets whose records were dead letters, or whose events were counted out of order."""
        marks = await self._call(lambda: failed_offsets.find(self._failed_offsets, partition_id, offsets))
        return marks.failed | marks.counted

    async def highest_failed(self, partition_id: PartitionId) -> int:
        """The highest offset that `failed_before` can return, -1 for none."""
        return await self._call(lambda: failed_offsets.highest(self._failed_offsets, partition_id))

    async def uncounted(self, ids: Sequence[str]) -> Sequence[Document]:
        """The stored events that were not counted out of order, with the fields that rollups need."""
        return await self._call(lambda: self._uncounted(ids))

    async def mark_failed(self, letters: Sequence[DeadLetter]) -> None:
        """Make `failed_before` return the offsets of records that failed for the first time."""
        if failed := failed_offsets.updates(_first_failures(letters), "failed"):
            await self._call(lambda: self._update(failed_offsets.COLLECTION, failed))

    async def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Count each event once per reason; callers must send first failures in offset order per partition."""
        counted = await self._call(lambda: self._counted_again(letters))
        if updates := dead_letter_counts.updates(letters, self._now(), counted):
            await self._call(lambda: self._update("dead_letters", updates))

    async def note_schema(self, writer: WriterSchema, *, subject: str, flags: Mapping[str, bool]) -> None:
        """Store the schema version, the `flags` of VERSION_FLAGS and when it was first seen, unless it is stored.

        A document of a release that did not store the schema itself gets it.
        """
        if writer.version == UNREGISTERED:
            return
        id_ = f"{subject}:{writer.version}"
        seen = {"subject": subject, "version": int(writer.version[1:]), "schema_id": writer.schema_id, **flags}
        fingerprint = {"fingerprint": writer.fingerprint} if writer.fingerprint else {}
        new = {**seen, **fingerprint, "first_seen_at": self._now()}
        updates = [UpdateOne({"_id": id_}, {"$setOnInsert": new}, upsert=True)]
        if (sources := _sources(writer)) is not None:
            lacks = {"_id": id_, "schema_id": writer.schema_id, "sources": {"$exists": False}}
            updates.append(UpdateOne(lacks, {"$set": {"sources": sources}}))
        await self._call(lambda: self._update("schema_versions", updates))

    async def note_canonical(self, subject: str, version: int, texts: Sequence[str]) -> None:
        """Store a schema whose shape documents get, see `canonical_schemas`, unless it is stored."""
        update = canonical_schemas.note(subject, version, texts, self._now())
        await self._call(lambda: self._update(canonical_schemas.COLLECTION, [update]))

    @property
    def _failed_offsets(self) -> Collection[Any]:
        return self._primary[failed_offsets.COLLECTION]

    def _known(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        found = self._primary["events"].find({"_id": {"$in": ids}}, KNOWN_FIELDS)
        return {document["_id"]: document for document in found}

    def _uncounted(self, ids: Sequence[str]) -> Sequence[Document]:
        query = {"_id": {"$in": ids}, "kafka.apart": {"$ne": True}}
        return [*self._primary["events"].find(query, PROJECTION)]

    def _counted_again(self, letters: Sequence[DeadLetter]) -> AbstractSet[dead_letter_counts.Counted]:
        found = self._primary["dead_letters"].aggregate([*dead_letter_counts.counted_again(letters)])
        return {(document["_id"], id_) for document in found for id_ in document["again"]}

    def _create_indexes(self) -> None:
        by_time = [(TIME, pymongo.ASCENDING)]
        self._create_index(by_time, "which the dashboard uses")
        # Only for events out of order, which are few.
        out_of_order = {"kafka.apart": True}
        self._create_index(by_time, "which `rollups rebuild` uses", name="apart", partialFilterExpression=out_of_order)

    def _create_index(self, keys: Sequence[tuple[str, int]], why: str, **options: Any) -> None:
        try:
            self._database["events"].create_index(keys, **options)
        except OperationFailure as exc:
            if exc.code not in _INDEX_CONFLICTS:
                raise
            log.warning("cannot create the index on %s, %s: %s", TIME, why, exc)

    def _update(self, collection: str, updates: Sequence[UpdateOne]) -> None:
        try:
            self._database[collection].bulk_write(updates)
        except (BulkWriteError, DuplicateKeyError) as exc:
            if _is_race(exc):
                # Another worker inserted the same document during this upsert. The update may be repeated.
                message = "another worker inserted the same document at the same time"
                raise StoreUnavailable(message) from exc
            raise

    def _insert(self, documents: Sequence[Document]) -> Outcome:
        """Insert each document that can be encoded; the others are refused."""
        others = {
            index: _encoded(each)
            for index, each in enumerate(documents)
            if type(each) is not LazyDocument or len(each.raw) > MAX_BYTES
        }
        if not others:
            return self._insert_encoded(cast("Sequence[LazyDocument]", documents))
        refused = {index: why for index, why in others.items() if isinstance(why, str)}
        rest = [index for index in range(len(documents)) if index not in refused]
        encoded = [others.get(index, documents[index]) for index in rest]
        outcome = self._insert_encoded(cast("Sequence[_Raw]", encoded))
        return Outcome(
            duplicates=frozenset(rest[i] for i in outcome.duplicates),
            refused={**refused, **{rest[i]: why for i, why in outcome.refused.items()}},
        )

    def _insert_encoded(self, documents: Sequence[_Raw]) -> Outcome:
        if len(documents) > 1 and sum([len(each.raw) for each in documents]) > MAX_BYTES:
            return self._insert_halves(documents)
        try:
            self._send(documents)
        except BulkWriteError as exc:
            return _analyse(exc)
        except OperationFailure as exc:
            if exc.code not in COMMAND_RECORD_CODES or is_wrong_setting(exc):
                raise
            if len(documents) == 1:
                return Outcome(refused={0: str(exc)})
            # The server refused the whole command because of one document, and does not say which: halve the batch.
            return self._insert_halves(documents)
        return Outcome()

    def _insert_halves(self, documents: Sequence[_Raw]) -> Outcome:
        middle = len(documents) // 2
        first, second = documents[:middle], documents[middle:]
        return self._insert_encoded(first).joined(self._insert_encoded(second), middle)

    def _send(self, documents: Sequence[_Raw]) -> None:
        if documents:
            write_commands.run(self._database, {"insert": "events", "documents": documents})


def _sources(writer: WriterSchema) -> Sequence[str] | None:
    """The JSON texts of the schema and of those that it refers to; None if it has none, or too long ones."""
    try:
        texts = [json.dumps(each) for each in writer.sources]
    except (TypeError, RecursionError):  # UnreadableSchema, or nested too deeply
        return None
    return texts if sum(map(len, texts)) <= MAX_SOURCES_LENGTH else None


def _first_failures(letters: Sequence[DeadLetter]) -> Mapping[PartitionId, Sequence[int]]:
    """The offsets of records that failed for the first time, by partition."""
    offsets: dict[PartitionId, list[int]] = {}
    for letter in letters:
        origin = letter.origin
        if not origin.failures:
            offsets.setdefault(PartitionId(origin.topic_id or origin.topic, origin.partition), []).append(origin.offset)
    return offsets


def why_unencodable(document: Document) -> str | None:
    """Why a document cannot be encoded; None if it can."""
    encoded = _encoded(document)
    return encoded if isinstance(encoded, str) else None


def _encoded(document: Document) -> RawBSONDocument | str:
    """The encoded document; or why it cannot be encoded."""
    try:
        raw = to_bson(document)
    except UnencodableError as exc:
        return str(exc)
    if len(raw) > MAX_BYTES:
        return f"the document has {len(raw)} bytes; the limit of MongoDB is {MAX_BYTES}"
    return RawBSONDocument(raw)


def _analyse(exc: BulkWriteError) -> Outcome:
    if is_transient(exc):
        raise exc
    duplicates: set[int] = set()
    refused: dict[int, str] = {}
    for error in write_errors(exc.details or {}):
        if error["code"] == DUPLICATE_KEY and error.get("keyPattern", {"_id": 1}) == {"_id": 1}:
            duplicates.add(error["index"])
        else:
            refused[error["index"]] = f"{error.get('errmsg', '')} ({error['code']})"
    return Outcome(duplicates=frozenset(duplicates), refused=refused)


def _is_race(exc: OperationFailure) -> bool:
    errors = [*write_errors(exc.details or {})]
    return exc.code == DUPLICATE_KEY or any(error["code"] == DUPLICATE_KEY for error in errors)
