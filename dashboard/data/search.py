"""Find single events: the newest ones of a window that match, by the index on the event time."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any

import pymongo

from dashboard.data import direct
from dashboard.model.explorer import COLUMNS, SearchResult
from dashboard.model.time_window import from_ms, to_ms
from streamapp.model.user_event import TIME, USER
from streamapp.model.value_text import values_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pymongo.database import Database

    from dashboard.model.explorer import Search
    from dashboard.model.time_window import Window

#: Events that are returned.
MOST_FOUND = 100
#: Events of the window that are looked at: no index leads to a user or a value.
MOST_SEARCHED = 30_000


def search(
    database: Database[dict[str, Any]], wanted: Search, numbers: Mapping[int, int], back_to: datetime | None
) -> SearchResult:
    """Return the newest events that match, and how far was looked for them.

    Args:
        database: the database.
        wanted: which events.
        numbers: the number that each version of the event has under the subject.
        back_to: what `first_not_searched` returns: this event and older ones are not looked at.
    """
    if back_to is not None and back_to < wanted.window.start:
        back_to = None
    conditions = [direct.query(wanted.window), direct.candidates(wanted.filter)]
    if back_to is not None:
        conditions.append({TIME: {"$gt": to_ms(back_to)}})
    if wanted.user is not None:
        conditions.append({USER: {"$in": values_of(wanted.user)}})
    # Not an aggregation, which reads thousands of events before it returns the first one.
    found = database["events"].find({"$and": conditions}, dict.fromkeys(COLUMNS, 1))
    rows = [*found.sort(TIME, pymongo.DESCENDING).limit(MOST_FOUND)]
    is_cut = len(rows) >= MOST_FOUND
    return SearchResult(
        rows=[*compress(rows, direct.passing(map(direct.texts_of, rows), wanted.filter, numbers))],
        is_cut=is_cut,
        searched_back_to=None if is_cut else back_to,
    )


def first_not_searched(database: Database[dict[str, Any]], window: Window) -> datetime | None:
    """Return the time of the newest event of a window that is not looked at; None if all are looked at."""
    # Only the index is read.
    events = database["events"].find(direct.query(window), {TIME: 1, "_id": 0})
    rest = events.sort(TIME, pymongo.DESCENDING).skip(MOST_SEARCHED).limit(1)
    return next((from_ms(int(event[TIME])) for event in rest), None)
