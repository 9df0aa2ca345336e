"""Find single events: the newest ones of a window that match, by the index on the event time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymongo

from dashboard.data import direct
from dashboard.model.explorer import COLUMNS, SearchResult
from dashboard.model.time_window import from_ms
from streamapp.model.user_event import TIME, USER
from streamapp.model.value_text import values_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pymongo.database import Database

    from dashboard.model.explorer import Search

#: Events that are returned.
MOST_FOUND = 100
#: Events of the window that are looked at: no index leads to a user or a value.
MOST_SEARCHED = 50_000


def search(database: Database[dict[str, Any]], wanted: Search, numbers: Mapping[int, int]) -> SearchResult:
    """Return the newest events that match, and how far was looked for them."""
    conditions = [direct.candidates(wanted.filter)]
    if wanted.user is not None:
        conditions.append({USER: {"$in": values_of(wanted.user)}})
    stages = [
        *direct.newest(wanted.window, MOST_SEARCHED),
        {"$match": {"$and": conditions}},
        {"$limit": MOST_FOUND},
        {"$project": dict.fromkeys(COLUMNS, 1)},
    ]
    rows = [*database["events"].aggregate(stages)]
    is_cut = len(rows) >= MOST_FOUND
    return SearchResult(
        rows=direct.passing_events(rows, wanted.filter, numbers),
        is_cut=is_cut,
        searched_back_to=None if is_cut else _first_not_searched(database, wanted),
    )


def _first_not_searched(database: Database[dict[str, Any]], wanted: Search) -> datetime | None:
    """The time of the newest event that was not looked at."""
    events = database["events"].find(direct.query(wanted.window), {TIME: 1, "_id": 0})
    rest = events.sort(TIME, pymongo.DESCENDING).skip(MOST_SEARCHED).limit(1)
    return next((from_ms(int(event[TIME])) for event in rest), None)
