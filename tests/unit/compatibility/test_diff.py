"""In what two schemas differ."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.compatibility.diff import changes_of
from streamapp.compatibility.validity import parse
from streamapp.model import event
from tests.support.schema_pairs import TEXT, array, enum, fixed, logical, node, of, record


def changes(old: Any, new: Any) -> list[tuple[str, str, str | None, str | None]]:
    """Return path, kind, before and after of each difference."""
    found = changes_of(parse(old).root, parse(new).root)
    return [(each.path, each.what.value, each.before, each.after) for each in found]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (record(TEXT), record(TEXT, ("b", "int")), [("b", "added", None, "int")]),
        (record(TEXT), record(TEXT, ("b", "int", 1)), [("b", "added", None, "int, default 1")]),
        (record(TEXT, ("b", "int")), record(TEXT), [("b", "removed", "int", None)]),
        (
            record(TEXT),
            record({"name": "b", "type": "string", "aliases": ["a"]}),
            [("b", "renamed", "a", "b"), ("b", "alias", None, "a")],
        ),
        (record(("a", "int")), record(("a", "long")), [("a", "type", "int", "long")]),
        (record(("a", "int")), record(("a", ["null", "int"])), [("a", "type", "int", "[null, int]")]),
        (record(("a", ["null", "int"])), record(("a", ["int", "null"])), [("a", "type", "[null, int]", "[int, null]")]),
        (record(("a", "int", 1)), record(("a", "int")), [("a", "default", "1", None)]),
        (record(("a", ["null", "int"])), record(("a", ["null", "int"], None)), [("a", "default", None, "null")]),
        (
            record(("a", array(record(("b", "int"), name="I")))),
            record(("a", array(record(("b", "long"), name="I")))),
            [("a[].b", "type", "int", "long")],
        ),
        (of(TEXT), of(TEXT, ("os", "string", "")), [("metadata.os", "added", None, 'string, default ""')]),
        (
            record(("m", ["null", record(TEXT, name="M")])),
            record(("m", ["null", record(name="M")])),
            [("m.a", "removed", "string", None)],
        ),
        (record(TEXT), record(TEXT, name="S", aliases=["R"]), [("", "name", "R", "S"), ("", "alias", None, "R")]),
        (enum("X"), enum("X", "Y", default="X"), [("", "default", None, "X"), ("", "symbol", "X", "X, Y")]),
        (fixed(4), fixed(8), [("", "size", "4", "8")]),
        (
            record(("t", "long")),
            record(("t", logical("long", "timestamp-millis"))),
            [("t", "logical type", "none", "timestamp-millis")],
        ),
        (
            record({"name": "a", "type": "int", "doc": "x"}),
            record({"name": "a", "type": "int", "order": "ignore"}),
            [("a", "order", "ascending", "ignore"), ("a", "doc", "x", None)],
        ),
        (record(TEXT, doc="x"), record(TEXT, doc="y"), [("", "doc of the type", "x", "y")]),
        (node(("v", "int")), node(("v", "int")), []),
        (node(("v", "int")), node(("v", "long")), [("v", "type", "int", "long")]),
    ],
)
def test_each_difference_is_named(old: Any, new: Any, expected: Any) -> None:
    """With its path, and as text before and after."""
    assert expected == changes(old, new)


def test_the_second_version_adds_the_browser() -> None:
    """The schemas of this repository."""
    found = changes(event.schema(1), event.schema(2))

    assert ("browser", "added", None, "[null, string], default null") in found
    assert {"added", "doc of the type"} == {what for _, what, *_ in found}
