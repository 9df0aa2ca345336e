"""What the worker added, renamed or moved is found from the document and the schemas."""

from __future__ import annotations

from typing import Any

from streamapp.compatibility.schema import AvroType
from streamapp.compatibility.validity import parse
from streamapp.explain.reader_changes import reader_changes
from streamapp.model import event

EVENT = {
    "_id": "x",
    "user_id": "u",
    "event_type": "click",
    "event_timestamp": 1,
    "metadata": {"device": "mobile", "location": "DE"},
    "schema_version": "v1",
    "schema_id": 1,
    "kafka": {},
}


def with_fields(*fields: dict[str, Any], version: int = 1) -> AvroType:
    """Return a schema of this repository with more fields."""
    schema = event.schema(version)
    return parse({**schema, "fields": [*schema["fields"], *fields]}).root


def nullable(name: str, **more: Any) -> dict[str, Any]:
    """Return an optional field."""
    return {"name": name, "type": ["null", "string"], "default": None, **more}


def test_a_field_that_the_writer_lacks_was_added() -> None:
    """V1 has no browser."""
    found = reader_changes({**EVENT, "browser": None}, with_fields(), with_fields(version=2))

    assert [("added", "browser", None, None)] == found


def test_a_document_as_written_has_no_changes() -> None:
    """Neither with a latest schema nor without one."""
    written = with_fields(version=2)

    assert [] == reader_changes({**EVENT, "browser": "opera"}, written, None)


def test_an_alias_of_the_latest_schema_tells_a_renamed_field() -> None:
    """The document has the new name, the writer the old one."""
    latest = with_fields(nullable("locale", aliases=["lang"]))
    document = {**EVENT, "locale": "de"}

    assert [("renamed", "locale", "lang", "de")] == reader_changes(document, with_fields(nullable("lang")), latest)


def test_an_old_name_that_is_still_there_was_not_renamed() -> None:
    """The writer has both fields, or the document was stored as written."""
    latest = with_fields(nullable("locale", aliases=["lang"]))
    document = {**EVENT, "lang": "de", "locale": None}

    assert [("added", "locale", None, None)] == reader_changes(document, with_fields(nullable("lang")), latest)


def test_nested_fields_are_compared() -> None:
    """Also in a union, and where the latest schema has no such record."""
    app = {"type": "record", "name": "App", "fields": [nullable("build")]}
    written = with_fields({"name": "app", "type": ["null", app], "default": None})
    document = {**EVENT, "app": {"build": "1", "channel": "beta"}}

    assert [("added", "app.channel", None, "beta")] == reader_changes(document, written, written)
    assert [("added", "app.channel", None, "beta")] == reader_changes(document, written, with_fields())


def test_a_name_of_streamapp_was_moved() -> None:
    """A writer's field of that name is stored under `extra`."""
    written = with_fields(nullable("kafka"))
    document = {**EVENT, "extra": {"kafka": "mine", "schema_id": "of another program"}}

    assert [("moved", "extra.kafka", "kafka", "mine")] == reader_changes(document, written, written)


def test_a_field_extra_of_the_writer_is_one_of_its_fields() -> None:
    """It was not moved."""
    written = with_fields(nullable("extra"))

    assert [] == reader_changes({**EVENT, "extra": "mine"}, written, written)
