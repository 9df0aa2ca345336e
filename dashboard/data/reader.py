"""Read what the page needs from MongoDB, and nothing else: no writes, no query beyond its limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pymongo

from dashboard.data import rollup_sums
from dashboard.model import labels
from dashboard.model.snapshot import FILTERS, Counts, Filter, Overview, QueryResult
from dashboard.model.time_window import Window, from_ms, to_ms
from streamapp.model.user_event import (
    CHARTS,
    DIMENSIONS,
    MAIN_DIMENSION,
    SCHEMA_VERSION,
    TIME,
    USER,
    VERSION_FLAGS,
    VERSIONS,
)
from streamapp.model.value_text import text_of, values_of
from streamapp.rollups.keys import MAPS
from streamapp.rollups.levels import LEVELS

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.database import Database

    from dashboard.data.connection import Connection
    from dashboard.data.rollup_sums import Gap

#: Counting one by one costs up to 0.6 µs an event: not felt up to here, and beyond it MongoDB's own number is taken,
#: which can be off after MongoDB was killed.
COUNT_UP_TO = 100_000
#: Events that are read for one answer where no rollup gives it.
MOST_DIRECT = 50_000
MOST_VALUES = 50
#: Events that are looked at to find one that rollups lack.
MOST_IN_GAPS = 1_000

_PATHS = {each.plural: each.path for each in DIMENSIONS}
_VERSION_PATH = SCHEMA_VERSION.path
_MAPS = (*MAPS, "users")
#: What is shown of the period before.
_COMPARED = (MAIN_DIMENSION, SCHEMA_VERSION.plural, "users")

Document = Mapping[str, Any]
Key = TypeVar("Key")


class Reader(Protocol):
    """What the page reads; every method raises DashboardError when there is no answer."""

    def overview(self) -> Overview | None:
        """Return what is known of the whole collection, None when it does not exist yet."""
        ...

    def found(self, window: Window, wanted: Filter, *, settled_at: datetime) -> QueryResult:
        """Return the events of the window and of the period before it, by rollups.

        What was stored up to `settled_at` must be in them.
        """
        ...

    def found_directly(self, window: Window, wanted: Filter) -> QueryResult:
        """Return the events of the window, the newest ones if there are too many, without rollups."""
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
            stored = events.estimated_document_count()
            rolled_up = _rolled_up(database)
            return Overview(
                # An estimate that is off must not be taken for rollups that are behind.
                stored=events.count_documents({}) if rolled_up < stored <= COUNT_UP_TO else stored,
                rolled_up=rolled_up,
                is_exact=stored <= max(rolled_up, COUNT_UP_TO),
                last_received_at=_instant(last.get("received_at")),
                newest_event_at=_newest_event_at(events),
                **_versions(database, self._subject),
            )

    def found(self, window: Window, wanted: Filter, *, settled_at: datetime) -> QueryResult:
        """Return the events of the window and of the period before it, by rollups."""
        with self._connection.asking() as database:
            collection = database[window.level.collection]
            rollups = _between(collection, window.start, window.end, ("cells",) if wanted else _MAPS)
            before = _between(collection, window.previous_start, window.start, ("cells",) if wanted else _COMPARED)
            counts, finished = rollup_sums.of_window(rollups, window, wanted)
            users = self._users(database, window, wanted, counts.total) if wanted else counts.users
            lost = _newest_lost(database, rollup_sums.gaps([*before, *rollups], window), settled_at)
        return QueryResult(
            counts=replace(counts, users=users),
            finished=finished,
            # Half a period would make a change of its own.
            previous=rollup_sums.counts(before, wanted) if lost is None else None,
            users_are_counted=bool(wanted),
            is_incomplete=lost is not None and lost >= window.start,
        )

    def found_directly(self, window: Window, wanted: Filter) -> QueryResult:
        """Return the events of the window, the newest ones if there are too many, without rollups."""
        with self._connection.asking() as database:
            (facets,) = database["events"].aggregate(pipeline(window, wanted))
        return QueryResult(
            counts=_counts(facets, wanted),
            is_direct=True,
            is_cut=bool(facets["read"]) and facets["read"][0]["n"] >= MOST_DIRECT,
            users_are_counted=True,
        )

    def _users(self, database: Database[dict[str, Any]], window: Window, wanted: Filter, total: int) -> int | None:
        """Different users under a filter; None where too many events would have to be read for it."""
        if total > MOST_DIRECT:
            return None
        limit = [*_window(window), {"$limit": MOST_DIRECT + 1}]
        grouped = [{"$group": {"_id": f"${USER}"}}, {"$count": "n"}]
        facets = {"read": [{"$count": "n"}], "users": [_matching(wanted), *grouped]}
        (answer,) = database["events"].aggregate([*limit, {"$facet": facets}])
        return None if _n(answer["read"]) > MOST_DIRECT else _n(answer["users"])


def pipeline(window: Window, wanted: Filter) -> Sequence[Document]:
    """Return the aggregation that counts a window in one pass; its $match uses the index on event_timestamp."""
    at, width_ms = f"${TIME}", window.level.width_ms
    bucket = {"$toLong": {"$subtract": [at, {"$mod": [at, width_ms]}]}}
    passing = [_matching(wanted)]
    return [
        *_window(window),
        {"$limit": MOST_DIRECT},
        {
            "$facet": {
                "read": [{"$count": "n"}],
                "by_bucket": [*passing, _grouped({"bucket": bucket, "version": f"${_VERSION_PATH}"})],
                "users": [*passing, {"$group": {"_id": f"${USER}"}}, {"$count": "n"}],
                **{each.plural: [*passing, *_most_frequent(f"${each.path}")] for each in CHARTS},
            }
        },
    ]


def _between(
    collection: Collection[dict[str, Any]], start: datetime, end: datetime, fields: Sequence[str]
) -> list[dict[str, Any]]:
    """The rollups of a period, each with its bucket."""
    found = list(collection.find({"bucket": {"$gte": start, "$lt": end}}, dict.fromkeys(fields, 1)))
    buckets: dict[str, datetime] = {}
    for rollup in found:
        # From the `_id`, and once for all partitions: to decode a Date costs more than the rest of a rollup.
        ms = rollup["_id"].rpartition(":")[2]
        rollup["bucket"] = buckets.get(ms) or buckets.setdefault(ms, from_ms(int(ms)))
    return found


def _rolled_up(database: Database[dict[str, Any]]) -> int:
    group = {"$group": {"_id": None, "n": {"$sum": "$n"}}}
    return _n(list(database[LEVELS[-1].collection].aggregate([group])))


def _newest_lost(database: Database[dict[str, Any]], gaps: Sequence[Gap], settled_at: datetime) -> datetime | None:
    """When the newest event was that lies in a bucket without a rollup; None if there is no such event."""
    if not gaps:
        return None
    inside = [{TIME: {"$gte": to_ms(start), "$lt": to_ms(end)}} for start, end in gaps]
    lost = database["events"].aggregate(
        [
            {"$match": {"$or": inside}},
            {"$sort": {TIME: pymongo.DESCENDING}},
            # Many in one gap, all of them new, are on their way.
            {"$limit": MOST_IN_GAPS},
            {"$match": {"received_at": {"$not": {"$gt": settled_at}}}},
            {"$limit": 1},
            {"$project": {TIME: 1}},
        ]
    )
    return next((from_ms(int(found[TIME])) for found in lost), None)


def _newest_event_at(events: Collection[dict[str, Any]]) -> datetime | None:
    newest = events.find_one(
        {TIME: {"$type": ["int", "long", "double"]}},
        {TIME: 1},
        sort=[(TIME, pymongo.DESCENDING)],
    )
    return None if newest is None else from_ms(int(newest[TIME]))


def _versions(database: Database[dict[str, Any]], subject: str) -> dict[str, Any]:
    known = list(database["schema_versions"].find({"subject": subject}).sort("version").limit(MOST_VALUES))
    numbers = {
        ours: next((int(version["version"]) for version in known if version.get(VERSION_FLAGS.get(ours, ""))), ours)
        for ours in VERSIONS
    }
    seen = ((f"v{version['version']}", _instant(version.get("first_seen_at"))) for version in known)
    return {"numbers": numbers, "first_seen": tuple((name, at) for name, at in seen if at is not None)}


def _window(window: Window) -> list[Document]:
    match = {TIME: {"$gte": to_ms(window.start), "$lt": to_ms(window.end)}}
    return [{"$match": match}, {"$sort": {TIME: pymongo.DESCENDING}}]


def _matching(wanted: Filter) -> Document:
    fields = [_one_of(_PATHS[name], wanted.selected(name)) for name in FILTERS if wanted.selected(name)]
    return {"$match": {"$and": fields} if fields else {}}


def _one_of(field: str, chosen: Sequence[str]) -> Document:
    values = ([None] if label == labels.NOT_GIVEN else values_of(label) for label in chosen)
    is_in: Document = {field: {"$in": [*chain.from_iterable(values)]}}
    if labels.UNREGISTERED in chosen and field == _VERSION_PATH:
        return {"$or": [is_in, {field: {"$not": labels.VERSION}}]}
    return is_in


def _grouped(by: Any) -> Document:
    return {"$group": {"_id": by, "n": {"$sum": 1}}}


def _most_frequent(field: str) -> list[Document]:
    # Bounded: a field with a value of its own per event must not make the answer as large as the data.
    return [_grouped(field), {"$sort": {"n": -1, "_id": 1}}, {"$limit": MOST_VALUES}]


def _counts(facets: Document, wanted: Filter) -> Counts:
    by_bucket = _summed(
        facets["by_bucket"], lambda by: (from_ms(int(by["bucket"])), labels.version(text_of(by.get("version"))))
    )
    by_value = {each.plural: _summed(facets[each.plural], _label) for each in CHARTS}
    found = {**by_value, SCHEMA_VERSION.plural: {version for _, version in by_bucket}}
    return Counts(
        by_bucket=by_bucket,
        by_value=by_value,
        users=_n(facets["users"]),
        options={name: tuple(sorted({*found[name], *wanted.selected(name)})) for name in FILTERS},
    )


def _summed(rows: Sequence[Document], key_of: Callable[[Any], Key]) -> Mapping[Key, int]:
    # Summed, not just collected: a field that is absent and one that is null are the same to the page.
    counts: Counter[Key] = Counter()
    for row in rows:
        counts[key_of(row["_id"])] += int(row["n"])
    return counts


def _label(value: object) -> str:
    return labels.value(text_of(value))


def _n(rows: Sequence[Document]) -> int:
    return int(rows[0]["n"]) if rows else 0


def _instant(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None
