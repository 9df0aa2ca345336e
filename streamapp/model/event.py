"""Events as Python values, and the schemas with which streamapp itself writes them."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from streamapp.model.user_event import REQUIRED

#: A schema in JSON form, or one of its parts.
Schema = Any
#: A decoded Avro value that should be an event: field name → value.
Event = dict[str, Any]

#: Fields that streamapp adds to a document; a writer's field of the same name is stored under `extra`.
RESERVED = frozenset({"_id", "schema_version", "schema_id", "received_at", "kafka"})


@cache
def required_types() -> dict[str, Any]:
    """Field that every event has → the Avro type as which it must be readable; nested as in the schema."""
    types: dict[str, Any] = {}
    for field in REQUIRED:
        *parents, name = field.path.split(".")
        record = types
        for parent in parents:
            record = record.setdefault(parent, {})
        record[name] = field.type
    return types


def schema_folder() -> Path:
    """The folder of the schema files: beside the package in a checkout, in the package after an installation."""
    packaged = Path(str(files("streamapp"))) / "schemas"
    return packaged if packaged.exists() else Path(__file__).parents[2] / "schemas"


@cache
def schema_text(version: int) -> str:
    """The text of `user_event_v<version>.avsc`."""
    return (schema_folder() / f"user_event_v{version}.avsc").read_text(encoding="utf-8")


@cache
def schema(version: int) -> Schema:
    """`user_event_v<version>.avsc` in JSON form."""
    return json.loads(schema_text(version))
