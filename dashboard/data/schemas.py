"""Read what is known of the versions of the schema; every query is bounded, and its answer is kept for some seconds."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from dashboard.model import labels
from dashboard.model.schema_versions import SchemaState
from streamapp.model.user_event import SCHEMA_VERSION
from streamapp.rollups.levels import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pymongo.database import Database

    from dashboard.data.version_times import VersionTimes
    from dashboard.model.health import Document

FRESH_FOR_SECONDS = 10.0
MOST_VERSIONS = 200
#: Reasons and schemas of dead letters.
MOST_GROUPS = 1_000

_BY_VERSION: list[dict[str, Any]] = [
    {"$project": {"counted": {"$objectToArray": f"${SCHEMA_VERSION.plural}"}}},
    {"$unwind": "$counted"},
    {"$group": {"_id": "$counted.k", "n": {"$sum": "$counted.v"}}},
]
_BY_SCHEMA: list[dict[str, Any]] = [
    {"$project": {"reason": 1, "counted": {"$objectToArray": {"$ifNull": ["$schemas", {}]}}}},
    {"$unwind": "$counted"},
    {"$group": {"_id": {"reason": "$reason", "schema": "$counted.k"}, "n": {"$sum": "$counted.v"}}},
    {"$sort": {"n": -1}},
    {"$limit": MOST_GROUPS},
]
_BY_REASON: list[dict[str, Any]] = [
    {"$group": {"_id": "$reason", "n": {"$sum": "$n"}}},
    {"$sort": {"n": -1, "_id": 1}},
    {"$limit": MOST_GROUPS},
]


class Schemas:
    """The state of the schemas of a subject."""

    def __init__(
        self, subject: str, version_times: VersionTimes, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._subject = subject
        self._version_times = version_times
        self._monotonic = monotonic
        self._kept: tuple[float, SchemaState] | None = None

    def read(self, database: Database[dict[str, Any]]) -> SchemaState:
        """Return what is known; at most FRESH_FOR_SECONDS old."""
        now = self._monotonic()
        if self._kept is None or now - self._kept[0] >= FRESH_FOR_SECONDS:
            self._kept = now, self._read(database)
        return self._kept[1]

    def _read(self, database: Database[dict[str, Any]]) -> SchemaState:
        versions = database["schema_versions"].find({"subject": self._subject}).sort("version")
        return SchemaState(
            versions=[*versions.limit(MOST_VERSIONS)],
            stored=_stored(database),
            times=self._version_times.read(database),
            level=database["pipeline_state"].find_one({"_id": f"subject:{self._subject}"}),
            dead_letters=_dead_letters(database),
        )


def _stored(database: Database[dict[str, Any]]) -> Mapping[str, int]:
    by_label = Counter[str]()
    for found in database[LEVELS[-1].collection].aggregate(_BY_VERSION):
        by_label[labels.of_version_key(found["_id"])] += found["n"]
    return by_label


def _dead_letters(database: Database[dict[str, Any]]) -> Sequence[Document]:
    by_reason: dict[str, dict[str, int]] = {}
    for found in database["dead_letters"].aggregate(_BY_SCHEMA):
        by_reason.setdefault(found["_id"]["reason"], {})[found["_id"]["schema"]] = found["n"]
    return [
        {**found, "schemas": by_reason.get(found["_id"], {})}
        for found in database["dead_letters"].aggregate(_BY_REASON)
    ]
