"""Usual changes of a schema, with the levels that allow them: computed by the rules of `schema check`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generators.markdown import table as markdown_table
from streamapp.compatibility.check import levels_of
from streamapp.compatibility.modes import Direction
from streamapp.compatibility.validity import parse

ENUM: dict[str, Any] = {"type": "enum", "name": "Plan", "symbols": ["FREE", "PRO"]}
#: Change → type or attributes of the field before and after; None where there is no field.
CHANGES: dict[str, tuple[Any, Any]] = {
    "add a field with a default": (None, {"type": "int", "default": 0}),
    "add a field without a default": (None, {"type": "int"}),
    "remove a field that has a default": ({"type": "int", "default": 0}, None),
    "remove a field that has no default": ({"type": "int"}, None),
    "rename a field, with an alias": ({"type": "int"}, {"type": "int", "name": "other", "aliases": ["field"]}),
    "rename a field, with an alias, if it had a default before": (
        {"type": "int", "default": 0},
        {"type": "int", "name": "other", "aliases": ["field"], "default": 0},
    ),
    "rename a field, without an alias": ({"type": "int"}, {"type": "int", "name": "other"}),
    "change a default": ({"type": "int", "default": 0}, {"type": "int", "default": 1}),
    "change the doc, or the order of fields": ({"type": "int"}, {"type": "int", "doc": "…"}),
    "widen a number: int to long, float or double": ({"type": "int"}, {"type": "long"}),
    "narrow a number: long to int": ({"type": "long"}, {"type": "int"}),
    "string to bytes, or bytes to string": ({"type": "string"}, {"type": "bytes"}),
    "another type: int to string": ({"type": "int"}, {"type": "string"}),
    "make a field nullable: `string` to `[null, string]`": ({"type": "string"}, {"type": ["null", "string"]}),
    "make a field not nullable": ({"type": ["null", "string"]}, {"type": "string"}),
    "add a branch to a union": ({"type": ["null", "int"]}, {"type": ["null", "int", "string"]}),
    "remove a branch from a union": ({"type": ["null", "int", "string"]}, {"type": ["null", "int"]}),
    "add a symbol to an enum without a default symbol": (
        {"type": ENUM},
        {"type": {**ENUM, "symbols": ["FREE", "PRO", "TEAM"]}},
    ),
    "add a symbol to an enum that had a default symbol before": (
        {"type": {**ENUM, "default": "FREE"}},
        {"type": {**ENUM, "default": "FREE", "symbols": ["FREE", "PRO", "TEAM"]}},
    ),
    "remove a symbol from an enum": ({"type": ENUM}, {"type": {**ENUM, "symbols": ["FREE"]}}),
    "rename a record, enum or fixed, with an alias": (
        {"type": ENUM},
        {"type": {**ENUM, "name": "P", "aliases": ["Plan"]}},
    ),
    "rename a record, enum or fixed, without an alias": ({"type": ENUM}, {"type": {**ENUM, "name": "P"}}),
    "move a type to another namespace": ({"type": ENUM}, {"type": {**ENUM, "namespace": "billing"}}),
    "change the size of a fixed": (
        {"type": {"type": "fixed", "name": "Key", "size": 16}},
        {"type": {"type": "fixed", "name": "Key", "size": 32}},
    ),
    "add, change or remove a logical type": (
        {"type": "long"},
        {"type": {"type": "long", "logicalType": "timestamp-millis"}},
    ),
}
_FIRST = {
    (Direction.BACKWARD, Direction.FORWARD): "either side",
    (Direction.BACKWARD,): "the consumers",
    (Direction.FORWARD,): "the producers",
    (): "both together, or a new topic",
}


def table() -> str:
    """Render each change with the levels that allow it, and the side that is upgraded first."""
    return markdown_table(["change", "`BACKWARD`", "`FORWARD`", "`FULL`", "upgrade first"], [*_rows()])


def _rows() -> Iterator[tuple[str, ...]]:
    for change, (before, after) in CHANGES.items():
        levels = tuple(levels_of(parse(_record(after)), parse(_record(before))))
        allowed = (Direction.BACKWARD in levels, Direction.FORWARD in levels, len(levels) > 1)
        yield change, *("yes" if each else "no" for each in allowed), _FIRST[levels]


def _record(field: dict[str, Any] | None) -> Any:
    fields = [] if field is None else [{"name": "field", **field}]
    return {"type": "record", "name": "Event", "fields": fields}
