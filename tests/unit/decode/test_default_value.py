"""Defaults become the values that MongoDB stores for written values; a default that does not fit is none."""

from __future__ import annotations

from typing import Any

import bson
import fastavro
import pytest
from bson import DatetimeMS, Decimal128

from streamapp.decode import wire_format
from streamapp.decode.avro_schema import parse
from streamapp.decode.default_value import UnfitDefaultError, default_value
from streamapp.decode.writer_schema import writer_schema
from tests.support.factories import an_event
from tests.support.shapes import event_schema, field, record

ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
PLACE = record("P", field("a", "int"), field("b", "string", default="x"))
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}


@pytest.mark.parametrize(
    ("type_", "json", "value"),
    [
        ("null", None, None),
        ("boolean", True, True),
        ("int", -(2**31), -(2**31)),
        ("long", 2**63 - 1, 2**63 - 1),
        ("double", 1, 1.0),
        ("float", 0.1, 0.10000000149011612),
        ("string", "ü", "ü"),
        ("bytes", "\u00ff\u0000", b"\xff\0"),
        ({"type": "fixed", "name": "F", "size": 2}, "ab", b"ab"),
        (ENUM, "B", "B"),
        ({"type": "array", "items": "int"}, [1, 2], [1, 2]),
        ({"type": "map", "values": ["null", "int"]}, {"a": 1, "b": None}, {"a": 1, "b": None}),
        (PLACE, {"a": 1}, {"a": 1, "b": "x"}),
        (["null", "string"], None, None),
        (["null", "string"], "x", "x"),
        (DECIMAL, "\u0001\u0000", Decimal128("2.56")),
        ({"type": "int", "logicalType": "date"}, 1, DatetimeMS(86_400_000)),
    ],
)
def test_a_default_is_stored_as_the_same_value_is_if_it_is_written(type_: Any, json: Any, value: Any) -> None:
    """With the conversions of logical types."""
    assert bson.encode({"x": value}) == bson.encode({"x": default_value(json, parse(type_).root)})


@pytest.mark.parametrize("number", [0.1, 1e-40, 3.4e38])
def test_a_default_of_a_float_has_the_digits_of_a_written_one(number: float) -> None:
    """A float has fewer digits than a number of JSON."""
    schema = event_schema(field("x", "float"))
    value = wire_format.write(an_event(x=number), schema=fastavro.parse_schema(schema, named_schemas={}), schema_id=1)
    written = wire_format.read(value, writer_schema(schema, schema_id=1, version="v1"))

    assert written["x"] == default_value(number, parse("float").root)


@pytest.mark.parametrize(
    ("type_", "json"),
    [
        ("null", 0),
        ("boolean", 1),
        ("int", 2**31),
        ("int", True),
        ("long", -(2**63) - 1),
        ("double", "1.5"),
        ("float", 1e39),
        ("double", 10**400),
        ("string", None),
        ("bytes", "€"),
        ("bytes", 1),
        ({"type": "fixed", "name": "F", "size": 2}, "abc"),
        (ENUM, "C"),
        (ENUM, []),
        ({"type": "array", "items": "int"}, 1),
        ({"type": "array", "items": "int"}, ["1"]),
        ({"type": "map", "values": "int"}, []),
        (PLACE, {"b": "y"}),
        (PLACE, None),
        (["null", "string"], 1),
        ({"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 0}, "\u007f" * 16),
    ],
)
def test_a_default_that_does_not_fit_is_refused(type_: Any, json: Any) -> None:
    """Java reads such schemas; MongoDB could not store the value, or would store another type."""
    with pytest.raises(UnfitDefaultError):
        default_value(json, parse(type_).root)


def test_a_default_nested_deeper_than_mongodb_stores_is_refused() -> None:
    """A schema can repeat a name in itself without end."""
    tree = record("T", field("x", ["null", "T"]))
    value: Any = {"x": None}
    for _ in range(110):
        value = {"x": value}

    with pytest.raises(UnfitDefaultError):
        default_value(value, parse(tree).root)
