"""The retention of events: a TTL index on `received_at`, and which events MongoDB may have deleted because of it.

The document `retention` of `pipeline_state` remembers the deletions after the retention was changed:

    kind              "retention"
    retention_days    days in force; 0 for ever
    deleted_before    Date; events received before it may have been deleted by an earlier, shorter retention

Change the retention by the setting only: a change of the index by other means is not remembered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

from streamapp.model.expiry import INDEX, RECEIVED_AT, Expiry
from streamapp.mongodb.client import Mongo

log = logging.getLogger(__name__)

_COLLECTION = "pipeline_state"
_ID = "retention"
_SECONDS = "expireAfterSeconds"
_UNAUTHORIZED, _INDEX_NOT_FOUND = 13, 27


class EventRetention:
    """Creates, changes and drops the TTL index, as the setting says; `days` 0 keeps events for ever.

    An index on `received_at` that has another name is changed if the setting asks for a retention, and never dropped.
    """

    def __init__(self, mongo: Mongo, *, days: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._mongo = mongo
        self._days = days
        self._now = now

    async def prepare(self) -> None:
        """Make the index as the setting says; raises StoreUnavailable."""
        await self._mongo.call(self._prepare)

    def _prepare(self) -> None:
        try:
            index = ttl_index(self._mongo.database)
        except OperationFailure as exc:
            if exc.code != _UNAUTHORIZED or self._days:
                raise
            return  # a user without the right to list the indexes has no right to change them
        if index is None and not self._days:
            return
        if index is not None:
            self._remember(self._now() - timedelta(seconds=index[_SECONDS]))
        self._apply(index, self._days * 86_400)

    def _apply(self, index: Mapping[str, Any] | None, seconds: int) -> None:
        events = self._mongo.database["events"]
        if index is None:
            self._create(seconds)
        elif index[_SECONDS] == seconds:
            return
        elif seconds:
            change = {"name": index["name"], _SECONDS: seconds}
            self._mongo.database.command({"collMod": "events", "index": change})
        elif index["name"] == INDEX:
            self._drop()
        else:
            log.warning(
                "The index %s of events deletes events, and STREAMAPP_EVENTS_RETENTION_DAYS is 0. The worker does not"
                " drop an index that it has not created",
                index["name"],
            )
            return
        kept = f"for {self._days} days after they were received" if seconds else "for ever"
        log.info("MongoDB keeps events %s (%s).", kept, events.full_name, extra={"retention_days": self._days})

    def _create(self, seconds: int) -> None:
        events = self._mongo.database["events"]
        same = [each for each in events.list_indexes() if dict(each["key"]) == {RECEIVED_AT: 1}]
        if same:  # without a retention
            change = {"name": same[0]["name"], _SECONDS: seconds}
            self._mongo.database.command({"collMod": "events", "index": change})
        else:
            events.create_index(RECEIVED_AT, name=INDEX, expireAfterSeconds=seconds)

    def _drop(self) -> None:
        try:
            self._mongo.database["events"].drop_index(INDEX)
        except OperationFailure as exc:
            if exc.code != _INDEX_NOT_FOUND:  # another worker has dropped it
                raise

    def _remember(self, deleted_before: datetime) -> None:
        change = {
            "$max": {"deleted_before": deleted_before},
            "$set": {"kind": "retention", "retention_days": self._days},
        }
        self._mongo.database[_COLLECTION].update_one({"_id": _ID}, change, upsert=True)


def expiry(database: Database[Any]) -> Expiry:
    """Read what MongoDB deletes and has deleted because of the age of events; a blocking call that writes nothing."""
    index = ttl_index(database)
    found = database[_COLLECTION].find_one({"_id": _ID}) or {}
    at = found.get("deleted_before")
    return Expiry(
        retention=timedelta(seconds=index[_SECONDS]) if index else None,
        deleted_before=_in_utc(at) if isinstance(at, datetime) else None,
    )


def ttl_index(database: Database[Any]) -> Mapping[str, Any] | None:
    """The TTL index on `received_at`, as listIndexes describes it; None if there is none."""
    indexes = database["events"].list_indexes()
    return next((each for each in indexes if dict(each["key"]) == {RECEIVED_AT: 1} and _SECONDS in each), None)


def _in_utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
