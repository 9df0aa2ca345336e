"""What the rollups must be, counted by other means than the worker's, and what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pymongo.database import Database

from streamapp.model.user_event import CELL_DIMENSIONS, DIMENSIONS
from streamapp.rollups.levels import LEVELS
from streamapp.rollups.rollup import unique

Document = dict[str, Any]


TOPIC_ID_LENGTH = 22


def recounted(events: Sequence[Document]) -> dict[str, dict[str, Any]]:
    """Return what the rollups must hold, counted one by one and by other means than the worker's."""
    counted: dict[str, dict[str, Any]] = {level.name: {} for level in LEVELS}
    for event in events:
        # An event at an offset that Kafka has used again has two more parts.
        topic_id, (partition, *_) = event["_id"][:TOPIC_ID_LENGTH], event["_id"][TOPIC_ID_LENGTH + 1 :].split("-")
        keys = {each.plural: _key(event, each.path) for each in DIMENSIONS}
        keys["cells"] = "|".join(keys[each.plural] for each in CELL_DIMENSIONS)
        for level in LEVELS:
            bucket = event["event_timestamp"] // level.width_ms * level.width_ms
            fresh = {name: Counter() for name in keys}
            rollup = counted[level.name].setdefault(
                f"{topic_id}:{partition}:{bucket}", {"n": 0, "apart": 0, "users": set(), **fresh}
            )
            rollup["n"] += 1
            rollup["apart"] += "apart" in event["kafka"]
            rollup["users"].add(event["user_id"])
            for name, key in keys.items():
                rollup[name][key] += 1
    for rollups in counted.values():
        for rollup in rollups.values():
            rollup["users"] = len(rollup["users"])
    return counted


def stored(database: Database[Any]) -> dict[str, dict[str, Any]]:
    """Return what the rollups hold."""
    names = ("n", "apart", "cells", *(each.plural for each in DIMENSIONS))
    return {
        level.name: {
            each["_id"]: {"users": round(unique([each["users"]])), **{name: each[name] for name in names}}
            for each in database[level.collection].find()
        }
        for level in LEVELS
    }


def _key(event: Any, path: str) -> str:
    for name in path.split("."):
        event = event[name]
    return (event or "%null").replace("|", "%7C")
