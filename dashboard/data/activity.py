"""Read the sketches of the users of all days."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pymongo

from dashboard.model import user_activity
from dashboard.model.user_activity import Day
from streamapp.rollups.levels import LEVELS

if TYPE_CHECKING:
    from datetime import datetime

    from pymongo.database import Database

#: Rollups by day that are read, the newest ones: one for each day and partition.
MOST_ROLLUPS = 5_000


def days(database: Database[dict[str, Any]]) -> tuple[Day, ...]:
    """Return the users of each day."""
    found = database[LEVELS[-1].collection].find({}, {"bucket": 1, "users": 1})
    rollups = [*found.sort("bucket", pymongo.DESCENDING).limit(MOST_ROLLUPS)][::-1]
    return user_activity.days(_sketches(rollups))


def _sketches(rollups: list[dict[str, Any]]) -> Iterator[tuple[datetime, list[bytes]]]:
    for bucket, of_day in groupby(rollups, key=lambda rollup: rollup["bucket"]):
        yield bucket, [rollup["users"] for rollup in of_day]
