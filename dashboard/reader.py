"""Read what the page needs from MongoDB, and nothing else: no writes, no query beyond its limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pymongo

from dashboard.snapshot import Counts, Overview
from dashboard.timeplan import Window, from_ms, to_ms

if TYPE_CHECKING:
    from pymongo.database import Database

    from dashboard.connection import Connection

# Counting one by one costs up to 0.6 µs an event: not felt up to here, and beyond it MongoDB's own number is taken,
# which can be off after MongoDB was killed.
COUNT_UP_TO = 100_000
MOST_VALUES = 50
ASSUMED_V2_VERSION = 2

Document = Mapping[str, Any]
Key = TypeVar("Key")


class Reader(Protocol):
    """What the page reads; every method raises Trouble when there is no answer."""

    def overview(self) -> Overview | None:
        """Return what is known of the whole collection, None when it does not exist yet."""
        ...

    def counts(self, window: Window) -> Counts:
        """Return the events of the window, counted."""
        ...


class MongoReader:
    """The Reader on a real MongoDB."""

    def __init__(self, connection: Connection, *, subject: str) -> None:
        self._connection = connection
        self._subject = subject

    def overview(self) -> Overview | None:
        """Return what is known of the whole collection, None when it does not exist yet."""
        with self._connection.asking() as database:
            events = database["events"]
            last = events.find_one({}, {"received_at": 1}, sort=[("$natural", pymongo.DESCENDING)])
            if last is None:
                return None
            newest = events.find_one(
                {"event_timestamp": {"$type": ["int", "long", "double"]}},
                {"event_timestamp": 1},
                sort=[("event_timestamp", pymongo.DESCENDING)],
            )
            estimate = events.estimated_document_count()
            is_exact = estimate <= COUNT_UP_TO
            return Overview(
                all_time=events.count_documents({}) if is_exact else estimate,
                all_time_is_exact=is_exact,
                last_received_at=_instant(last.get("received_at")),
                newest_event_at=None if newest is None else from_ms(int(newest["event_timestamp"])),
                v2_version=self._v2_version(database),
            )

    def counts(self, window: Window) -> Counts:
        """Return the events of the window, counted."""
        with self._connection.asking() as database:
            (facets,) = database["events"].aggregate(pipeline(window))
        return _counts(facets)

    def _v2_version(self, database: Database[dict[str, Any]]) -> int:
        query = {"subject": self._subject, "is_v2": True}
        known = database["schema_versions"].find_one(query, {"version": 1}, sort=[("version", pymongo.ASCENDING)])
        return int(known["version"]) if known else ASSUMED_V2_VERSION


def pipeline(window: Window) -> Sequence[Document]:
    """Return the aggregation that counts a window in one pass; its $match uses the index on event_timestamp."""
    at, width_ms = "$event_timestamp", int(window.width.total_seconds() * 1_000)
    bucket = {"$toLong": {"$subtract": [at, {"$mod": [at, width_ms]}]}}
    return [
        {"$match": {"event_timestamp": {"$gte": to_ms(window.start), "$lt": to_ms(window.end)}}},
        {
            "$facet": {
                "by_bucket": [_grouped({"bucket": bucket, "version": "$schema_version"})],
                "by_type": _most_frequent({"value": "$event_type"}),
                "by_browser": _most_frequent({"value": "$browser", "version": "$schema_version"}),
                "by_device": _most_frequent({"value": "$metadata.device"}),
                "users": [{"$group": {"_id": "$user_id"}}, {"$count": "n"}],
            }
        },
    ]


def _grouped(by: Document) -> Document:
    return {"$group": {"_id": by, "n": {"$sum": 1}}}


def _most_frequent(by: Document) -> list[Document]:
    # Bounded: a field with a value of its own per event must not make the answer as large as the data.
    return [_grouped(by), {"$sort": {"n": -1, "_id": 1}}, {"$limit": MOST_VALUES}]


def _counts(facets: Document) -> Counts:
    return Counts(
        by_bucket=_summed(facets["by_bucket"], lambda by: (from_ms(int(by["bucket"])), _text(by.get("version")))),
        by_type=_summed(facets["by_type"], lambda by: _text(by.get("value"))),
        by_browser=_summed(facets["by_browser"], lambda by: (_text(by.get("value")), _text(by.get("version")))),
        by_device=_summed(facets["by_device"], lambda by: _text(by.get("value"))),
        users=facets["users"][0]["n"] if facets["users"] else 0,
    )


def _summed(rows: Sequence[Document], key_of: Callable[[Document], Key]) -> Mapping[Key, int]:
    # Summed, not just collected: a field that is absent and one that is null are the same to the page.
    counts: Counter[Key] = Counter()
    for row in rows:
        counts[key_of(row["_id"])] += int(row["n"])
    return counts


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _instant(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None
