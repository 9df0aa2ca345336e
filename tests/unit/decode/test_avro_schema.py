"""Schemas are read as leniently as Avro's Java library reads them."""

from __future__ import annotations

import json
from typing import Any

import fastavro.schema
import pytest

from streamapp.decode import wire_format
from streamapp.decode.avro_schema import from_text, parse
from streamapp.decode.canonical_form import canonical_form
from streamapp.decode.writer_schema import writer_schema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.record import Reason
from tests.support.factories import an_event, wire

META: dict[str, Any] = {
    "type": "record",
    "name": "Meta",
    "fields": [{"name": "device", "type": "string"}, {"name": "location", "type": "string"}],
}
START = wire(an_event(), schema_id=9)


def event_schema(*more: Any, name: str = "UserEvent", namespace: str = "com.shop", metadata: Any = META) -> Any:
    """Return the schema of an event with more fields."""
    plain = {"user_id": "string", "event_type": "string", "event_timestamp": "long", "metadata": metadata}
    fields = [{"name": field, "type": type_} for field, type_ in plain.items()]
    return {"type": "record", "name": name, "namespace": namespace, "fields": [*fields, *more]}


def decimal(**more: Any) -> dict[str, Any]:
    """Return a decimal in bytes."""
    return {"type": "bytes", "logicalType": "decimal", **more}


FIXED = {"type": "fixed", "name": "D", "size": 4}


@pytest.mark.parametrize(
    ("field", "encoded", "expected"),
    [
        ({"type": {"type": "array", "items": "string"}, "default": None}, b"\0", []),
        ({"type": "string", "default": None}, b"\x02a", "a"),
        ({"type": ["float", "null"], "default": "null"}, b"\x02", None),
        ({"type": "int", "default": "0"}, b"\x02", 1),
        ({"type": "long", "default": 1570903062179.5}, b"\x02", 1),
        ({"type": "boolean", "default": "false"}, b"\x01", True),
        (
            {"type": META, "default": 7, "aliases": 7, "doc": 7, "order": 7},
            b"\x02a\x02b",
            {"device": "a", "location": "b"},
        ),
        ({"type": {"type": "enum", "name": "E", "symbols": ["A"], "default": "Z"}}, b"\0", "A"),
        ({"type": {"type": "enum", "name": "E", "symbols": ["web-app", "2", "", "ü"]}}, b"\x06", "ü"),
        ({"type": decimal(precision=3, scale=5)}, b"\x02a", b"a"),
        ({"type": decimal(precision=6, scale=-2)}, b"\x02a", b"a"),
        ({"type": decimal(precision="10", scale="2")}, b"\x02a", b"a"),
        ({"type": decimal(precision=0)}, b"\x02a", b"a"),
        ({"type": decimal()}, b"\x02a", b"a"),
        ({"type": decimal(precision=None, scale=None)}, b"\x02a", b"a"),
        ({"type": decimal(precision=10, scale=2.5)}, b"\x02a", b"a"),
        ({"type": {**FIXED, "logicalType": "decimal", "precision": 20}}, b"abcd", b"abcd"),
        ({"type": {**FIXED, "logicalType": "decimal", "precision": 10**9}}, b"abcd", b"abcd"),
        ({"type": {**FIXED, "logicalType": "uuid"}}, b"abcd", b"abcd"),
        ({"type": {**FIXED, "logicalType": "duration"}}, b"abcd", b"abcd"),
        ({"type": {"type": "string", "logicalType": "date"}}, b"\x02a", "a"),
        ({"type": {"type": "int", "logicalType": ["date"]}}, b"\x02", 1),
        ({"type": {"type": {"type": "int"}}}, b"\x02", 1),
    ],
    ids=str,
)
def test_harmless_flaws_play_no_part(field: Any, encoded: bytes, expected: Any) -> None:
    """Defaults, symbols' characters and invalid logical types do not matter to reading with the writer's schema."""
    writer = writer_schema(event_schema({"name": "x", **field}), schema_id=9, version="v9")

    assert writer.problem is None
    assert expected == wire_format.read(START + encoded, writer)["x"]


def test_a_top_level_union_of_references_is_read_by_its_branch() -> None:
    """Several event types in one topic; records of the others are no events."""
    clicked = event_schema(name="Clicked", namespace="com.ref")
    bought = {"type": "record", "name": "Bought", "namespace": "com.ref", "fields": [{"name": "z", "type": "int"}]}
    union = ["com.ref.Clicked", "com.ref.Bought"]
    writer = writer_schema(union, schema_id=9, version="v9", definitions=[clicked, bought])

    assert writer.problem is None
    assert an_event() == wire_format.read(START[:5] + b"\0" + START[5:], writer)
    assert {"z": 1} == wire_format.read(START[:5] + b"\x02\x02", writer)


@pytest.mark.parametrize("reference", ["com.ref.Clicked", {"type": "com.ref.Clicked"}])
def test_a_reference_alone_is_the_schema_that_it_names(reference: Any) -> None:
    """And is read on the fast path like it."""
    clicked = event_schema(name="Clicked", namespace="com.ref")
    writer = writer_schema(reference, schema_id=9, version="v9", definitions=[clicked])

    assert writer.problem is None
    assert writer.transcode is not None
    assert an_event() == wire_format.read(START, writer)


def test_names_are_resolved_in_their_namespace() -> None:
    """Two records with one short name: the field at the end means the one of its own namespace."""
    other = {"type": "record", "name": "Meta", "namespace": "b", "fields": [{"name": "build", "type": "int"}]}
    fields = [
        {"name": "app", "type": other},
        {"name": "previous", "type": {**META, "namespace": "a"}},
        *event_schema(metadata="Meta")["fields"],
    ]
    writer = writer_schema(
        {"type": "record", "name": "Ev", "namespace": "a", "fields": fields}, schema_id=9, version="v9"
    )

    assert writer.problem is None
    read = wire_format.read(START[:5] + b"\x02" + b"\x02p\x02q" + START[5:], writer)
    assert ({"build": 1}, {"device": "p", "location": "q"}) == (read["app"], read["previous"])
    assert an_event().items() <= read.items()


@pytest.mark.parametrize(
    ("name", "namespace", "reference"),
    [
        ("Meta", None, "Meta"),
        ("Meta", None, "com.shop.Meta"),
        ("Meta", "other", "other.Meta"),
        ("other.Meta", "ignored", "other.Meta"),
        ("Meta", "", "Meta"),
        ("record", None, "record"),
    ],
)
def test_a_name_is_found_as_the_specification_says(name: str, namespace: str | None, reference: str) -> None:
    """Its own namespace, the enclosing one, one within the name, or none."""
    meta = {**META, "name": name, **({} if namespace is None else {"namespace": namespace})}
    schema = event_schema({"name": "again", "type": reference}, metadata=meta)

    assert writer_schema(schema, schema_id=9, version="v9").problem is None


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"type": "no-such-type"}, "unknown type 'no-such-type'"),
        ({}, "an object without a type"),
        (event_schema({"name": "x", "type": "b.Meta"}), "x: unknown type 'b.Meta'"),
        (event_schema({"name": "x", "type": "Nothing"}), "x: unknown type 'Nothing'"),
        (event_schema({"name": "x"}), "x: a type is neither"),
        (event_schema({"type": "int"}), "a field without a name"),
        (event_schema(name=""), "a type record without a name"),
        (event_schema({"name": "x", "type": {"type": "enum", "symbols": ["A"]}}), "x: a type enum without a name"),
        (event_schema(metadata={**META, "fields": {}}), "metadata: record com.shop.Meta has no list of fields"),
        (event_schema({"name": "x", "type": {"type": "array"}}), "x: a type array without items"),
        (
            event_schema({"name": "x", "type": {"type": "fixed", "name": "F", "size": "4"}}),
            "x: fixed com.shop.F has no size",
        ),
        (
            event_schema({"name": "x", "type": {"type": "enum", "name": "E"}}),
            "x: enum com.shop.E has no list of symbols",
        ),
        (event_schema({"name": "x", "type": {**META, "fields": []}}), "x: com.shop.Meta is defined twice"),
        (from_text("{"), "it is not JSON"),
        (from_text(None), "it is not JSON"),
        (from_text("message M {}", kind="PROTOBUF"), "it is a schema of type PROTOBUF"),
        (from_text("[" * 100_000), "nested too deeply"),
    ],
    ids=lambda part: str(part)[-50:],
)
def test_a_schema_that_cannot_be_read_has_a_problem(wrong: Any, problem: str) -> None:
    """The problem says what is wrong, and where."""
    assert problem in (writer_schema(wrong, schema_id=9, version="v9").problem or "")


def nested(depth: int, container: str) -> Any:
    """Return a type within types."""
    deep: Any = "int"
    for number in range(depth):
        deep = {
            "array": {"type": "array", "items": deep},
            "map": {"type": "map", "values": deep},
            "union": ["null", deep],
            "type": {"type": deep},
            "record": {"type": "record", "name": f"R{number}", "fields": [{"name": "x", "type": deep}]},
        }[container]
    return deep


@pytest.mark.parametrize("depth", [151, 300, 985, 5_000, 100_000])
@pytest.mark.parametrize("container", ["array", "map", "union", "type", "record"])
def test_a_schema_that_is_nested_too_deeply_has_a_problem(container: str, depth: int) -> None:
    """Of any depth, and whatever it consists of; its records are dead letters."""
    writer = writer_schema(event_schema({"name": "x", "type": nested(depth, container)}), schema_id=9, version="v9")

    assert "nested" in (writer.problem or "")
    with pytest.raises(Undecodable) as caught:
        wire_format.read(START, writer)
    assert Reason.INCOMPATIBLE_SCHEMA == caught.value.reason


@pytest.mark.parametrize("depth", [100, 985, 5_000, 1_000_000])
def test_a_text_that_is_nested_too_deeply_has_a_problem_or_is_read(depth: int) -> None:
    """To parse JSON may exceed Python's stack before anything of the schema is read."""
    text = '{"type":"array","items":' * depth + '"int"' + "}" * depth

    assert writer_schema(from_text(text), schema_id=9, version="v9").problem


def test_definitions_that_are_too_deep_to_compare_are_a_problem() -> None:
    """A record may be defined twice in the same way; its default values can be nested beyond Python's stack."""
    metas: list[Any] = []
    for _ in range(2):
        deep: Any = 0
        for _ in range(20_000):
            deep = [deep]
        metas.append({**META, "default": deep})
    schema = event_schema({"name": "again", "type": metas[1]}, metadata=metas[0])

    assert "nested too deeply" in (writer_schema(schema, schema_id=9, version="v9").problem or "")


def test_records_that_contain_each_other_in_too_many_ways_are_a_problem() -> None:
    """Each record has at least the bytes of the one around it: the least size of the last is known after 120 rounds."""

    def around(prefix: str, smallest: str) -> Any:
        """Return 60 records within each other; each but the outermost begins with the one around it."""
        inner: Any = "null"
        for number in reversed(range(60)):
            first = {"name": "up", "type": f"{prefix}{number - 1}" if number else smallest}
            fields = [first, {"name": "in", "type": ["null", inner]}]
            inner = {"type": "record", "name": f"{prefix}{number}", "fields": fields}
        return inner

    few = event_schema({"name": "x", "type": around("R", "int")})
    many = event_schema(*few["fields"][4:], {"name": "y", "type": around("S", "R59")})

    assert writer_schema(few, schema_id=9, version="v9").problem is None
    assert "too many contain each other" in (writer_schema(many, schema_id=9, version="v9").problem or "")


def test_a_chain_of_many_records_has_no_end_in_a_crash() -> None:
    """A union of 20,000 records, each with the one before it: nesting is small, the depth of values is not."""
    records: list[Any] = [{"type": "record", "name": "R0", "fields": []}]
    for number in range(1, 20_000):
        field = {"name": "x", "type": f"R{number - 1}"}
        records.append({"type": "record", "name": f"R{number}", "fields": [field]})
    writer = writer_schema(event_schema({"name": "x", "type": records}), schema_id=9, version="v9")

    assert writer.problem is None
    assert wire_format.read(START + b"\x02", writer)["x"] == {"x": {}}
    with pytest.raises(Undecodable, match="nested more than"):
        wire_format.read(START + b"\xbe\xb8\x02", writer)


@pytest.mark.parametrize(
    "schema",
    [
        event.schema(1),
        event.schema(2),
        ["null", event.schema(2)],
        event_schema(
            {"name": "a", "type": {"type": "array", "items": ["null", "Meta"]}},
            {"name": "m", "type": {"type": "map", "values": {"type": "enum", "name": "x.E", "symbols": ["A", "B"]}}},
            {"name": "f", "type": {"type": "fixed", "name": "F", "size": 3, "doc": "three"}},
            {"name": "t", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ),
    ],
    ids=str,
)
def test_canonical_forms_are_fastavros(schema: Any) -> None:
    """Another implementation of the specification."""
    parsed = fastavro.schema.parse_schema(schema, named_schemas={})

    assert fastavro.schema.to_parsing_canonical_form(parsed) == canonical_form(parse(schema).root)
    assert json.loads(canonical_form(parse(schema).root))
