"""The collection `schema_versions`: the versions that workers have seen under a subject, also those deleted since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo.database import Database

#: A schema id and its version label.
SchemaVersion = tuple[int, str]


def fingerprints(database: Database[Any], subject: str) -> Mapping[SchemaVersion, str | None]:
    """The fingerprint of each version; None where a worker before version 0.3 noted the schema."""
    seen = database["schema_versions"].find({"subject": subject})
    return {(each["schema_id"], f"v{each['version']}"): each.get("fingerprint") for each in seen}
