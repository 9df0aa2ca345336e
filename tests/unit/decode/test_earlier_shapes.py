"""Documents in earlier shapes are brought to the latest one, and recognised as what was written."""

from __future__ import annotations

from typing import Any

import bson
import pytest

from streamapp.decode.earlier_shapes import MISSING, Change, changes, paths
from streamapp.decode.shape import RecordShape
from streamapp.decode.writer_schema import WriterSchema, shape_between, writer_schema
from tests.support.factories import V1, V2, an_event
from tests.support.shapes import TEXT, event_schema, field, latest, record, stored_as_written

BROWSER = field("browser", TEXT, default=None)


def type_at(document: dict[str, Any], path: str) -> str:
    """What MongoDB's `$type` returns."""
    found: Any = document
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return MISSING
        found = found[name]
    return "object" if isinstance(found, dict) else "null" if found is None else "other"


def migrated(document: dict[str, Any], shape: RecordShape) -> dict[str, Any]:
    """The document after the changes."""
    made, seen = bson.decode(bson.encode(document)), set(paths(shape))

    def look(path: str) -> str:
        assert path in seen
        return type_at(document, path)

    for change in changes(shape, look):
        apply(change, made)
    return made


def apply(change: Change, document: dict[str, Any]) -> None:
    """Make one change."""
    parent = document
    for name in change.after.split(".")[:-1]:
        parent = parent[name]
    if change.source is None:
        parent[change.name] = change.value
    else:
        parent[change.name] = parent[change.source] if change.is_copy else parent.pop(change.source)


def version(number: int, *fields: Any, metadata: Any = ()) -> WriterSchema:
    """A writer schema."""
    return writer_schema(event_schema(*fields, metadata=metadata), schema_id=number, version=f"v{number}")


PLACE = record("Place", field("city", default="?"))
TOWN = record("Place", field("town", "string", "city", default="?"), field("zip", "int", default=7))


@pytest.mark.parametrize(
    ("writer", "now", "before", "after"),
    [
        (V1, latest(BROWSER, field("plan", default="free")), {}, {"plan": "free"}),
        (V1, latest(BROWSER, field("plan", default="free")), {"plan": "paid"}, {"plan": "paid"}),
        (version(3, field("a")), latest(field("b", "string", "a", default="")), {"a": "x"}, {"b": "x"}),
        # Stored under a name that the field had between the two versions, written and added.
        (version(3, field("a")), latest(field("c", "string", "b", "a", default="")), {"b": "x"}, {"c": "x"}),
        (V1, latest(field("c", "string", "b", default="new")), {"b": "old"}, {"c": "old"}),
        # A field that another program has removed is not added.
        (version(3, field("a")), latest(field("b", "string", "a", default="")), {}, {}),
        (
            version(3, field("place", PLACE)),
            latest(field("spot", TOWN, "place")),
            {"place": {"city": "x"}},
            {"spot": {"town": "x", "zip": 7}},
        ),
        (
            version(3, field("place", ["null", PLACE])),
            latest(field("place", ["null", TOWN])),
            {"place": None},
            {"place": None},
        ),
        (V2, latest(field("agent", TEXT, "browser", default=None)), {"browser": "x"}, {"browser": "x", "agent": "x"}),
        (V1, latest(field("agent", TEXT, "browser", default=None)), {}, {"agent": None}),
        (version(3, field("a")), latest(field("b", "string", "kafka", "browser", "a")), {"a": "x"}, {"b": "x"}),
        # What an event is counted by stays.
        (version(3, field("client")), latest(field("browser", "string", "client", default="")), {"client": "x"}, None),
        (version(3, field("agent", TEXT)), latest(field("agent", TEXT, "browser")), {"agent": "x"}, None),
    ],
)
def test_a_document_is_brought_to_the_latest_shape(
    writer: WriterSchema, now: WriterSchema, before: dict[str, Any], after: dict[str, Any] | None
) -> None:
    """No value changes, and a second time there is nothing to do."""
    base = {**an_event(), "browser": None}
    shape = shape_between(writer, now)

    found = migrated(base | before, shape)

    assert base | (before if after is None else after) == found
    assert [] == [*changes(shape, lambda path: type_at(found, path))]


@pytest.mark.parametrize(
    ("writer", "history", "stored", "written"),
    [
        (V1, [latest(field("a", default="x"))], {"a": "x"}, {}),
        (V1, [latest(field("a", default="x"))], {"a": "y"}, {"a": "y"}),
        (V1, [latest(field("a", default="x")), latest(field("a", default="y"))], {"a": "y"}, {}),
        (V1, [latest(field("b", "string", "a", default="y")), latest(field("a", default="x"))], {"b": "x"}, {}),
        (version(3, field("a")), [latest(field("b", "string", "a"))], {"b": "x"}, {"a": "x"}),
        (version(3, field("a")), [latest(field("b", "string", "a"))], {"a": "x"}, {"a": "x"}),
        (
            version(3, field("place", PLACE)),
            [latest(field("spot", TOWN, "place"))],
            {"spot": {"town": "x", "zip": 7}},
            {"place": {"city": "x"}},
        ),
        (
            version(3, field("place", PLACE)),
            [latest(field("place", TOWN))],
            {"place": {"zip": 8, "town": "x"}},
            {"place": {"city": "x", "zip": 8}},
        ),
        (
            version(3, field("place", ["null", PLACE])),
            [latest(field("place", ["null", TOWN]))],
            {"place": None},
            {"place": None},
        ),
        (V2, [latest(field("agent", TEXT, "browser"))], {"browser": "x", "agent": "x"}, {"browser": "x"}),
        (V2, [latest(field("agent", TEXT, "browser"))], {"browser": "x", "agent": "y"}, {"browser": "x", "agent": "y"}),
        (version(3, field("agent")), [latest(field("agent", "string", "browser"))], {"agent": "x"}, {"agent": "x"}),
    ],
)
def test_a_document_in_an_earlier_shape_is_what_was_written(
    writer: WriterSchema, history: list[WriterSchema], stored: dict[str, Any], written: dict[str, Any]
) -> None:
    """What no shape explains stays, so that a comparison finds it."""
    base = {**an_event(), "browser": None}

    assert base | written == stored_as_written(base | stored, writer, *history)


def test_a_record_in_place_of_which_another_program_has_stored_a_text_stays() -> None:
    """A comparison finds it."""
    writer, now = version(3, field("place", PLACE)), latest(field("place", TOWN))

    assert stored_as_written(an_event(place="x"), writer, now)["place"] == "x"
