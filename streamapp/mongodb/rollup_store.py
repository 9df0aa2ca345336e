"""Rollups in MongoDB: reads, conditional writes, and the indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bson import DatetimeMS
from pymongo import DeleteOne, InsertOne, ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, OperationFailure

from streamapp.model.record import PartitionId
from streamapp.mongodb.client import DUPLICATE_KEY, Mongo, write_errors
from streamapp.rollups.keys import id_of
from streamapp.rollups.levels import LEVELS, Keep, Level
from streamapp.rollups.rollup import ConditionalWrite, Rollup

_INDEX_CONFLICT = 85


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
        """Write each rollup whose expected version is stored; False if another process changed one of them."""
        return await self._mongo.call(lambda: self.write(level, writes))

    async def high_watermark(self, partition_id: PartitionId) -> int:
        """The highest offset of a partition in any rollup, -1 for none: every record up to it had its fate."""
        return await self._mongo.call(lambda: self.last_offset(partition_id))

    def find(self, level: Level, ids: Sequence[str], session: ClientSession | None = None) -> dict[str, Rollup]:
        """`load`, as a blocking call, and within a transaction if there is a session."""
        return self._read(level, {"_id": {"$in": ids}}, session)

    def write(self, level: Level, writes: Sequence[ConditionalWrite], session: ClientSession | None = None) -> bool:
        """`write_if_unchanged`, as a blocking call, and within a transaction if there is a session."""
        if not writes:
            return True
        collection = self._database[level.collection]
        try:
            result = collection.bulk_write([*map(_operation, writes)], ordered=False, session=session)
        except BulkWriteError as exc:
            if {error["code"] for error in write_errors(exc.details)} != {DUPLICATE_KEY}:
                raise
            return False
        return result.matched_count + result.inserted_count == len(writes)

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
        return max((found["offset"] for found in newest if found), default=-1)

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


def _operation(write: ConditionalWrite) -> InsertOne[dict[str, Any]] | ReplaceOne[dict[str, Any]]:
    if write.expected_version is None:
        return InsertOne(write.document)
    return ReplaceOne(
        _unchanged(write.document["_id"], *write.expected_version),
        write.document,
    )


def _unchanged(rollup_id: str, offset: int | None, n: int | None) -> dict[str, Any]:
    return {"_id": rollup_id, "offset": offset, "n": n}
