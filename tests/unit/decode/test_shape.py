"""The shape that the latest schema gives to events of other versions."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.decode import shape as shapes_module
from streamapp.decode import wire_format
from streamapp.decode.document import LazyDocument, row_of
from streamapp.decode.fast_path import FastPath
from streamapp.decode.writer_schema import WriterSchema, in_shape_of, shape_between, writer_schema
from streamapp.model import event
from tests.support.factories import NOW, V1, V2, FakeRecord, a_batch, an_event, wire
from tests.support.shapes import TEXT, event_schema, field, latest, record
from tests.unit.decode.test_generic_path import ANY_TIME, RECEIVED_AT

BROWSER = field("browser", TEXT, default=None)


def written_by(*fields: Any, metadata: Any = ()) -> WriterSchema:
    """A version 3 with further fields."""
    return writer_schema(event_schema(*fields, metadata=metadata), schema_id=3, version="v3")


def read(values: dict[str, Any], writer: WriterSchema, shape_of: WriterSchema, schema: Any = None) -> dict[str, Any]:
    """The event as it is stored, without the fields that streamapp adds."""
    value = wire(values, schema, writer.schema_id)
    return wire_format.read(value, in_shape_of(writer, shape_of))


def test_a_version_that_has_all_fields_is_stored_as_written() -> None:
    """Nothing is compiled again."""
    assert V2 is in_shape_of(V2, V1)
    assert V2 is in_shape_of(V2, V2)


def test_an_event_of_version_1_has_no_browser_whatever_its_default_is() -> None:
    """The page tells an event that cannot have one from an event without one."""
    default = latest(field("browser", "string", default="unknown"), field("plan", default="free"))

    assert {**an_event(), "plan": "free"} == read(an_event(), V1, default)
    assert V1 is in_shape_of(V1, V2)


def test_a_field_without_a_default_or_with_one_that_does_not_fit_is_not_added() -> None:
    """Nor is one whose default MongoDB cannot store, or with an odd name."""
    odd = latest(
        BROWSER,
        field("a", TEXT),
        field("b", "int", default="x"),
        field("c", "string", default="\ud800"),
        field("d.e", "string", default="x"),
        field("kafka", "string", default="x"),
        field("extra", "string", default="x"),
        field("ok", "string", default="x"),
    )

    assert {"ok"} == shape_between(V2, odd).fills.keys()


def test_an_alias_of_a_field_that_is_still_there_renames_nothing() -> None:
    """A field that the latest schema has under the same name keeps it, and so does an odd name."""
    twice = latest(
        BROWSER,
        field("a", "string"),
        field("b", "string", "a", default="x"),
        field("c", "string", "old", default="x"),
        field("d", "string", "old", default="y"),
        field("e", "string", "b.c", default="z"),
        field("kafka", "string", "k", default="z"),
    )
    writer = written_by(*(field(name) for name in ("a", "old", "b.c", "k")))

    assert {"old": "c"} == shape_between(writer, twice).renames


def test_aliases_that_are_no_names_have_no_meaning() -> None:
    """Java ignores nothing here; streamapp reads the schema."""
    odd = latest({**field("a", "string", default="x"), "aliases": "b"}, {**field("c", default="x"), "aliases": [1]})

    assert odd.problem is None
    assert {} == shape_between(written_by(field("b")), odd).renames


def test_records_in_records_are_shaped_also_where_they_may_be_null() -> None:
    """Not in arrays, maps and unions of several records: there one record could become very many."""
    before, after = record("P", field("city", TEXT)), record("P", field("town", TEXT, "city"), field("zip", default=""))
    names = {"plain": before, "null": ["null", before["name"]], "list": {"type": "array", "items": "P"}}
    writer = written_by(
        *(field(name, type_) for name, type_ in names.items()),
        field("map", {"type": "map", "values": "P"}),
        field("two", ["P", record("Q", field("city", TEXT))]),
    )
    now = latest(
        BROWSER,
        field("plain", after),
        field("null", ["null", "P"]),
        field("list", {"type": "array", "items": "P"}),
        field("map", {"type": "map", "values": "P"}),
        field("two", ["P", record("Q", field("city", TEXT))]),
    )
    schema = event_schema(
        *(field(name, type_) for name, type_ in names.items()),
        field("map", {"type": "map", "values": "P"}),
        field("two", ["P", record("Q", field("city", TEXT))]),
    )
    old = {"city": "x"}
    values = {"plain": old, "null": old, "list": [old], "map": {"a": old}, "two": old}

    found = read(an_event(**values), writer, now, schema)

    new = {"town": "x", "zip": ""}
    assert {"plain": new, "null": new, "list": [old], "map": {"a": old}, "two": old} == {
        name: found[name] for name in values
    }
    assert read(an_event(**values | {"null": None}), writer, now, schema)["null"] is None


def test_a_record_that_contains_itself_is_stored_as_written() -> None:
    """Also if another record lies between; the records around it have the shape."""
    node = record("Node", field("inner", record("Inner", field("next", ["null", "Node"]))))
    later = record("Node", field("inner", record("Inner", field("next", ["null", "Node"]))), field("x", default=""))
    writer = written_by(field("box", record("Box", field("node", node))))
    now = latest(BROWSER, field("box", record("Box", field("node", later), field("y", default=""))))

    shape = shape_between(writer, now)

    assert {"y"} == shape.nested["box"].fills.keys()
    assert {} == shape.nested["box"].nested


def test_an_event_in_a_union_with_null_has_a_shape() -> None:
    """With a second record, none: which of the two an event is does not follow from its document."""
    now = latest(BROWSER, field("plan", default="free"))
    nullable, two = (
        writer_schema(["null", event.schema(1), *more], schema_id=3, version="v3")
        for more in ([], [{**event.schema(1), "name": "Other"}])
    )

    assert not shape_between(nullable, now).is_as_written
    assert shape_between(two, now).is_as_written
    assert shape_between(V1, writer_schema("string", schema_id=3, version="v3")).is_as_written


def test_what_is_added_to_an_event_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in fields; beyond, all events of the schema are stored as written."""
    large = latest(BROWSER, field("a", default="x" * 2_000), metadata=[field("b", default="x" * 2_000)])
    larger = latest(BROWSER, field("a", default="x" * 2_000), metadata=[field("b", default="x" * 2_200)])

    assert not shape_between(V2, large).is_as_written
    assert shape_between(V2, larger).is_as_written
    monkeypatch.setattr(shapes_module, "MAX_FIELDS", 10)
    assert shape_between(V2, large).is_as_written


def test_schemas_that_cannot_be_compared_have_no_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason, events are stored as written."""

    def fail(*_: Any) -> None:
        raise RecursionError

    monkeypatch.setattr(shapes_module._Comparison, "shape", fail)
    assert shape_between(V1, latest(BROWSER, field("plan", default=""))).is_as_written


def test_a_record_with_a_name_twice_is_stored_as_written() -> None:
    """In either schema. Java refuses them; streamapp reads them."""
    now, twice = latest(BROWSER, field("plan", default="")), (field("b", "string", "a"), field("b", "string", "x"))

    assert shape_between(written_by(field("a"), field("a")), now).is_as_written
    assert shape_between(written_by(field("a"), field("x")), latest(BROWSER, *twice)).is_as_written


@pytest.mark.parametrize("value", ["edge", None])
def test_a_counted_field_that_is_renamed_is_stored_under_both_names(value: str | None) -> None:
    """It is counted as before; what events of the later version are counted by does not depend on the shape, either."""
    now = latest(field("agent", TEXT, "browser", default=None))
    schema = event_schema(field("agent", TEXT, "browser", default=None))
    after = writer_schema(schema, schema_id=3, version="v3")

    assert {**an_event(), "agent": value, "browser": value} == read(an_event(browser=value), V2, now)
    assert value == fast(wire(an_event(browser=value)), in_shape_of(V2, now)).dimensions.browser
    assert shape_between(after, now).is_as_written


@pytest.mark.parametrize("type_", ["long", ["null", "long"]])
def test_a_counted_field_of_another_type_takes_the_generic_path(type_: Any) -> None:
    """The fast path repeats texts only."""
    schema = event_schema(field("browser", type_))
    now = latest(field("agent", type_, "browser", default=None))
    writer = in_shape_of(writer_schema(schema, schema_id=3, version="v3"), now)

    assert writer.transcode is None
    assert {"agent": 7, "browser": 7} == {
        name: wire_format.read(wire(an_event(browser=7), schema, 3), writer)[name] for name in ("agent", "browser")
    }


def test_no_field_becomes_a_counted_one() -> None:
    """What an event is counted by would depend on when it is stored."""
    now = latest(field("browser", "string", "client", default="?"))

    assert shape_between(written_by(field("client")), now).is_as_written


def fast(value: bytes, writer: WriterSchema) -> LazyDocument:
    """The document of the fast path."""
    kept = FakeRecord(value=value, timestamp=NOW)
    path = FastPath(a_batch(kept), {writer.schema_id: writer}, times=ANY_TIME, received_at=RECEIVED_AT)
    found = path.document(kept)
    assert found is not None
    assert row_of(found.decoded()) == found.row
    return found
