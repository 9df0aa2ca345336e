"""Events in MongoDB: inserts with a verdict on each document, the counts of dead letters, the indexes that are read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import bson
import pymongo
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    OperationFailure,
)

from streamapp.decode.document import Document, LazyDocument
from streamapp.decode.writer_schema import UNREGISTERED, WriterSchema
from streamapp.errors import StoreUnavailable
from streamapp.model.record import DeadLetter
from streamapp.mongodb import dead_letter_counts
from streamapp.mongodb.client import BECAUSE_OF_A_DOCUMENT, DUPLICATE_KEY, Mongo, is_transient, write_errors
from streamapp.rollups.recount import FIELDS
from streamapp.sink.ports import Outcome

log = logging.getLogger(__name__)

#: The largest document that MongoDB stores (its manual, "MongoDB Limits and Thresholds"), and the most that the driver
#: sends in one command.
MAX_BYTES = 16 * 1024 * 1024

_Raw = RawBSONDocument | LazyDocument

_INDEX_CONFLICTS = frozenset({85, 86})
# What encoding a document raises, before anything is sent.
_UNENCODABLE = (BSONError, OverflowError, ValueError, TypeError, RecursionError)


class EventStore:
    """The `events` collection and its companions."""

    def __init__(self, mongo: Mongo, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._call = mongo.call
        self._database = mongo.database
        self._primary = mongo.primary
        self._now = now

    async def prepare(self) -> None:
        """Make the collection and the indexes that are read."""
        await self._call(self._make_indexes)

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Insert documents, each with its own verdict: stored, duplicate, or refused for good.

        Raises:
            StoreUnavailable: some may be stored, some not; the same call may be repeated.
        """
        return await self._call(lambda: self._insert(documents))

    async def known(self, ids: Sequence[str]) -> Mapping[str, bool]:
        """Those of them that are stored, and whether they are counted apart (see `apart.py`)."""
        return await self._call(lambda: self._known(ids))

    async def uncounted(self, ids: Sequence[str]) -> Sequence[Document]:
        """Those of them that are stored, as far as rollups need them, but for those that are counted apart."""
        return await self._call(lambda: self._uncounted(ids))

    async def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Count each event once for each reason; those that fail first must come in offset order, by partition."""
        if updates := dead_letter_counts.updates(letters, self._now()):
            await self._call(lambda: self._update("dead_letters", updates))

    async def note_schema(self, writer: WriterSchema, *, subject: str, is_v2: bool) -> None:
        """Keep which schema version was seen, and when first."""
        if writer.version == UNREGISTERED:
            return
        seen = {"subject": subject, "version": int(writer.version[1:]), "schema_id": writer.schema_id, "is_v2": is_v2}
        update = UpdateOne(
            {"_id": f"{subject}:{writer.version}"},
            {"$setOnInsert": {**seen, "first_seen_at": self._now()}},
            upsert=True,
        )
        await self._call(lambda: self._update("schema_versions", [update]))

    def _known(self, ids: Sequence[str]) -> Mapping[str, bool]:
        found = self._primary["events"].find({"_id": {"$in": ids}}, {"kafka.apart": 1})
        return {document["_id"]: bool(document.get("kafka", {}).get("apart")) for document in found}

    def _uncounted(self, ids: Sequence[str]) -> Sequence[Document]:
        query = {"_id": {"$in": ids}, "kafka.apart": {"$ne": True}}
        return [*self._primary["events"].find(query, FIELDS)]

    def _make_indexes(self) -> None:
        by_time = [("event_timestamp", pymongo.ASCENDING)]
        self._make_index(by_time, "which the dashboard reads by")
        # Few or none: replayed dead letters.
        out_of_order = {"kafka.apart": True}
        self._make_index(
            by_time, "which `rollups rebuild` reads by", name="apart", partialFilterExpression=out_of_order
        )

    def _make_index(self, keys: Sequence[tuple[str, int]], why: str, **options: Any) -> None:
        try:
            self._database["events"].create_index(keys, **options)
        except OperationFailure as exc:
            if exc.code not in _INDEX_CONFLICTS:
                raise
            log.warning("the index on event_timestamp, %s, cannot be made: %s", why, exc)

    def _update(self, collection: str, updates: Sequence[UpdateOne]) -> None:
        try:
            self._database[collection].bulk_write(updates)
        except (BulkWriteError, DuplicateKeyError) as exc:
            if _is_race(exc):
                # Another worker made the same document between our look and our insert: repeat, nothing is double.
                message = "another worker wrote the same document"
                raise StoreUnavailable(message) from exc
            raise

    def _insert(self, documents: Sequence[Document]) -> Outcome:
        """Insert each that can be sent; one that cannot keeps nobody else from it."""
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
            if exc.code not in BECAUSE_OF_A_DOCUMENT:
                raise
            if len(documents) == 1:
                return Outcome(refused={0: str(exc)})
            # A whole command was refused because of a document that the server does not name: close in on it.
            return self._insert_halves(documents)
        return Outcome()

    def _insert_halves(self, documents: Sequence[_Raw]) -> Outcome:
        middle = len(documents) // 2
        first, second = documents[:middle], documents[middle:]
        return self._insert_encoded(first).joined(self._insert_encoded(second), middle)

    def _send(self, documents: Sequence[_Raw]) -> None:
        """Do what the driver's `insert_many` does, which looks at every document and takes three times the CPU."""
        if not documents:
            return
        answer = self._database.command(
            {
                "insert": "events",
                "documents": documents,
                "ordered": False,
                "writeConcern": self._database.write_concern.document,
            },
            # A refusal shows what was refused. By itself the driver would take the answer to be UTF-8 and of our times.
            codec_options=self._database.codec_options,
        )
        of_documents, of_all = answer.get("writeErrors", []), answer.get("writeConcernError")
        if of_documents or of_all:
            raise BulkWriteError({"writeErrors": of_documents, "writeConcernErrors": [of_all] if of_all else []})


def why_unencodable(document: Document) -> str | None:
    """Why a document can never be sent; None if it can."""
    encoded = _encoded(document)
    return encoded if isinstance(encoded, str) else None


def _encoded(document: Document) -> RawBSONDocument | str:
    """The document as it is sent; or why it can never be."""
    try:
        raw = bson.encode(document)
    except _UNENCODABLE as exc:
        return f"{type(exc).__name__}: {exc}"
    if len(raw) > MAX_BYTES:
        return f"the document has {len(raw)} bytes; MongoDB takes {MAX_BYTES}"
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
