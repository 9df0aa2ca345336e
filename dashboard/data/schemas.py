"""Read what is known of the versions of the schema; every query is bounded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from dashboard.model import labels
from dashboard.model.schema_versions import SchemaState
from streamapp.model.user_event import SCHEMA_VERSION
from streamapp.rollups.levels import LEVELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymongo.database import Database

    from dashboard.data.version_times import VersionTimes
    from dashboard.model.health import Document

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


def read(database: Database[dict[str, Any]], subject: str, version_times: VersionTimes) -> SchemaState:
    """Return what is known of the versions of a subject."""
    versions = database["schema_versions"].find({"subject": subject}).sort("version")
    return SchemaState(
        versions=[*versions.limit(MOST_VERSIONS)],
        stored=_stored(database),
        times=version_times.read(),
        level=database["pipeline_state"].find_one({"_id": f"subject:{subject}"}),
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
