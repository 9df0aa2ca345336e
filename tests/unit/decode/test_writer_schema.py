"""Writer schemas: which are of events, and how their values are stored."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Decimal128

from streamapp.decode import wire_format
from streamapp.decode import writer_schema as decode_writer_schema
from streamapp.decode.writer_schema import writer_schema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.record import Reason
from tests.support.factories import an_event, wire


def with_field(name: str, kind: Any, /, **changes: Any) -> dict[str, Any]:
    """Return V1 with one more field, or with another type for one."""
    fields = [field for field in event.schema(1)["fields"] if field["name"] != name]
    return {**event.schema(1), "fields": [*fields, {"name": name, "type": kind}], **changes}


def problem_of(schema: Any) -> str | None:
    """Return why no record of a schema can be an event."""
    return writer_schema(schema, schema_id=9, version="v9").problem


def stored(kind: Any, value: Any) -> Any:
    """Return what a value of an additional field is read as, after a round through BSON's encoder."""
    schema = with_field("added", kind)
    writer = writer_schema(schema, schema_id=9, version="v9")
    read = wire_format.read(wire(an_event(added=value), schema, 9), writer)["added"]
    bson.encode({"value": read})
    return read


AT = dt.datetime(2026, 1, 31, 12, 0, 0, 123000, tzinfo=dt.UTC)
AT_MS = DatetimeMS(int(AT.timestamp() * 1000))
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, AT, AT_MS),
        ({"type": "long", "logicalType": "timestamp-micros"}, AT, AT_MS),
        ({"type": "long", "logicalType": "timestamp-nanos"}, int(AT_MS) * 1_000_000 + 7, AT_MS),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, AT.replace(tzinfo=None), AT_MS),
        ({"type": "int", "logicalType": "date"}, dt.date(1970, 1, 3), DatetimeMS(2 * 86_400_000)),
        ({"type": "int", "logicalType": "time-millis"}, dt.time(0, 0, 1), 1000),
        ({"type": "long", "logicalType": "time-micros"}, dt.time(0, 0, 1), 1_000_000),
        ({"type": "string", "logicalType": "uuid"}, ID, str(ID)),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
            Decimal("-12.34"),
            Decimal128("-12.34"),
        ),
        ({"type": "enum", "name": "Plan", "symbols": ["FREE", "PAID"]}, "PAID", "PAID"),
        ({"type": "fixed", "name": "Two", "size": 2}, b"\x01\x02", b"\x01\x02"),
        ("bytes", b"\x00", b"\x00"),
        (
            ["null", {"type": "int", "logicalType": "date"}, {"type": "string"}],
            dt.date(1970, 1, 2),
            DatetimeMS(86_400_000),
        ),
        (
            {"type": "array", "items": {"type": "int", "logicalType": "date"}},
            [dt.date(1970, 1, 2)],
            [DatetimeMS(86_400_000)],
        ),
        ({"type": "map", "values": "long"}, {"a": 1}, {"a": 1}),
        ({"type": "string", "logicalType": "of-the-future"}, "as it is", "as it is"),
    ],
    ids=str,
)
def test_avro_values_become_bson_values(kind: Any, value: Any, expected: Any) -> None:
    """Each Avro type is stored as the contract says."""
    assert expected == stored(kind, value)


def test_a_date_beyond_pythons_range_is_kept() -> None:
    """BSON's Date holds the year 300000, a datetime does not."""
    far = 9_400_000_000_000_000

    assert DatetimeMS(far) == stored({"type": "long", "logicalType": "timestamp-millis"}, far)


def test_an_event_timestamp_of_days_is_milliseconds() -> None:
    """A date is read as its midnight."""
    schema = with_field("event_timestamp", {"type": "int", "logicalType": "date"})
    writer = writer_schema(schema, schema_id=9, version="v9")

    read = wire_format.read(wire(an_event(event_timestamp=dt.date(2026, 1, 31)), schema, 9), writer)

    assert int(dt.datetime(2026, 1, 31, tzinfo=dt.UTC).timestamp() * 1000) == read["event_timestamp"]


@pytest.mark.parametrize("is_nullable", [False, True])
@pytest.mark.parametrize(
    ("logical", "factor"), [("timestamp-millis", 1), ("timestamp-micros", 1000), ("local-timestamp-micros", 1000)]
)
def test_event_timestamp_is_milliseconds_whatever_its_unit(logical: str, factor: int, is_nullable: bool) -> None:
    """It is stored as an int of milliseconds, also if the schema allows null."""
    kind = {"type": "long", "logicalType": logical}
    schema = with_field("event_timestamp", ["null", kind] if is_nullable else kind)
    writer = writer_schema(schema, schema_id=9, version="v9")

    value = wire(an_event(event_timestamp=1_790_000_000_123 * factor), schema, 9)

    assert 1_790_000_000_123 == wire_format.read(value, writer)["event_timestamp"]


METADATA = {
    "type": "record",
    "name": "Other",
    "namespace": "elsewhere",
    "fields": [{"name": n, "type": "string"} for n in ("device", "location")],
}


@pytest.mark.parametrize(
    "schema",
    [
        event.schema(1),
        event.schema(2),
        with_field("event_timestamp", "int"),
        with_field("user_id", "bytes"),
        with_field("user_id", ["null", "string"]),
        with_field("metadata", ["null", METADATA], name="AnotherName", namespace="com.example"),
        with_field("browser", ["null", "string"]),
    ],
    ids=lambda schema: str(schema["fields"][-1]),
)
def test_schemas_with_the_required_fields_are_of_events(schema: Any) -> None:
    """Names of records do not matter, nor do promotable types and nullable fields."""
    assert problem_of(schema) is None


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ("string", "the value is not a record"),
        ({"type": "record", "name": "X", "fields": []}, "user_id is missing"),
        (with_field("event_timestamp", "double"), "event_timestamp does not read as long"),
        (
            with_field("event_type", {"type": "enum", "name": "T", "symbols": ["a"]}),
            "event_type does not read as string",
        ),
        (with_field("metadata", {"type": "map", "values": "string"}), "metadata is not a record"),
        (with_field("metadata", {**METADATA, "fields": METADATA["fields"][:1]}), "metadata.location is missing"),
    ],
    ids=lambda part: str(part)[-40:],
)
def test_other_schemas_have_a_problem(schema: Any, problem: str) -> None:
    """It names the field. Their records are refused with it."""
    assert problem == problem_of(schema)
    with pytest.raises(Undecodable, match=f"schema 9: {problem}") as caught:
        wire_format.read(wire(an_event(), schema_id=9), writer_schema(schema, schema_id=9, version="v9"))
    assert Reason.INCOMPATIBLE_SCHEMA == caught.value.reason


def test_a_schema_that_cannot_be_parsed_has_a_problem() -> None:
    """No error is raised: its records become dead letters."""
    writer = writer_schema({"type": "no-such-type"}, schema_id=1, version="v1")

    assert "cannot be read" in (writer.problem or "")


def test_canonical_forms_ignore_docs_and_order_of_attributes() -> None:
    """Another spelling of V2 is V2."""
    spelled = {
        "fields": [{k: v for k, v in f.items() if k != "doc"} for f in event.schema(2)["fields"]],
        "name": "streamapp.UserEvent",
        "type": "record",
    }

    assert decode_writer_schema.canonical_form(event.schema(2)) == decode_writer_schema.canonical_form(spelled)


def test_a_union_at_the_top_is_read_by_its_branch() -> None:
    """Null or an event: records of events are events."""
    schema = ["null", event.schema(2)]
    writer = writer_schema(schema, schema_id=9, version="v9")

    assert writer.problem is None
    assert "browser" in writer.names
    assert an_event(browser="x") == wire_format.read(wire(an_event(browser="x"), schema, 9), writer)


def test_a_type_may_have_the_name_of_an_avro_type() -> None:
    """`record` is a valid name."""
    assert problem_of({**event.schema(1), "name": "record", "namespace": "com.example"}) is None


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}


@pytest.mark.parametrize("depth", [10_000, 1_000_000])
def test_a_record_that_is_nested_too_deeply_is_undecodable(depth: int) -> None:
    """It does not crash the process."""
    writer = writer_schema(with_field("next", ["null", NODE]), schema_id=9, version="v9")

    with pytest.raises(Undecodable) as caught:
        wire_format.read(wire(an_event(), schema_id=9) + b"\x02" * depth + b"\x00", writer)

    assert Reason.UNDECODABLE == caught.value.reason


def test_a_recursive_schema_is_read() -> None:
    """To the depth that MongoDB stores."""
    writer = writer_schema(with_field("next", ["null", NODE]), schema_id=9, version="v9")

    read = wire_format.read(wire(an_event(), schema_id=9) + b"\x02\x02\x00", writer)

    assert {"next": {"next": None}} == read["next"]


def test_a_schema_may_refer_to_definitions_of_other_subjects() -> None:
    """The registry calls them references."""
    schema = with_field("metadata", "elsewhere.Other")
    whole = with_field("metadata", METADATA)
    writer = writer_schema(schema, schema_id=9, version="v9", definitions=[METADATA])

    assert writer.problem is None
    assert an_event() == wire_format.read(wire(an_event(), whole, 9), writer)


def test_a_writer_cannot_use_streamapps_names_of_logical_types() -> None:
    """An unknown logical type is ignored, as Avro demands."""
    writer = writer_schema(with_field("day", {"type": "int", "logicalType": "event-date"}), schema_id=9, version="v9")

    assert wire_format.read(wire(an_event(), schema_id=9) + b"\x02", writer)["day"] == 1


def test_the_json_of_a_schema_is_kept() -> None:
    """After the schemas that it refers to; also of a schema whose records cannot be events."""
    definition = {"type": "enum", "name": "Colour", "symbols": ["red"]}
    schema = {"type": "record", "name": "Painted", "fields": [{"name": "colour", "type": "Colour"}]}

    writer = writer_schema(schema, schema_id=9, version="v9", definitions=[definition])

    assert (definition, schema) == writer.sources
    assert ("no-such-type",) == writer_schema("no-such-type", schema_id=9, version="v9").sources
