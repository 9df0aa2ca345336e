"""MongoDB: inserts with a verdict on each document, the counts of dead letters, the indexes that are read.

pymongo blocks, so its calls run in a few threads of their own.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import bson
import pymongo
from bson import DatetimeMS
from bson.errors import BSONError
from pymongo import MongoClient, UpdateOne
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)
from pymongo.write_concern import WriteConcern

from streamapp.avro import UNREGISTERED, WriterSchema
from streamapp.document import Document
from streamapp.errors import StoreUnavailable
from streamapp.inserter import AT_ONCE, Outcome
from streamapp.record import DeadLetter

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Until a server that holds its connection and does not answer counts as away …
_ANSWER_TIMEOUT_MS = 10_000
#: … and one that cannot be reached.
_REACH_TIMEOUT_MS = 2_000
#: The largest document that MongoDB stores (its manual, "MongoDB Limits and Thresholds").
MAX_BYTES = 16 * 1024 * 1024
_MILLIS_PER_HOUR = 3_600_000

_DUPLICATE_KEY = 11_000
# What the server says of a single document that it will never take (MongoDB's error_codes.yml and geo errors): bad
# value, type mismatch, overflow, invalid BSON, names of fields, validation, parallel arrays, too large, duplicate key.
# Anything else is an outage: a good document must not be taken for a bad one.
_OF_A_DOCUMENT = frozenset(
    {2, 14, 15, 22, 52, 53, 54, 55, 56, 57, 121, 171, 241, 10334, 11000, 16755, 16804, 17261, 17280, 17419, 17420}
)
# What the server says of a whole command because of a document in it: bad value, overflow, invalid BSON, too large.
_BECAUSE_OF_A_DOCUMENT = frozenset({2, 15, 22, 10334, 17419, 17420})
_INDEX_CONFLICTS = frozenset({85, 86})
# What encoding a document raises, before anything is sent.
_UNENCODABLE = (BSONError, OverflowError, ValueError, TypeError, RecursionError)


class Store:
    """The `events` collection and its companions."""

    def __init__(self, uri: str, database: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._client: MongoClient[Document] = MongoClient(
            uri,
            appname="streamapp worker",
            connect=False,
            # Whoever calls repeats what fails, and tells of it; the driver would do so in silence.
            retryWrites=False,
            # Not `timeoutMS`, which would spend all of it on looking for a server.
            socketTimeoutMS=_ANSWER_TIMEOUT_MS,
            connectTimeoutMS=_REACH_TIMEOUT_MS,
            serverSelectionTimeoutMS=_REACH_TIMEOUT_MS,
        )
        concern = self._client.write_concern
        if concern.is_server_default:
            concern = WriteConcern("majority")
        self._database = self._client.get_database(database, write_concern=concern)
        self._threads = ThreadPoolExecutor(AT_ONCE + 1, thread_name_prefix="store")
        self._now = now

    async def prepare(self) -> None:
        """Make the collection and the indexes that are read."""
        await self._call(self._make_index)

    async def ping(self) -> None:
        """Raise StoreUnavailable unless MongoDB answers."""
        await self._call(lambda: self._client.admin.command("ping"))

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Insert documents, each with its own verdict: stored, duplicate, or refused for good.

        Raises:
            StoreUnavailable: some may be stored, some not; the same call may be repeated.
        """
        return await self._call(lambda: self._insert(documents))

    async def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Count each dead letter once, however often it is counted; each partition's must come in offset order."""
        updates = [*map(_seed, {_count_id(letter): letter for letter in letters}.values())]
        updates += [_count(letter, self._now()) for letter in letters]
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

    def close(self) -> None:
        """Give up the connections; calls still under way fail."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def _call(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _translated, call)

    def _make_index(self) -> None:
        try:
            self._database["events"].create_index([("event_timestamp", pymongo.ASCENDING)])
        except OperationFailure as exc:
            if exc.code not in _INDEX_CONFLICTS:
                raise
            log.warning("the index on event_timestamp, which the dashboard reads by, cannot be made: %s", exc)

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
            if exc.code not in _BECAUSE_OF_A_DOCUMENT:
                raise
            return self._insert_halves(documents, exc)
        except _UNENCODABLE as exc:
            return self._insert_encodable(documents, exc)
        return Outcome()

    def _insert_encodable(self, documents: Sequence[Document], exc: Exception) -> Outcome:
        """One document that cannot be encoded keeps the whole batch from being sent: find it, and send the rest."""
        refused = {i: why for i, d in enumerate(documents) if (why := _why_unencodable(d))}
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
        first, second = self._insert(documents[:middle]), self._insert(documents[middle:])
        return Outcome(
            duplicates=first.duplicates | {middle + i for i in second.duplicates},
            refused={**first.refused, **{middle + i: why for i, why in second.refused.items()}},
        )


def _why_unencodable(document: Document) -> str | None:
    try:
        size = len(bson.encode(document))
    except _UNENCODABLE as exc:
        return f"{type(exc).__name__}: {exc}"
    return f"the document has {size} bytes; MongoDB takes {MAX_BYTES}" if size > MAX_BYTES else None


def is_transient(exc: Exception) -> bool:
    """Whether the fault is MongoDB's, or the way to it, and not a document's.

    A command that is refused as a whole (rights, read-only, quota …) is an outage too: no record is at fault.
    """
    if isinstance(exc, BulkWriteError):
        details = exc.details or {}
        unexpected = any(error["code"] not in _OF_A_DOCUMENT for error in _errors(details))
        return unexpected or bool(details.get("writeConcernErrors"))
    if isinstance(exc, OperationFailure):
        return exc.code not in _BECAUSE_OF_A_DOCUMENT or isinstance(exc, (WriteConcernError, ExecutionTimeout))
    return isinstance(exc, ConnectionFailure) or (isinstance(exc, PyMongoError) and exc.timeout)


def _translated(call: Callable[[], T]) -> T:
    try:
        return call()
    except PyMongoError as exc:
        if not is_transient(exc):
            raise
        # Address and error come first; after them the driver tells of all its timeouts and servers.
        reason = re.split(r" \(configured timeouts|, Timeout: |, full error: ", str(exc), maxsplit=1)[0][:300]
        message = f"MongoDB takes no writes (STREAMAPP_MONGO_URI): {reason}"
        raise StoreUnavailable(message) from exc


def _analyse(exc: BulkWriteError) -> Outcome:
    if is_transient(exc):
        raise exc
    duplicates: set[int] = set()
    refused: dict[int, str] = {}
    for error in _errors(exc.details or {}):
        if error["code"] == _DUPLICATE_KEY and error.get("keyPattern", {"_id": 1}) == {"_id": 1}:
            duplicates.add(error["index"])
        else:
            refused[error["index"]] = f"{error.get('errmsg', '')} ({error['code']})"
    return Outcome(duplicates=frozenset(duplicates), refused=refused)


def _errors(details: Any) -> Iterable[dict[str, Any]]:
    return details.get("writeErrors", ())


def _is_race(exc: OperationFailure) -> bool:
    errors = [*_errors(exc.details or {})]
    return exc.code == _DUPLICATE_KEY or any(error["code"] == _DUPLICATE_KEY for error in errors)


# dead_letters: one document per reason and hour (of the record's Kafka timestamp: the same on every delivery), with
# the last offset counted per partition, so that a delivery that is repeated adds nothing.


def _count_id(letter: DeadLetter) -> str:
    return f"{letter.reason}:{_hour(letter)}"


def _hour(letter: DeadLetter) -> int:
    return letter.origin.timestamp // _MILLIS_PER_HOUR * _MILLIS_PER_HOUR


def _seed(letter: DeadLetter) -> UpdateOne:
    new = {"reason": str(letter.reason), "hour": DatetimeMS(_hour(letter)), "n": 0}
    return UpdateOne({"_id": _count_id(letter)}, {"$setOnInsert": new}, upsert=True)


def _count(letter: DeadLetter, now: datetime) -> UpdateOne:
    origin = letter.origin
    # A topic's name may have dots, which would nest.
    last = f"offsets.{(origin.incarnation or origin.topic).replace('.', '_')}-{origin.partition}"
    sample = {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset}
    return UpdateOne(
        {"_id": _count_id(letter), last: {"$not": {"$gte": origin.offset}}},
        {"$inc": {"n": 1}, "$set": {last: origin.offset, "last_at": now, "sample": sample}},
    )
