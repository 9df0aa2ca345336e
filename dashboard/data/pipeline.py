"""Read the workers' own reports and the latest events; every query is bounded."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import pymongo

from dashboard.data import activity, newest, schemas, search
from dashboard.data.kept import Kept
from dashboard.data.newest import Newest
from dashboard.data.version_times import VersionTimes
from dashboard.model.clients import Client
from dashboard.model.explorer import COLUMNS, Search, SearchResult
from dashboard.model.health import Document, PipelineState
from dashboard.model.pipeline_trends import SPANS, PipelineHistory, Span
from dashboard.model.schema_versions import SchemaState
from dashboard.model.snapshot import Filter, Sample
from dashboard.model.time_window import MILLISECOND, Window, to_ms
from dashboard.model.user_activity import Activity, ActivityQuery, Day

if TYPE_CHECKING:
    from pymongo.database import Database

    from dashboard.data.connection import Connection

#: For how long an answer is not read again; one that changes rarely.
FRESH_FOR_SECONDS, SLOW_FRESH_FOR_SECONDS = 2.0, 10.0
#: For how long an answer is given while it is read again: a page that refreshes every 5 or 10 s shows what was read
#: after the refresh before, at most 15 s ago: some answers are made of others, which were up to FRESH_FOR_SECONDS old.
USABLE_FOR_SECONDS, SLOW_USABLE_FOR_SECONDS = 15.0 - FRESH_FOR_SECONDS, 30.0
#: Ranges of which is kept what the questions of all visitors have in common: the values of thousands of events each.
MOST_RANGES = 4
MOST_ROWS = 200
#: Documents of dead letters that counted one in the last day: one for each reason and hour of their records.
MOST_COUNTED = 5_000
LATEST = 50
_WITHOUT_HISTORIES = dict.fromkeys((span.field for span in SPANS[1:]), 0)


class Pipeline(Protocol):
    """What the views of the pipeline read; every method raises DashboardError when there is no answer."""

    def state(self) -> PipelineState:
        """Return the workers' own reports."""
        ...

    def history(self, span: Span, now: datetime) -> PipelineHistory:
        """Return what the workers reported, and when dead letters were counted, in a span until now."""
        ...

    def schemas(self) -> SchemaState:
        """Return what is known of the versions of the schema."""
        ...

    def sample(self, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sample:
        """Return the newest events of the window, counted by value: those of them that pass the filter."""
        ...

    def clients(self, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sequence[Client]:
        """Return who sent the newest events of the window: those of them that pass the filter."""
        ...

    def activity(self, query: ActivityQuery, numbers: Mapping[int, int]) -> Activity:
        """Return what the users did in the newest events of a window."""
        ...

    def days(self) -> tuple[Day, ...]:
        """Return how many users each day had."""
        ...

    def search(self, wanted: Search, numbers: Mapping[int, int]) -> SearchResult:
        """Return the newest events of a window that match, without fields that a table cannot show."""
        ...

    def latest(self) -> Sequence[Document]:
        """Return the latest events by insertion, the newest first, without fields that a table cannot show."""
        ...

    def document(self, name: str) -> Document | None:
        """Return one event as it is stored; None if it is deleted."""
        ...


class MongoPipeline:
    """The Pipeline in a real MongoDB."""

    def __init__(
        self,
        connection: Connection,
        *,
        topic: str,
        subject: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._subject = subject
        self._version_times = VersionTimes(connection, monotonic)
        self._histories = Kept[Span, PipelineHistory](FRESH_FOR_SECONDS, monotonic=monotonic)
        times = SLOW_FRESH_FOR_SECONDS, SLOW_USABLE_FOR_SECONDS
        self._schemas = Kept[None, SchemaState](*times, monotonic=monotonic)
        self._days = Kept[None, tuple[Day, ...]](*times, monotonic=monotonic)
        times = FRESH_FOR_SECONDS, USABLE_FOR_SECONDS
        self._clients = Kept[Hashable, Sequence[Client]](*times, monotonic=monotonic)
        self._activities = Kept[Hashable, Activity](*times, monotonic=monotonic)
        self._searches = Kept[Hashable, SearchResult](*times, monotonic=monotonic)
        self._samples = Kept[Hashable, Sample](*times, monotonic=monotonic)
        self._newest_events = Kept[Hashable, Newest](FRESH_FOR_SECONDS, most=MOST_RANGES, monotonic=monotonic)
        self._not_searched = Kept[Hashable, datetime | None](FRESH_FOR_SECONDS, most=MOST_RANGES, monotonic=monotonic)

    def state(self) -> PipelineState:
        """Return the workers' own reports."""
        with self._connection.asking() as database:
            last = database["events"].find_one({}, {"received_at": 1}, sort=[("$natural", pymongo.DESCENDING)])
            versions = database["schema_versions"].find({"subject": self._subject}, {"sources": 0}).sort("version")
            received_at = last and last.get("received_at")
            return PipelineState(
                partitions=_newest(database, {"kind": "partition", "topic": self._topic}, _WITHOUT_HISTORIES),
                workers=_newest(database, {"kind": "worker"}),
                dead_letters=[*database["dead_letters"].aggregate(_BY_REASON)],
                dead_letter_minutes={
                    int(found["_id"]): found["n"] for found in database["dead_letters"].aggregate(_BY_MINUTE)
                },
                schemas=[*versions.limit(MOST_ROWS)],
                has_events=last is not None,
                last_received_at=received_at if isinstance(received_at, datetime) else None,
            )

    def history(self, span: Span, now: datetime) -> PipelineHistory:
        """Return what the workers reported, and when dead letters were counted, in a span until now."""
        return self._histories.get(span, lambda: self._read_history(span, now))

    def _read_history(self, span: Span, now: datetime) -> PipelineHistory:
        fields = dict.fromkeys(("partition", "incarnation", "at", "recent", span.field), 1)
        with self._connection.asking() as database:
            dead_letters: dict[str, dict[int, int]] = {}
            step_ms = span.counting.step // MILLISECOND
            for found in database["dead_letters"].aggregate(_by_reason_and_step(span, now)):
                by_step = dead_letters.setdefault(found["_id"]["reason"], {})
                by_step[int(found["_id"]["step"]) * step_ms] = found["n"]
            partitions = _newest(database, {"kind": "partition", "topic": self._topic}, fields)
        return PipelineHistory(span=span, partitions=partitions, dead_letters=dead_letters)

    def schemas(self) -> SchemaState:
        """Return what is known of the versions of the schema."""
        return self._schemas.get(None, self._read_schemas)

    def _read_schemas(self) -> SchemaState:
        with self._connection.asking() as database:
            return schemas.read(database, self._subject, self._version_times)

    def sample(self, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sample:
        """Return the newest events of the window, counted by value: those of them that pass the filter."""
        return self._samples.get((window.range, wanted), lambda: self._read_sample(window, wanted, numbers))

    def _read_sample(self, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sample:
        return newest.sample(self._newest_of(window), window, wanted, numbers)

    def clients(self, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sequence[Client]:
        """Return who sent the newest events of the window: those of them that pass the filter."""
        return self._clients.get((window.range, wanted), lambda: self._read_clients(window, wanted, numbers))

    def _read_clients(self, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sequence[Client]:
        return newest.senders(self._newest_of(window), wanted, numbers)

    def activity(self, query: ActivityQuery, numbers: Mapping[int, int]) -> Activity:
        """Return what the users did in the newest events of a window."""
        asked = query.window.range, query.filter, query.steps, query.within
        return self._activities.get(asked, lambda: self._read_activity(query, numbers))

    def _read_activity(self, query: ActivityQuery, numbers: Mapping[int, int]) -> Activity:
        return newest.activity(self._newest_of(query.window), query, numbers)

    def _newest_of(self, window: Window) -> Newest:
        return self._newest_events.get(window.range, lambda: self._read_newest(window))

    def _read_newest(self, window: Window) -> Newest:
        with self._connection.asking() as database:
            return newest.read(database, window)

    def days(self) -> tuple[Day, ...]:
        """Return how many users each day had."""
        return self._days.get(None, self._read_days)

    def _read_days(self) -> tuple[Day, ...]:
        with self._connection.asking() as database:
            return activity.days(database)

    def search(self, wanted: Search, numbers: Mapping[int, int]) -> SearchResult:
        """Return the newest events of a window that match, without fields that a table cannot show."""
        asked = wanted.window.range, wanted.filter, wanted.user
        return self._searches.get(asked, lambda: self._search(wanted, numbers))

    def _search(self, wanted: Search, numbers: Mapping[int, int]) -> SearchResult:
        window = wanted.window
        # Within it, so that both queries together take no longer than the limit.
        with self._connection.asking() as database:
            back_to = self._not_searched.get(window.range, lambda: self._first_not_searched(window))
            return search.search(database, wanted, numbers, back_to)

    def _first_not_searched(self, window: Window) -> datetime | None:
        with self._connection.asking() as database:
            return search.first_not_searched(database, window)

    def latest(self) -> Sequence[Document]:
        """Return the latest events by insertion, the newest first, without fields that a table cannot show."""
        with self._connection.asking() as database:
            found = database["events"].find({}, dict.fromkeys(COLUMNS, 1))
            return [*found.sort("$natural", pymongo.DESCENDING).limit(LATEST)]

    def document(self, name: str) -> Document | None:
        """Return one event as it is stored; None if it is deleted."""
        with self._connection.asking() as database:
            return database["events"].find_one({"_id": name})


def _newest(
    database: Database[dict[str, Any]], query: Document, fields: Mapping[str, int] | None = None
) -> Sequence[Document]:
    return [*database["pipeline_state"].find(query, fields).sort("at", pymongo.DESCENDING).limit(MOST_ROWS)]


def _by_reason_and_step(span: Span, now: datetime) -> list[dict[str, Any]]:
    since, step_ms = now - span.length - span.counting.step, span.counting.step // MILLISECOND
    step = {"$floor": {"$divide": [{"$toLong": "$minute.k"}, step_ms]}}
    return [
        {"$match": {"last_at": {"$gte": since}, "minutes": {"$exists": True}}},
        {"$limit": MOST_COUNTED},
        {"$project": {"reason": 1, "minute": {"$objectToArray": "$minutes"}}},
        {"$unwind": "$minute"},
        # Texts of 13 digits have the order of their numbers.
        {"$match": {"minute.k": {"$gte": str(to_ms(since))}}},
        {"$group": {"_id": {"reason": "$reason", "step": step}, "n": {"$sum": "$minute.v"}}},
    ]


_BY_REASON: list[Document] = [
    {"$sort": {"last_at": -1}},
    {
        "$group": {
            "_id": "$reason",
            "n": {"$sum": "$n"},
            "last_at": {"$first": "$last_at"},
            "sample": {"$first": "$sample"},
        }
    },
    {"$sort": {"n": -1, "_id": 1}},
    {"$limit": MOST_ROWS},
]

#: Of the documents that counted last: each holds the minutes of a day.
_BY_MINUTE: list[Document] = [
    {"$match": {"minutes": {"$exists": True}}},
    {"$sort": {"last_at": -1}},
    {"$limit": MOST_ROWS},
    {"$project": {"minute": {"$objectToArray": "$minutes"}}},
    {"$unwind": "$minute"},
    {"$group": {"_id": "$minute.k", "n": {"$sum": "$minute.v"}}},
]
