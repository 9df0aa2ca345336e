"""Store and count events that arrive out of order: each in the transaction that stores it, and once.

The offset of a replayed dead letter is below offsets that its rollups hold already, and so is the offset of a record
that was a dead letter at its first delivery and is delivered again. The rollup writer, which compares offsets, would
leave such an event out. `kafka.apart` marks its document.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import pymongo
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from streamapp.decode.document import Document
from streamapp.model.record import PartitionId
from streamapp.mongodb.client import ANSWER_TIMEOUT_MS, DUPLICATE_KEY, Mongo, is_transient, write_errors
from streamapp.mongodb.event_store import why_unencodable
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.rollups.keys import by_partition, id_of
from streamapp.rollups.levels import LEVELS, Keep, Level, kept_since
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.rollup import ConditionalWrite, Delta, Rollup
from streamapp.sink.ports import Outcome

log = logging.getLogger(__name__)

#: Events in one transaction.
MAX_EVENTS_PER_TRANSACTION = 200

_NO_TRANSACTIONS = 20


class OutOfOrderStore:
    """Stores and counts events out of order."""

    def __init__(
        self, mongo: Mongo, rollups: RollupStore, *, keep: Keep, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._mongo = mongo
        self._rollups = rollups
        self._keep = keep
        self._now = now
        self._has_transactions = True

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Store and count each event that is not stored yet.

        Raises:
            StoreUnavailable: some may be stored, some not; the same call may be repeated.
        """
        outcome = Outcome()
        for start in range(0, len(documents), MAX_EVENTS_PER_TRANSACTION):
            chunk = documents[start : start + MAX_EVENTS_PER_TRANSACTION]
            outcome = outcome.joined(await self._mongo.call(lambda chunk=chunk: self._insert(chunk)), start)
        return outcome

    def _insert(self, documents: Sequence[Document]) -> Outcome:
        refused = {index: why for index, document in enumerate(documents) if (why := why_unencodable(document))}
        while True:
            rest = [index for index in range(len(documents)) if index not in refused]
            try:
                known = self._in_transaction(lambda session, rest=rest: self._insert_new(documents, rest, session))
            except _Refused as exc:
                refused[exc.index] = exc.why
            except _ConcurrentWrite:
                continue
            else:
                return Outcome(duplicates=frozenset(known), refused=refused)

    def _in_transaction(self, work: Callable[[ClientSession | None], set[int]]) -> set[int]:
        if not self._has_transactions:
            return work(None)
        try:
            with self._mongo.client.start_session() as session:
                return self._with_time_limit(work, session)
        except OperationFailure as exc:
            if exc.code != _NO_TRANSACTIONS:
                raise
            self._has_transactions = False
            log.warning(
                "MongoDB has no transactions, because it is not a replica set: after a crash during a replay, rollups"
                " can lack events; `streamapp rollups check` finds them, `streamapp rollups rebuild` repairs them"
            )
            return work(None)

    def _with_time_limit(self, work: Callable[[ClientSession | None], set[int]], session: ClientSession) -> set[int]:
        try:
            with pymongo.timeout(ANSWER_TIMEOUT_MS / 1000):
                return session.with_transaction(
                    work,
                    read_concern=ReadConcern("snapshot"),
                    write_concern=self._mongo.database.write_concern,
                    read_preference=ReadPreference.PRIMARY,
                )
        except PyMongoError as exc:
            if exc.timeout:
                # After the timeout the driver sends no abort: MongoDB would lock the documents of the transaction for a
                # minute by default, against the next attempt too.
                with suppress(PyMongoError):
                    self._mongo.client.admin.command("killSessions", [session.session_id])
            raise

    def _insert_new(
        self, documents: Sequence[Document], indexes: Sequence[int], session: ClientSession | None
    ) -> set[int]:
        """Insert and count the documents that are not stored; return the indexes of the others."""
        events = self._mongo.primary["events"]
        ids = [documents[index]["_id"] for index in indexes]
        stored = {found["_id"] for found in events.find({"_id": {"$in": ids}}, {"_id": 1}, session=session)}
        # The same event can be twice in one chunk.
        new = {documents[index]["_id"]: index for index in reversed(indexes) if documents[index]["_id"] not in stored}
        for index in sorted(new.values()):
            self._insert_one(documents[index], index, session)
        self._count([documents[index] for index in new.values()], session)
        return {*indexes}.difference(new.values())

    def _insert_one(self, document: Document, index: int, session: ClientSession | None) -> None:
        marked = {**document, "kafka": {**document["kafka"], "apart": True}}
        try:
            self._mongo.database["events"].bulk_write([pymongo.InsertOne(marked)], session=session)
        except BulkWriteError as exc:
            if is_transient(exc):
                raise
            (error,) = write_errors(exc.details)
            if error["code"] == DUPLICATE_KEY and error.get("keyPattern", {"_id": 1}) == {"_id": 1}:
                raise _ConcurrentWrite from exc
            raise _Refused(index, f"{error.get('errmsg', '')} ({error['code']})") from exc

    def _count(self, documents: Sequence[Document], session: ClientSession | None) -> None:
        for partition_id, together in by_partition(documents).items():
            pending = PendingCounts.of(together)
            for level in LEVELS:
                self._count_at(level, partition_id, pending, session)

    def _count_at(
        self, level: Level, partition_id: PartitionId, pending: PendingCounts, session: ClientSession | None
    ) -> None:
        since = kept_since(level, self._keep, self._now())
        deltas = {
            id_of(partition_id, start): found for start, found in pending.after(-1, level).items() if start >= since
        }
        for id_, found in deltas.items():
            while not self._add(level, id_, found, session):
                if session is not None:
                    raise _ConcurrentWrite

    def _add(self, level: Level, id_: str, deltas: Sequence[Delta], session: ClientSession | None) -> bool:
        rollup = self._rollups.find(level, [id_], session).get(id_) or Rollup(id_)
        expected_version = rollup.expected_version
        rollup.add_out_of_order(deltas)
        return self._rollups.write(level, [ConditionalWrite(expected_version, rollup.document())], session)


class _ConcurrentWrite(Exception):  # noqa: N818 - no error
    """Another process wrote the same documents: read them again."""


class _Refused(Exception):  # noqa: N818 - no error
    """MongoDB will never accept one of the documents."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index
        self.why = why
