"""Latest schemas whose shape differs from that of earlier ones in every way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamapp.decode.earlier_shapes import as_written
from streamapp.decode.shape import only_record
from streamapp.decode.writer_schema import WriterSchema, shape_between, writer_schema
from streamapp.model import event
from streamapp.model.user_event import OPTIONAL


def field(name: str, type_: Any = "string", *aliases: str, **more: Any) -> dict[str, Any]:
    """A field of a record."""
    return {"name": name, "type": type_, **({"aliases": [*aliases]} if aliases else {}), **more}


def record(name: str, *fields: Any) -> dict[str, Any]:
    """A record type."""
    return {"type": "record", "name": name, "fields": [*fields]}


def event_schema(*fields: Any, metadata: Any = ()) -> dict[str, Any]:
    """A schema of events with further fields, of the event and of its `metadata`."""
    base = [each for each in event.schema(1)["fields"] if each["name"] != "metadata"]
    nested = record("Metadata", field("device"), field("location"), *metadata)
    return record("UserEvent", *base, field("metadata", nested), *fields)


def latest(*fields: Any, metadata: Any = (), version: int = 9) -> WriterSchema:
    """The same as a writer schema."""
    schema = event_schema(*fields, metadata=metadata)
    return writer_schema(schema, schema_id=version, version=f"v{version}")


def stored_as_written(document: Mapping[str, Any], writer: WriterSchema, *latest_schemas: WriterSchema) -> Any:
    """What a document would be if it were stored as written, the optional fields included."""
    assert writer.parsed is not None
    written = only_record(writer.parsed.root)
    assert written is not None
    shapes = [shape_between(writer, each) for each in latest_schemas]
    found = as_written(document, written, shapes)
    return {**dict.fromkeys(each.path for each in OPTIONAL), **found}


TEXT = ["null", "string"]
#: By name: what the latest schema adds or renames.
LATEST: Mapping[str, WriterSchema] = {
    "fills": latest(
        field("browser", TEXT, default=None),
        field("plan", "string", default="free ü"),
        field("score", "double", default=1),
        field("visits", ["null", "long"], default=None),
        field("beta", "boolean", default=True),
        field("tags", {"type": "array", "items": "string"}, default=["a"]),
        field("place", record("Place", field("city", default="?"), field("zip", "int", default=7)), default={}),
    ),
    "nested": latest(
        field("browser", TEXT, default=None),
        metadata=(field("os", default="?"), field("screen", ["null", "int"], default=None), field("net", default="")),
    ),
    "a counted field renamed": latest(field("agent", TEXT, "browser", default=None), field("plan", default="free")),
    "renames": latest(
        field("browser", TEXT, default=None),
        field("duration", "double", "seconds", default=0),
        field("part", ["double", "null"], "share", default=0),
        field("basket", "int", "items", default=0),
        metadata=(
            field("place", "string", "session", default="?"),
            field("program", record("App", field("number", "long", "build"), field("name", default="n")), "app"),
        ),
    ),
    "renamed to a counted field": latest(field("browser", "string", "client", default="?")),
}
