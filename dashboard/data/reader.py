"""Read what the page needs from MongoDB, and nothing else: no writes, no query beyond its limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import pymongo

from dashboard.data import direct, rollup_sums
from dashboard.data.version_times import VersionTimes
from dashboard.model.snapshot import USUAL_NUMBERS, Counts, Filter, Overview, QueryResult
from dashboard.model.time_window import Window, from_ms, to_ms
from streamapp.model.user_event import MAIN_DIMENSION, SCHEMA_VERSION, TIME, VERSION_FLAGS, VERSIONS
from streamapp.rollups.keys import CUBE, MAPS
from streamapp.rollups.levels import LEVELS

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.database import Database

    from dashboard.data.connection import Connection
    from dashboard.data.rollup_sums import Gap

#: Counting one by one costs up to 0.6 µs an event: not felt up to here, and beyond it MongoDB's own number is taken,
#: which can be off after MongoDB was killed.
COUNT_UP_TO = 100_000
#: Events that are counted by their values for one answer, where no rollup gives it. If most of them have values of
#: their own, they take a quarter of the limit of a query, on two cores that are busy with other programs.
MOST_DIRECT = 10_000
#: Events that are counted by their values although rollups tell the total: only for the dimensions that are not in
#: their cells.
MOST_FOR_LOCATIONS = 2_000
#: Events whose users are counted under a filter. This takes as long as MOST_DIRECT.
MOST_FOR_USERS = 50_000
MOST_VERSIONS = 50
#: Events that are looked at to find one that rollups lack.
MOST_IN_GAPS = 1_000

_MAPS = (*MAPS, "users")
#: Under a filter by dimensions that are counted together, and under another one.
_CELLS = ("cells", *CUBE, "errors")
_CELLS_AND_MAPS = ("cells", *MAPS, "errors")
#: What is shown of the period before.
_COMPARED = (MAIN_DIMENSION, SCHEMA_VERSION.plural, "users", "errors")

Document = Mapping[str, Any]
Numbers = Mapping[int, int]


class Reader(Protocol):
    """What the page reads; every method raises DashboardError when there is no answer."""

    def overview(self) -> Overview | None:
        """Return what is known of the whole collection, None when it does not exist yet."""
        ...

    def found(self, window: Window, wanted: Filter, numbers: Numbers, *, settled_at: datetime) -> QueryResult:
        """Return the events of the window and of the period before it, by rollups.

        The version `v` of the event has the number `numbers[v]` under the subject. What was stored up to `settled_at`
        must be in them.
        """
        ...

    def found_directly(self, window: Window, wanted: Filter, numbers: Numbers) -> QueryResult:
        """Return the events of the window, the newest ones if there are too many, without rollups."""
        ...


class MongoReader:
    """The Reader on a real MongoDB."""

    def __init__(self, connection: Connection, *, subject: str) -> None:
        self._connection = connection
        self._subject = subject
        self._version_times = VersionTimes()

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
                numbers=_numbers(database, self._subject),
                version_times=self._version_times.read(database),
            )

    def found(
        self, window: Window, wanted: Filter, numbers: Numbers = USUAL_NUMBERS, *, settled_at: datetime
    ) -> QueryResult:
        """Return the events of the window and of the period before it, by rollups."""
        with self._connection.asking() as database:
            collection = database[window.level.collection]
            filtered = _CELLS if wanted.is_in_cells else _CELLS_AND_MAPS
            rollups = _between(collection, window.start, window.end, filtered if wanted else (*_MAPS, "errors"))
            before = _between(collection, window.previous_start, window.start, filtered if wanted else _COMPARED)
            lost = _newest_lost(database, rollup_sums.gaps([*before, *rollups], window), settled_at)
            counts, finished = rollup_sums.of_window(rollups, window, wanted, numbers)
            if wanted:
                in_window = sum(sum(each[SCHEMA_VERSION.plural].values()) for each in rollups)
                if in_window <= MOST_FOR_USERS and _has_events(database, window, in_window):
                    is_known = wanted.is_in_cells and counts.is_exact
                    few = in_window <= (MOST_FOR_LOCATIONS if is_known else MOST_DIRECT)
                    counts = (_by_events if few else _with_users)(database, window, wanted, numbers, counts)
        previous = rollup_sums.counts(before, wanted, numbers)
        # Half a period would make a change of its own, and so would counts that are not exact.
        is_comparable = lost is None and not finished.possible and not previous.possible
        return QueryResult(
            counts=counts,
            finished=finished,
            previous=previous if is_comparable else None,
            users_are_counted=bool(wanted),
            is_incomplete=lost is not None and lost >= window.start,
        )

    def found_directly(self, window: Window, wanted: Filter, numbers: Numbers = USUAL_NUMBERS) -> QueryResult:
        """Return the events of the window, the newest ones if there are too many, without rollups."""
        with self._connection.asking() as database:
            counts, read = direct.counts(database, window, wanted, numbers, MOST_DIRECT)
        return QueryResult(counts=counts, is_direct=True, is_cut=read >= MOST_DIRECT, users_are_counted=True)


def _has_events(database: Database[dict[str, Any]], window: Window, n: int) -> bool:
    """Whether the events are stored that rollups count: they can be deleted while their counts stay."""
    return database["events"].count_documents(direct.query(window)) >= n


def _by_events(
    database: Database[dict[str, Any]], window: Window, wanted: Filter, numbers: Numbers, counts: Counts
) -> Counts:
    """The counts of the events themselves."""
    return replace(direct.passing(database, window, wanted, numbers, MOST_DIRECT), options=counts.options)


def _with_users(
    database: Database[dict[str, Any]], window: Window, wanted: Filter, numbers: Numbers, counts: Counts
) -> Counts:
    n = direct.users(database, window, wanted, numbers, MOST_FOR_USERS)
    # Events of the last second can be stored and not counted yet.
    return replace(counts, users=min(n, counts.total + counts.possible))


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


def _numbers(database: Database[dict[str, Any]], subject: str) -> dict[int, int]:
    fields = dict.fromkeys(("version", *VERSION_FLAGS.values()), 1)
    known = list(database["schema_versions"].find({"subject": subject}, fields).sort("version").limit(MOST_VERSIONS))
    return {
        ours: next((int(version["version"]) for version in known if version.get(VERSION_FLAGS.get(ours, ""))), ours)
        for ours in VERSIONS
    }


def _n(rows: Sequence[Document]) -> int:
    return int(rows[0]["n"]) if rows else 0


def _instant(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None
