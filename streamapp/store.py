"""Events in MongoDB: inserts with a verdict on each document, the counts of dead letters, the indexes that are read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import bson
import pymongo
from bson.errors import BSONError
from pymongo import UpdateOne
from pymongo.errors import (
    BulkWriteError,
    DuplicateKeyError,
    OperationFailure,
)

from streamapp import dead_letter_counts
from streamapp.avro import UNREGISTERED, WriterSchema
from streamapp.document import Document
from streamapp.errors import StoreUnavailable
from streamapp.inserter import Outcome
from streamapp.mongo import BECAUSE_OF_A_DOCUMENT, DUPLICATE_KEY, Mongo, is_transient, write_errors
from streamapp.record import DeadLetter
from streamapp.recount import FIELDS

log = logging.getLogger(__name__)

#: The largest document that MongoDB stores (its manual, "MongoDB Limits and Thresholds").
MAX_BYTES = 16 * 1024 * 1024

_INDEX_CONFLICTS = frozenset({85, 86})
# What encoding a document raises, before anything is sent.
_UNENCODABLE = (BSONError, OverflowError, ValueError, TypeError, RecursionError)


class Store:
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
        apart = {"kafka.apart": True}
        self._make_index(by_time, "which `rollups rebuild` reads by", name="apart", partialFilterExpression=apart)

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
        try:
            self._database["events"].insert_many(documents, ordered=False)
        except BulkWriteError as exc:
            return _analyse(exc)
        except OperationFailure as exc:
            if exc.code not in BECAUSE_OF_A_DOCUMENT:
                raise
            return self._insert_halves(documents, exc)
        except _UNENCODABLE as exc:
            return self._insert_encodable(documents, exc)
        return Outcome()

    def _insert_encodable(self, documents: Sequence[Document], exc: Exception) -> Outcome:
        """One document that cannot be encoded keeps the whole batch from being sent: find it, and send the rest."""
        refused = {i: why for i, d in enumerate(documents) if (why := why_unencodable(d))}
        if not refused:
            raise exc
        rest = [i for i in range(len(documents)) if i not in refused]
        outcome = self._insert([documents[i] for i in rest]) if rest else Outcome()
        return Outcome(
            duplicates=frozenset(rest[i] for i in outcome.duplicates),
            refused={**refused, **{rest[i]: why for i, why in outcome.refused.items()}},
        )

    def _insert_halves(self, documents: Sequence[Document], exc: OperationFailure) -> Outcome:
        """The server refused a whole command because of a document that it does not name: close in on it."""
        if len(documents) == 1:
            return Outcome(refused={0: str(exc)})
        middle = len(documents) // 2
        return self._insert(documents[:middle]).joined(self._insert(documents[middle:]), middle)


def why_unencodable(document: Document) -> str | None:
    """Why a document can never be sent; None if it can."""
    try:
        size = len(bson.encode(document))
    except _UNENCODABLE as exc:
        return f"{type(exc).__name__}: {exc}"
    return f"the document has {size} bytes; MongoDB takes {MAX_BYTES}" if size > MAX_BYTES else None


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
