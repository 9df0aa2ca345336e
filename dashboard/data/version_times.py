"""When the first and the last event of each schema version happened, by event time.

The rollups tell the bucket, the widest level first, and `events` the millisecond. A version of which no event is stored
any more has the start of the finest bucket that still counts it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pymongo

from dashboard.model import labels
from dashboard.model.time_window import from_ms, to_ms
from streamapp.model.user_event import SCHEMA_VERSION, TIME
from streamapp.rollups.levels import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pymongo.database import Database

    from dashboard.model.snapshot import VersionTime

#: The times are read again after this time: they change rarely.
FRESH_FOR_SECONDS = 10.0
_VERSIONS, _PATH = SCHEMA_VERSION.plural, SCHEMA_VERSION.path
_BY_VERSION: list[dict[str, Any]] = [
    {"$project": {"bucket": 1, "counted": {"$objectToArray": f"${_VERSIONS}"}}},
    {"$unwind": "$counted"},
    {"$group": {"_id": "$counted.k", "first": {"$min": "$bucket"}, "last": {"$max": "$bucket"}}},
]


class VersionTimes:
    """The times of all registered versions, kept for some seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._read_at = -FRESH_FOR_SECONDS
        self._found: tuple[VersionTime, ...] = ()

    def read(self, database: Database[dict[str, Any]]) -> tuple[VersionTime, ...]:
        """Return the versions in their order, each with the times of its first and last event."""
        if self._monotonic() - self._read_at >= FRESH_FOR_SECONDS:
            self._found, self._read_at = _version_times(database), self._monotonic()
        return self._found


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
