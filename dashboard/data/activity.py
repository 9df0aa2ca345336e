"""Read what users do: the newest events of a window one by one, and the sketches of users of all days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pymongo

from dashboard.data import direct
from dashboard.model import labels, user_activity
from dashboard.model.time_window import from_ms
from dashboard.model.user_activity import Act, Activity, ActivityQuery, Day
from streamapp.model.user_event import DIMENSIONS, MAIN_DIMENSION, TIME, USER
from streamapp.model.value_text import text_of
from streamapp.rollups.keys import key_of
from streamapp.rollups.levels import LEVELS

if TYPE_CHECKING:
    from datetime import datetime

    from pymongo.database import Database

#: Events of the window that are read.
MOST_READ = 10_000
#: Rollups by day that are read, the newest ones: one for each day and partition.
MOST_ROLLUPS = 5_000
_MAIN = next(each.path for each in DIMENSIONS if each.plural == MAIN_DIMENSION)


def activity(database: Database[dict[str, Any]], query: ActivityQuery, numbers: Mapping[int, int]) -> Activity:
    """Return what the newest events of the window say."""
    paths = {USER, TIME, _MAIN, *(each.path for each in DIMENSIONS if query.filter)}
    stages = [
        *direct.newest(query.window, MOST_READ + 1),
        {"$project": {**dict.fromkeys(paths, 1), "_id": 0}},
    ]
    events = [*database["events"].aggregate(stages, batchSize=MOST_READ + 1)]
    # One more than is counted tells whether there are more, and from when they are.
    first_left_out = from_ms(int(events.pop()[TIME])) if len(events) > MOST_READ else None
    return user_activity.activity(_acts(direct.passing_events(events, query.filter, numbers)), query, first_left_out)


def _acts(events: list[dict[str, Any]]) -> Iterator[Act]:
    known: dict[Any, str] = {}
    for event in events:
        value, user = event.get(_MAIN), event.get(USER)
        label = known.get(value) if type(value) is str else _label(value)
        if label is None:
            label = known[value] = _label(value)
        yield Act(user if type(user) is str else text_of(user) or "", label, int(event[TIME]))


def _label(value: object) -> str:
    return labels.of_key(key_of(text_of(value)))


def days(database: Database[dict[str, Any]]) -> tuple[Day, ...]:
    """Return the users of each day."""
    found = database[LEVELS[-1].collection].find({}, {"bucket": 1, "users": 1})
    rollups = [*found.sort("bucket", pymongo.DESCENDING).limit(MOST_ROLLUPS)][::-1]
    return user_activity.days(_sketches(rollups))


def _sketches(rollups: list[dict[str, Any]]) -> Iterator[tuple[datetime, list[bytes]]]:
    for bucket, of_day in groupby(rollups, key=lambda rollup: rollup["bucket"]):
        yield bucket, [rollup["users"] for rollup in of_day]
