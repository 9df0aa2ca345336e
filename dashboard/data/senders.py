"""Read who sends events: the stored headers of the newest events of a window that pass a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboard.data import direct
from dashboard.model.clients import clients
from streamapp.model.user_event import DIMENSIONS, TIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymongo.database import Database

    from dashboard.model.clients import Client
    from dashboard.model.snapshot import Filter
    from dashboard.model.time_window import Window

_HEADERS = "kafka.headers"
_FIELDS = {**dict.fromkeys((TIME, _HEADERS, *(each.path for each in DIMENSIONS)), 1), "_id": 0}


def senders(
    database: Database[dict[str, Any]], window: Window, wanted: Filter, numbers: Mapping[int, int], most: int
) -> Sequence[Client]:
    """Return the clients of the events that pass the filter, of the newest events of the window.

    Args:
        database: the database.
        window: the period.
        wanted: the filter.
        numbers: the number that each version of the event has under the subject.
        most: the greatest number of events to read.
    """
    has_headers = {"$and": [{_HEADERS: {"$type": "object"}}, direct.candidates(wanted)]}
    stages = [*direct.newest(window, most), {"$match": has_headers}, {"$project": _FIELDS}]
    return clients(direct.passing_events([*database["events"].aggregate(stages, batchSize=most)], wanted, numbers))
