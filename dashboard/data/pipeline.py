"""Read the workers' own reports and the latest events; every query is bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import pymongo

from dashboard.data import direct
from dashboard.data.schemas import Schemas
from dashboard.data.version_times import VersionTimes
from dashboard.model.health import Document, PipelineState
from dashboard.model.snapshot import Sample
from streamapp.model.user_event import LATEST_DIMENSIONS, TIME, USER

if TYPE_CHECKING:
    from pymongo.database import Database

    from dashboard.data.connection import Connection
    from dashboard.model.schema_versions import SchemaState
    from dashboard.model.snapshot import Filter
    from dashboard.model.time_window import Window

MOST_ROWS = 200
#: Events that are counted one by one where rollups do not count them.
MOST_IN_SAMPLE = 10_000
LATEST = 50
COLUMNS = ("received_at", TIME, USER, *(each.path for each in LATEST_DIMENSIONS), "kafka")


class Pipeline(Protocol):
    """What the views of the pipeline read; every method raises DashboardError when there is no answer."""

    def state(self) -> PipelineState:
        """Return the workers' own reports."""
        ...

    def schemas(self) -> SchemaState:
        """Return what is known of the versions of the schema."""
        ...

    def sample(self, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sample:
        """Return the newest events of the window, counted by value: those of them that pass the filter."""
        ...

    def latest(self) -> Sequence[Document]:
        """Return the latest events by insertion, the newest first, without fields that a table cannot show."""
        ...

    def document(self, name: str) -> Document | None:
        """Return one event as it is stored; None if it is deleted."""
        ...


class MongoPipeline:
    """The Pipeline in a real MongoDB."""

    def __init__(self, connection: Connection, *, topic: str, subject: str) -> None:
        self._connection = connection
        self._topic = topic
        self._subject = subject
        self._version_times = VersionTimes()
        self._schemas = Schemas(subject, self._version_times)

    def state(self) -> PipelineState:
        """Return the workers' own reports."""
        with self._connection.asking() as database:
            last = database["events"].find_one({}, {"received_at": 1}, sort=[("$natural", pymongo.DESCENDING)])
            schemas = database["schema_versions"].find({"subject": self._subject}).sort("version")
            received_at = last and last.get("received_at")
            return PipelineState(
                partitions=_newest(database, {"kind": "partition", "topic": self._topic}),
                workers=_newest(database, {"kind": "worker"}),
                dead_letters=[*database["dead_letters"].aggregate(_BY_REASON)],
                dead_letter_minutes={
                    int(found["_id"]): found["n"] for found in database["dead_letters"].aggregate(_BY_MINUTE)
                },
                schemas=[*schemas.limit(MOST_ROWS)],
                version_times=self._version_times.read(database),
                has_events=last is not None,
                last_received_at=received_at if isinstance(received_at, datetime) else None,
            )

    def schemas(self) -> SchemaState:
        """Return what is known of the versions of the schema."""
        with self._connection.asking() as database:
            return self._schemas.read(database)

    def sample(self, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sample:
        """Return the newest events of the window, counted by value: those of them that pass the filter."""
        with self._connection.asking() as database:
            counts, read = direct.counts(database, window, wanted, numbers, MOST_IN_SAMPLE)
        return Sample(counts=counts, read=read, is_cut=read >= MOST_IN_SAMPLE)

    def latest(self) -> Sequence[Document]:
        """Return the latest events by insertion, the newest first, without fields that a table cannot show."""
        with self._connection.asking() as database:
            found = database["events"].find({}, dict.fromkeys(COLUMNS, 1))
            return [*found.sort("$natural", pymongo.DESCENDING).limit(LATEST)]

    def document(self, name: str) -> Document | None:
        """Return one event as it is stored; None if it is deleted."""
        with self._connection.asking() as database:
            return database["events"].find_one({"_id": name})


def _newest(database: Database[dict[str, Any]], query: Document) -> Sequence[Document]:
    return [*database["pipeline_state"].find(query).sort("at", pymongo.DESCENDING).limit(MOST_ROWS)]


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
