"""What a user event is: its schemas, as far as we know them, and its fields."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

#: A schema in JSON form, or one of its parts.
Schema = Any
#: An event, or what may be one: field name → value.
Event = dict[str, Any]

#: Names of ours in a document, which no field of an event can have there.
RESERVED = frozenset({"_id", "schema_version", "schema_id", "received_at", "kafka"})

#: Field of V1 → the Avro type it must be readable as; nested as in the schema.
FIELDS: dict[str, Any] = {
    "user_id": "string",
    "event_type": "string",
    "event_timestamp": "long",
    "metadata": {"device": "string", "location": "string"},
}


@cache
def schema_text(version: int) -> str:
    """The `.avsc` of our schema version 1 or 2."""
    name = f"user_event_v{version}.avsc"
    packaged = Path(str(files("streamapp"))) / "schemas" / name
    # In a checkout the schemas stand beside the package; only the wheel has them inside.
    path = packaged if packaged.exists() else Path(__file__).parents[2] / "schemas" / name
    return path.read_text(encoding="utf-8")


@cache
def schema(version: int) -> Schema:
    """Our schema version 1 or 2, in JSON form."""
    return json.loads(schema_text(version))
