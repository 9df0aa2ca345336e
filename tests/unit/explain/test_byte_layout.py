"""The bytes of a record are named up to the first one that cannot be read."""

from __future__ import annotations

from typing import Any

import fastavro
import pytest

from streamapp.decode import avro_schema, wire_format
from streamapp.decode.avro_schema import AvroType
from streamapp.explain.byte_layout import MAX_SPANS, Layout, layout_of
from streamapp.model import event
from tests.support.factories import an_event, wire

VALUE = wire(an_event(browser="firefox"))


def root(schema: Any) -> AvroType:
    """Return the type of a schema."""
    return avro_schema.parse(schema).root


def of_field(type_: Any, value: Any) -> Layout:
    """Return the layout of a record with one field `x`."""
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": type_}]}
    written = wire_format.write({"x": value}, schema=fastavro.parse_schema(schema, named_schemas={}), schema_id=7)
    return layout_of(written, root(schema))


def texts(layout: Layout) -> list[tuple[str, str]]:
    """Return the names and texts of a body."""
    return [(span.what, span.text) for span in layout.spans[2:]]


def test_each_byte_of_an_event_belongs_to_a_field() -> None:
    """The spans follow each other, from the magic byte to the last byte."""
    layout = layout_of(VALUE, root(event.schema(2)))

    assert (None, False) == (layout.problem, layout.is_cut)
    assert [0, *(span.end for span in layout.spans[:-1])] == [span.start for span in layout.spans]
    assert len(VALUE) == layout.spans[-1].end
    assert ["(magic byte)", "(schema id)", "user_id", "event_type", "event_timestamp"] == [
        span.what for span in layout.spans[:5]
    ]
    assert [("metadata.location", "'DE'"), ("browser", "(branch 1: string)"), ("browser", "'firefox'")] == texts(
        layout
    )[-3:]


def test_the_fields_that_an_error_names_are_found() -> None:
    """By whole names, nested ones with their path."""
    layout = layout_of(VALUE, root(event.schema(2)))

    assert ["metadata.device"] == [span.what for span in layout.named_in("schema 2: metadata.device is null.")]
    assert [] == layout.named_in("device: not an_event_timestamp")


def test_a_body_without_its_schema_is_one_span() -> None:
    """The header can be read all the same."""
    assert [("(body)", "its schema is unknown")] == texts(layout_of(VALUE, None))


@pytest.mark.parametrize(
    ("value", "problem", "at"),
    [
        (b"", "the value has no bytes", (0, 0)),
        (b"{}", "the first byte is 123, not 0", (0, 2)),
        (b"\0\0", "2 bytes are too few for magic byte and schema id", (0, 2)),
    ],
)
def test_a_value_without_header(value: bytes, problem: str, at: tuple[int, int]) -> None:
    """The bytes in place of the header are the problem."""
    layout = layout_of(value, root(event.schema(2)))

    assert ([], problem, at) == (layout.spans, layout.problem, layout.problem_at)


def test_the_field_that_is_cut_is_named() -> None:
    """From its first byte to the end."""
    layout = layout_of(VALUE[:9], root(event.schema(2)))

    assert ("user_id: the body ends early", (5, 9)) == (layout.problem, layout.problem_at)


def test_the_field_with_a_wrong_byte_is_named() -> None:
    """A string that is not UTF-8."""
    damaged = VALUE[:7] + b"\xff" + VALUE[8:]
    layout = layout_of(damaged, root(event.schema(2)))

    assert ("user_id: a string is not UTF-8", (5, 12)) == (layout.problem, layout.problem_at)


def test_bytes_after_the_body_are_a_problem() -> None:
    """Written with another schema than the id says."""
    layout = layout_of(VALUE + b"\0\0", root(event.schema(2)))

    assert "2 bytes are left over after the body" == layout.problem
    assert (len(VALUE), len(VALUE) + 2) == layout.problem_at


def test_arrays_and_maps_have_the_place_of_each_item() -> None:
    """Also in blocks that say their size."""
    assert [("x", "(2 items)"), ("x[0]", "5"), ("x[1]", "6"), ("x", "(end of items)")] == texts(
        of_field({"type": "array", "items": "int"}, [5, 6])
    )
    assert [("x", "(1 items)"), ("x", "(key 'a')"), ("x{'a'}", "null"), ("x", "(end of items)")] == texts(
        of_field({"type": "map", "values": "null"}, {"a": None})
    )
    schema = {"type": "array", "items": "int"}
    in_block_with_size = b"\0\0\0\0\7" + b"\1\2\x0a\0"
    assert [("", "(1 items)"), ("[0]", "5"), ("", "(end of items)")] == texts(
        layout_of(in_block_with_size, root(schema))
    )


def test_a_problem_of_a_value_without_a_name_has_no_path() -> None:
    """The schema is not a record."""
    assert "the body ends early" == layout_of(b"\0\0\0\0\7", root("int")).problem


def test_null_has_no_value_after_its_branch() -> None:
    """The branch says it."""
    assert [("x", "(branch 0: null)")] == texts(of_field(["null", "int"], None))


def test_long_values_are_cut() -> None:
    """And bytes are shown in hexadecimal."""
    [(_, text)] = texts(of_field("bytes", b"\xab" * 100))

    assert text.startswith("ab ab")
    assert text.endswith("…")


def test_a_record_of_many_values_is_cut() -> None:
    """A record can have a million."""
    layout = of_field({"type": "array", "items": "int"}, [1] * (MAX_SPANS + 1))

    assert (True, MAX_SPANS, None) == (layout.is_cut, len(layout.spans), layout.problem)


def test_items_without_bytes_are_bounded() -> None:
    """A block of two thousand million empty records takes six bytes."""
    void = {"type": "array", "items": {"type": "record", "name": "Void", "fields": []}}
    layout = layout_of(b"\0\0\0\0\7" + b"\xfe\xff\xff\xff\x0f\0", root(void))

    assert layout.problem is not None
    assert "items take no bytes" in layout.problem
