"""Read what the page needs from MongoDB, and nothing else: no writes, no query beyond its limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import pymongo

from dashboard.data import direct, kept_events, kept_sums, rollup_sums
from dashboard.data.chunks import KeptAnswers
from dashboard.data.kept_events import EventQuery, EventSums
from dashboard.data.rollup_sums import Sums
from dashboard.data.version_times import VersionTimes
from dashboard.model.snapshot import USUAL_NUMBERS, Counts, Filter, Overview, QueryResult
from dashboard.model.time_window import Window, from_ms, to_ms
from streamapp.model.user_event import TIME, VERSION_FLAGS, VERSIONS
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
#: Events that are counted by their values under a filter, although rollups tell the total: for users, dimensions that
#: are not in cells, and counts with bounds. Only those of buckets that have changed are read again.
MOST_BY_VALUE = 20_000
#: Events whose users are counted under a filter where rollups tell everything else.
MOST_FOR_USERS = 50_000
#: Chunks of which users are kept: those of some fifteen queries. A query has up to MOST_FOR_USERS of them.
MOST_KEPT_WITH_USERS = 300
MOST_VERSIONS = 50
#: Events that are looked at to find one that rollups lack.
MOST_IN_GAPS = 1_000

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

    def __init__(
        self, connection: Connection, *, subject: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection = connection
        self._subject = subject
        self._version_times = VersionTimes(connection, monotonic)
        self._sums = KeptAnswers[Sums](monotonic)
        self._events = KeptAnswers[EventSums](monotonic, most=MOST_KEPT_WITH_USERS)

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
                version_times=self._version_times.read(),
            )

    def found(
        self, window: Window, wanted: Filter, numbers: Numbers = USUAL_NUMBERS, *, settled_at: datetime
    ) -> QueryResult:
        """Return the events of the window and of the period before it, by rollups."""
        with self._connection.asking() as database:
            sums = kept_sums.of_window(database, window, wanted, numbers, self._sums)
            lost = _newest_lost(database, rollup_sums.gaps(sums.held, window), settled_at)
            counts, finished = rollup_sums.of_window(sums.finished, sums.running, wanted)
            if wanted and sums.n <= MOST_FOR_USERS:
                query = EventQuery(window, wanted, numbers, by_value=sums.n <= MOST_BY_VALUE)
                found = kept_events.of_window(database, query, sums.rollups, self._events)
                # MongoDB can have deleted events, and kept their counts.
                counts = _with_events(counts, query, found) if found.stored >= sums.n else counts
        previous = rollup_sums.counts(sums.before, wanted)
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


def _with_events(counts: Counts, query: EventQuery, found: EventSums) -> Counts:
    """The counts with what the events tell: users, and if it was asked all values."""
    if query.by_value:
        counts = replace(rollup_sums.counts(found.parts, query.wanted), options=counts.options)
    # Events of the last second can be stored and not counted yet.
    return replace(counts, users=min(len(found.users), counts.total + counts.possible))


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
