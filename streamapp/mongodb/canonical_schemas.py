"""The collection `canonical_schemas`: every schema whose shape documents got, so that `verify` knows all shapes.

A worker writes a schema before it stores the first document in its shape. The registry may lose the schema later.

    _id             "<subject>:<SHA-256 of the schema and its definitions>"
    subject         of the registry
    version         under the subject
    schema          JSON text
    definitions     JSON texts of the schemas that it refers to, each after those that it refers to itself
    first_used_at   Date
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import pymongo
from pymongo import UpdateOne
from pymongo.database import Database

from streamapp.decode.avro_schema import from_text
from streamapp.decode.writer_schema import WriterSchema, writer_schema

COLLECTION = "canonical_schemas"


def note(subject: str, version: int, texts: Sequence[str], now: datetime) -> UpdateOne:
    """The update that adds a schema unless it is there; the texts are those of `schema` and `definitions`."""
    fields = {"subject": subject, "version": version, "schema": texts[0], "definitions": [*texts[1:]]}
    id_ = f"{subject}:{sha256(json.dumps([*texts]).encode()).hexdigest()}"
    return UpdateOne({"_id": id_}, {"$setOnInsert": {**fields, "first_used_at": now}}, upsert=True)


def read(database: Database[Any], subject: str) -> Sequence[WriterSchema]:
    """All schemas that were noted for a subject, the latest first."""
    found = database[COLLECTION].find({"subject": subject}, sort=[("first_used_at", pymongo.DESCENDING)])
    return [
        writer_schema(
            from_text(each.get("schema")),
            schema_id=0,
            version=f"v{each.get('version')}",
            definitions=[*map(from_text, each.get("definitions") or ())],
        )
        for each in found
    ]
