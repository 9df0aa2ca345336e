"""The fields of an event's document: of a sample, built as the worker builds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from generators.markdown import table
from streamapp.decode.document import EventTimes, build
from streamapp.decode.writer_schema import writer_schema
from streamapp.model import event
from streamapp.model.record import Origin
from streamapp.model.user_event import VERSIONS

VERSION = VERSIONS[-1]
SAMPLE = {
    "user_id": "user-0007",
    "event_type": "click",
    "event_timestamp": 1_795_490_025_335,
    "metadata": {"device": "mobile", "location": "DE"},
    "browser": "chrome",
}
#: Type and meaning of the fields that the schema does not describe.
ADDED = {
    "_id": ("string", "`<topic id>-<partition>-<offset>`: the same for every delivery and replay of the event."),
    "schema_version": ("string", '"v" and the version of the writer\'s schema under the subject, or "unregistered".'),
    "schema_id": ("int", "Id of the writer's schema, as on the wire."),
    "received_at": ("Date", "When the worker decoded the record."),
    "kafka": ("document", "Where the record first stood."),
    "kafka.topic": ("string", "Topic."),
    "kafka.partition": ("int", "Partition."),
    "kafka.offset": ("int", "Offset."),
    "kafka.timestamp": ("Date or null", "The record's Kafka timestamp; null if it has none."),
    "kafka.headers": (
        "document",
        "The headers of the record that `STREAMAPP_STORED_HEADERS` names; absent if the record has none of them.",
    ),
    "kafka.headers.client": ("string", "The value of one of them, see below."),
}
TYPES = {"string": "string", "long": "int64", "null": "null", "record": "document"}


def fields() -> str:
    """Render each field with its type and meaning."""
    known = {**dict(_described(event.schema(VERSION)["fields"])), **ADDED}
    return table(["field", "type", "meaning"], [(f"`{path}`", *known[path]) for path in _paths(_document())])


def _document() -> Mapping[str, Any]:
    origin = Origin("user_events", 3, 0, SAMPLE["event_timestamp"], "OeCM9eLtSVuj9YrtNq4ZGg")
    writer = writer_schema(event.schema(VERSION), schema_id=VERSION, version=f"v{VERSION}")
    times = EventTimes(earliest=0, ahead=0)
    decoding: Any = {"received_at": datetime.now(UTC), "times": times}
    return build(dict(SAMPLE), writer=writer, origin=origin, headers={"client": "web"}, **decoding)


def _paths(document: Mapping[str, Any], parent: str = "") -> Iterator[str]:
    for name, value in document.items():
        yield parent + name
        if isinstance(value, dict):
            yield from _paths(value, f"{parent}{name}.")


def _described(described: Any, parent: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    for field in described:
        yield parent + field["name"], (_type(field["type"]), field["doc"])
        if isinstance(field["type"], dict):
            yield from _described(field["type"]["fields"], f"{parent}{field['name']}.")


def _type(schema: Any) -> str:
    if isinstance(schema, list):
        return " or ".join(map(_type, reversed(schema)))
    return TYPES[schema["type"] if isinstance(schema, dict) else schema]
