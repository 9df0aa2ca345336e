"""When the first and the last event of each schema version happened, by event time.

The rollups tell the bucket, the widest level first, and `events` the millisecond. A version of which no event is stored
any more has the start of the finest bucket that still counts it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pymongo

from dashboard.data.kept import Kept
from dashboard.model import labels
from dashboard.model.time_window import from_ms, to_ms
from streamapp.model.user_event import SCHEMA_VERSION, TIME
from streamapp.rollups.levels import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pymongo.database import Database

    from dashboard.data.connection import Connection
    from dashboard.model.snapshot import VersionTime

#: The times are read again after this time, since they change rarely; meanwhile those before are given for so long.
FRESH_FOR_SECONDS, USABLE_FOR_SECONDS = 10.0, 30.0
_VERSIONS, _PATH = SCHEMA_VERSION.plural, SCHEMA_VERSION.path
_BY_VERSION: list[dict[str, Any]] = [
    {"$project": {"bucket": 1, "counted": {"$objectToArray": f"${_VERSIONS}"}}},
    {"$unwind": "$counted"},
    {"$group": {"_id": "$counted.k", "first": {"$min": "$bucket"}, "last": {"$max": "$bucket"}}},
]


class VersionTimes:
    """The times of all registered versions, kept for some seconds."""

    def __init__(self, connection: Connection, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._kept = Kept[None, tuple["VersionTime", ...]](FRESH_FOR_SECONDS, USABLE_FOR_SECONDS, monotonic=monotonic)

    def read(self) -> tuple[VersionTime, ...]:
        """Return the versions in their order, each with the times of its first and last event."""
        return self._kept.get(None, self._read)

    def _read(self) -> tuple[VersionTime, ...]:
        with self._connection.asking() as database:
            return _version_times(database)


def _version_times(database: Database[dict[str, Any]]) -> tuple[VersionTime, ...]:
    found = database[LEVELS[-1].collection].aggregate(_BY_VERSION)
    numbers = {number: row for row in found if (number := labels.version_number(row["_id"])) is not None}
    return tuple(
        (
            row["_id"],
            _event_time(database, row["_id"], row["first"], pymongo.ASCENDING),
            _event_time(database, row["_id"], row["last"], pymongo.DESCENDING),
        )
        for _, row in sorted(numbers.items())
    )


def _event_time(database: Database[dict[str, Any]], version: str, bucket: datetime, direction: int) -> datetime:
    """The time of the first or last event of a version, given the day in which it lies."""
    end = bucket + LEVELS[-1].width
    for level in reversed(LEVELS[:-1]):
        query = {"bucket": {"$gte": bucket, "$lt": end}, f"{_VERSIONS}.{version}": {"$exists": True}}
        finer = database[level.collection].find_one(query, {"bucket": 1}, sort=[("bucket", direction)])
        if finer is None:  # deleted after its retention
            break
        bucket, end = finer["bucket"], finer["bucket"] + level.width
    inside = {TIME: {"$gte": to_ms(bucket), "$lt": to_ms(end)}, _PATH: version}
    event = database["events"].find_one(inside, {TIME: 1}, sort=[(TIME, direction)])
    return bucket if event is None else from_ms(int(event[TIME]))
