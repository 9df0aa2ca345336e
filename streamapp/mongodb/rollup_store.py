"""Rollups in MongoDB: reads, conditional writes, and the indexes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import bson
from bson import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, OperationFailure

from streamapp.model.record import PartitionId
from streamapp.mongodb import write_commands
from streamapp.mongodb.client import DUPLICATE_KEY, Mongo, write_errors
from streamapp.rollups.keys import id_of
from streamapp.rollups.levels import LEVELS, Keep, Level
from streamapp.rollups.rollup import ConditionalWrite, ExpectedVersion, Rollup

_INDEX_CONFLICT = 85
#: The fields of `ExpectedVersion`.
_VERSION = ("offset", "n")
#: Documents in one update: each looks for its own among them.
_MAX_PER_UPDATE = 100
#: Bytes of documents in one command, whose limit is that of a document; the rest is room for what is around them.
_MAX_COMMAND_BYTES = write_commands.MAX_BYTES // 2


class _Write(NamedTuple):
    """A conditional write with its document as BSON."""

    id: str
    expected_version: ExpectedVersion | None
    document: RawBSONDocument


class RollupStore:
    """The four rollup collections."""

    def __init__(self, mongo: Mongo, *, keep: Keep) -> None:
        self._mongo = mongo
        self._database = mongo.primary
        self._keep = keep

    async def prepare(self) -> None:
        """Create the index on `bucket`, which also deletes rollups after their retention."""
        for level in LEVELS:
            await self._mongo.call(lambda level=level: self._create_index(level))

    async def load(self, level: Level, ids: Sequence[str]) -> Mapping[str, Rollup]:
        """The stored rollups among `ids`, by `_id`."""
        return await self._mongo.call(lambda: self.find(level, ids)) if ids else {}

    async def write_if_unchanged(self, level: Level, writes: Sequence[ConditionalWrite]) -> bool:
        """Write each rollup whose expected version is stored; False if another process changed one of them.

        Each document must differ from the stored one.
        """
        return await self._mongo.call(lambda: self.write(level, writes))

    async def high_watermark(self, partition_id: PartitionId) -> int:
        """The highest offset of a partition in any rollup, -1 for none: every record up to it had its fate."""
        return await self._mongo.call(lambda: self.last_offset(partition_id))

    def find(self, level: Level, ids: Sequence[str], session: ClientSession | None = None) -> dict[str, Rollup]:
        """`load`, as a blocking call, and within a transaction if there is a session."""
        return self._read(level, {"_id": {"$in": ids}}, session)

    def write(self, level: Level, writes: Sequence[ConditionalWrite], session: ClientSession | None = None) -> bool:
        """`write_if_unchanged`, as a blocking call, and within a transaction if there is a session."""
        encoded = [_encoded(each) for each in writes]
        # All parts, also after a conflict: then fewer rollups must be written again. But it ends a transaction.
        written = (self._write(level, part, session) for part in _parts(encoded))
        return all(written if session else [*written])

    def _write(self, level: Level, writes: Sequence[_Write], session: ClientSession | None) -> bool:
        new = [each.document for each in writes if each.expected_version is None]
        changed = [each for each in writes if each.expected_version is not None]
        is_done = not new or self._run({"insert": level.collection, "documents": new}, session) == len(new)
        if not changed or (session and not is_done):
            return is_done
        updates = [_replacement(changed[at : at + _MAX_PER_UPDATE]) for at in range(0, len(changed), _MAX_PER_UPDATE)]
        return self._run({"update": level.collection, "updates": updates}, session) == len(changed) and is_done

    def _run(self, command: Mapping[str, Any], session: ClientSession | None) -> int:
        """The number of documents that the command has written, -1 after a conflict."""
        try:
            answer = write_commands.run(self._database, command, session)
        except BulkWriteError as exc:
            if {error["code"] for error in write_errors(exc.details)} != {DUPLICATE_KEY}:
                raise
            return -1
        return answer.get("nModified", answer["n"])

    def between(self, level: Level, start_ms: int, end_ms: int) -> dict[str, Rollup]:
        """The stored rollups whose bucket starts in [start, end), epoch ms."""
        return self._read(level, {"bucket": {"$gte": DatetimeMS(start_ms), "$lt": DatetimeMS(end_ms)}})

    def remove(self, level: Level, rollups: Sequence[Rollup]) -> None:
        """Delete each rollup whose expected version is stored."""
        if operations := [
            DeleteOne(_unchanged(rollup.id, *rollup.expected_version)) for rollup in rollups if rollup.expected_version
        ]:
            self._database[level.collection].bulk_write(operations)

    def last_offset(self, partition_id: PartitionId) -> int:
        """`high_watermark`, as a blocking call."""
        # ";" is the character after ":", so this range holds the rollups of the partition and no others.
        ids = {"$gte": id_of(partition_id, 0)[:-1], "$lt": f"{partition_id.topic_id}:{partition_id.partition};"}
        newest = (
            self._database[level.collection].find_one({"_id": ids}, {"offset": 1}, sort=[("offset", -1)])
            for level in LEVELS
        )
        # Another program may have removed the field.
        return max((found.get("offset", -1) for found in newest if found), default=-1)

    def _read(self, level: Level, query: dict[str, Any], session: ClientSession | None = None) -> dict[str, Rollup]:
        found = self._database[level.collection].find(query, session=session)
        return {document["_id"]: Rollup(document["_id"], document) for document in found}

    def _create_index(self, level: Level) -> None:
        collection, kept = self._database[level.collection], self._keep.get(level)
        options: dict[str, Any] = {} if kept is None else {"expireAfterSeconds": int(kept.total_seconds())}
        try:
            collection.create_index("bucket", **options)
        except OperationFailure as exc:
            if exc.code != _INDEX_CONFLICT:
                raise
            # The index has another retention.
            collection.drop_index("bucket_1")
            collection.create_index("bucket", **options)


def _encoded(write: ConditionalWrite) -> _Write:
    return _Write(write.document["_id"], write.expected_version, RawBSONDocument(bson.encode(write.document)))


def _parts(writes: Sequence[_Write]) -> Iterator[Sequence[_Write]]:
    """The writes in parts that fit into a command each; nearly always one part."""
    part, size = list[_Write](), 0
    for each in writes:
        size += len(each.document.raw)
        if part and size > _MAX_COMMAND_BYTES:
            yield part
            part, size = [], len(each.document.raw)
        part.append(each)
    yield part


def _replacement(writes: Sequence[_Write]) -> Mapping[str, Any]:
    """An update that replaces each of the documents whose version is unchanged.

    One update for many documents takes half of MongoDB's time for an update of each. A document whose version has
    changed stays as it is, and is not counted in `nModified`.
    """
    ids = [each.id for each in writes]
    known = [{"version": each.expected_version, "new": each.document} for each in writes]
    write = {"$arrayElemAt": [{"$literal": known}, {"$indexOfArray": [{"$literal": ids}, "$_id"]}]}
    stored_version = [{"$ifNull": [f"${name}", None]} for name in _VERSION]
    replaced = {"$cond": [{"$eq": [stored_version, "$$write.version"]}, "$$write.new", "$$ROOT"]}
    pipeline = [{"$replaceWith": {"$let": {"vars": {"write": write}, "in": replaced}}}]
    return {"q": {"_id": {"$in": ids}}, "u": pipeline, "multi": True}


def _unchanged(rollup_id: str, offset: int | None, n: int | None) -> dict[str, Any]:
    return {"_id": rollup_id, **dict(zip(_VERSION, (offset, n), strict=True))}
