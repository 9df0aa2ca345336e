"""Store and count events that arrive out of order: each in the transaction that stores it, and once.

The offset of a replayed dead letter is below offsets that its rollups hold already, and so is the offset of a record
that was a dead letter at its first delivery and is delivered again. The rollup writer, which compares offsets, would
leave such an event out. `kafka.apart` marks its document, and `failed_offsets` remembers that it was counted.

An event whose `_id` belongs to another event, because Kafka used its offset again, gets an `_id` of its own here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from streamapp.decode.document import Document
from streamapp.decode.identity import is_another_event, with_id_of_its_own
from streamapp.errors import StoreUnavailable
from streamapp.mongodb import failed_offsets
from streamapp.mongodb.client import ANSWER_TIMEOUT_MS, DUPLICATE_KEY, Mongo, is_transient, write_errors
from streamapp.mongodb.event_store import KNOWN_FIELDS, why_unencodable
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
        #: Events in the next transaction: fewer after a transaction that was too slow.
        self._max_events = MAX_EVENTS_PER_TRANSACTION

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Store and count each event that is not stored yet.

        Raises:
            StoreUnavailable: some may be stored, some not; the same call may be repeated.
        """
        outcome, start = Outcome(), 0
        while start < len(documents):
            chunk = documents[start : start + self._max_events]
            outcome = outcome.joined(await self._mongo.call(lambda chunk=chunk: self._insert(chunk)), start)
            self._max_events = min(self._max_events * 2, MAX_EVENTS_PER_TRANSACTION)
            start += len(chunk)
        if outcome.reused:
            log.warning(
                "Kafka used the offsets of %d stored events again for other events: a broker lost the end of its log."
                " The new events are stored too; their _id ends with the Kafka timestamp and a checksum",
                len(outcome.reused),
            )
        return outcome

    def _insert(self, documents: Sequence[Document]) -> Outcome:
        refused = {index: why for index, document in enumerate(documents) if (why := why_unencodable(document))}
        while True:
            rest = [index for index in range(len(documents)) if index not in refused]
            try:
                outcome = self._in_transaction(lambda session, rest=rest: self._insert_new(documents, rest, session))
            except _Refused as exc:
                refused[exc.index] = exc.why
            except _ConcurrentWrite:
                continue
            except _SlowTransaction as exc:
                self._max_events = max(len(documents) // 2, 1)
                raise StoreUnavailable(
                    f"MongoDB is slow: it did not store and count {len(documents)} events out of order within"
                    f" {ANSWER_TIMEOUT_MS // 1000} s; the next attempt takes {self._max_events}. Check the load of"
                    " MongoDB and the network between the worker and MongoDB"
                ) from exc
            else:
                return Outcome(duplicates=outcome.duplicates, refused=refused, reused=outcome.reused)

    def _in_transaction(self, work: Callable[[ClientSession | None], Outcome]) -> Outcome:
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

    def _with_time_limit(self, work: Callable[[ClientSession | None], Outcome], session: ClientSession) -> Outcome:
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
                if not isinstance(exc, ServerSelectionTimeoutError):
                    raise _SlowTransaction from exc
            raise

    def _insert_new(
        self, documents: Sequence[Document], indexes: Sequence[int], session: ClientSession | None
    ) -> Outcome:
        """Insert and count the documents that are not stored; the outcome has the others as duplicates."""
        given = {index: documents[index] for index in indexes}
        renamed = self._renamed(given, self._stored(given.values(), session))
        given |= renamed
        stored = self._stored(renamed.values(), session) if renamed else {}
        stored |= self._stored([each for index, each in given.items() if index not in renamed], session)
        # The same event can be twice in one chunk.
        new = {given[index]["_id"]: index for index in reversed(indexes) if given[index]["_id"] not in stored}
        chosen = sorted(new.values())
        self._insert_all(given, chosen, renamed, session)
        self._count_new(given, chosen, renamed, session)
        return Outcome(duplicates=frozenset(indexes).difference(chosen), reused=frozenset(renamed).intersection(chosen))

    def _stored(self, documents: Iterable[Document], session: ClientSession | None) -> dict[str, Mapping[str, Any]]:
        ids = [document["_id"] for document in documents]
        found = self._mongo.primary["events"].find({"_id": {"$in": ids}}, KNOWN_FIELDS, session=session)
        return {document["_id"]: document for document in found}

    def _renamed(
        self, given: Mapping[int, Document], stored: Mapping[str, Mapping[str, Any]]
    ) -> dict[int, dict[str, Any]]:
        """The documents under an `_id` of their own that are other events than the stored ones with their `_id`."""
        pairs = {index: (each, stored.get(each["_id"])) for index, each in given.items()}
        return {
            index: with_id_of_its_own(came)
            for index, (came, found) in pairs.items()
            if found is not None and is_another_event(came, found)
        }

    def _count_new(
        self,
        given: Mapping[int, Document],
        chosen: Sequence[int],
        renamed: Container[int],
        session: ClientSession | None,
    ) -> None:
        usual = self._uncounted([given[index] for index in chosen if index not in renamed], session)
        self._count([*usual, *(given[index] for index in chosen if index in renamed)], session)
        if usual:
            self._mark_counted(usual, session)

    def _insert_all(
        self,
        given: Mapping[int, Document],
        chosen: Sequence[int],
        renamed: Container[int],
        session: ClientSession | None,
    ) -> None:
        marked = [{**given[index], "kafka": {**given[index]["kafka"], "apart": True}} for index in chosen]
        if not marked:
            return
        try:
            self._mongo.database["events"].bulk_write([*map(pymongo.InsertOne, marked)], session=session)
        except BulkWriteError as exc:
            if is_transient(exc):
                raise
            (error,) = write_errors(exc.details)
            if session is None:  # the documents before it are stored, and must be counted now
                self._count_new(given, chosen[: error["index"]], renamed, session)
            if error["code"] == DUPLICATE_KEY and error.get("keyPattern", {"_id": 1}) == {"_id": 1}:
                raise _ConcurrentWrite from exc
            raise _Refused(chosen[error["index"]], f"{error.get('errmsg', '')} ({error['code']})") from exc

    def _uncounted(self, documents: Sequence[Document], session: ClientSession | None) -> list[Document]:
        """The events that were not counted before their documents were deleted from `events`."""
        collection, uncounted = self._mongo.primary[failed_offsets.COLLECTION], list[Document]()
        for partition_id, together in by_partition(documents).items():
            offsets = [event["kafka"]["offset"] for event in together]
            counted = failed_offsets.find(collection, partition_id, offsets, session).counted
            uncounted += [event for event in together if event["kafka"]["offset"] not in counted]
        return uncounted

    def _mark_counted(self, documents: Sequence[Document], session: ClientSession | None) -> None:
        offsets = {
            partition_id: [event["kafka"]["offset"] for event in together]
            for partition_id, together in by_partition(documents).items()
        }
        updates = failed_offsets.updates(offsets, "counted")
        try:
            self._mongo.primary[failed_offsets.COLLECTION].bulk_write(updates, session=session)
        except BulkWriteError as exc:
            if {error["code"] for error in write_errors(exc.details)} != {DUPLICATE_KEY}:
                raise
            raise _ConcurrentWrite from exc

    def _count(self, documents: Sequence[Document], session: ClientSession | None) -> None:
        pending = {each: PendingCounts.of(together) for each, together in by_partition(documents).items()}
        for level in LEVELS:
            since = kept_since(level, self._keep, self._now())
            deltas = {
                id_of(partition_id, start): found
                for partition_id, counts in pending.items()
                for start, found in counts.after(-1, level).items()
                if start >= since
            }
            self._count_at(level, deltas, session)

    def _count_at(self, level: Level, deltas: Mapping[str, Delta], session: ClientSession | None) -> None:
        if session is not None:
            if not self._add(level, deltas, session):
                raise _ConcurrentWrite
            return
        for id_, found in deltas.items():  # one by one: a part of a bulk write could be executed
            while not self._add(level, {id_: found}, session):
                pass

    def _add(self, level: Level, deltas: Mapping[str, Delta], session: ClientSession | None) -> bool:
        found = self._rollups.find(level, [*deltas], session) if deltas else {}
        writes = list[ConditionalWrite]()
        for id_, delta in deltas.items():
            rollup = found.get(id_) or Rollup(id_)
            expected_version = rollup.expected_version
            rollup.add_out_of_order(delta)
            writes.append(ConditionalWrite(expected_version, rollup.document()))
        return self._rollups.write(level, writes, session)


class _ConcurrentWrite(Exception):  # noqa: N818 - no error
    """Another process wrote the same documents: read them again."""


class _SlowTransaction(Exception):  # noqa: N818 - no error
    """MongoDB answers, but the transaction takes too long."""


class _Refused(Exception):  # noqa: N818 - no error
    """MongoDB will never accept one of the documents."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index
        self.why = why
