"""Pairs of schemas, with the verdict of Apache Avro's rules: what readers of one schema can read of the other.

Written by hand from the Avro specification 1.12 ("Schema Resolution", "Aliases") and from `SchemaCompatibility` of Avro
1.12 for Java. `tests/integration/test_schema_verdicts.py` asks the registry of the local backend for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Pair(NamedTuple):
    """A change of a schema, and the strictest level that allows it."""

    name: str
    old: Any
    new: Any
    #: FULL, BACKWARD, FORWARD or NONE.
    level: str

    @property
    def backward(self) -> bool:
        """Whether new consumers can read old events."""
        return self.level in {"BACKWARD", "FULL"}

    @property
    def forward(self) -> bool:
        """Whether old consumers can read new events."""
        return self.level in {"FORWARD", "FULL"}


def record(*fields: Any, name: str = "R", **attributes: Any) -> Any:
    """Return a record; a field is (name, type), (name, type, default) or an object."""
    return {"type": "record", "name": name, "fields": [a_field(each) for each in fields], **attributes}


def a_field(given: Any) -> Any:
    """Return the JSON form of a field."""
    if isinstance(given, dict):
        return given
    name, type_, *default = given
    return {"name": name, "type": type_, **({"default": default[0]} if default else {})}


def enum(*symbols: str, name: str = "E", **attributes: Any) -> Any:
    """Return an enum."""
    return {"type": "enum", "name": name, "symbols": [*symbols], **attributes}


def fixed(size: int, name: str = "F", **attributes: Any) -> Any:
    """Return a fixed."""
    return {"type": "fixed", "name": name, "size": size, **attributes}


def array(items: Any) -> Any:
    """Return an array."""
    return {"type": "array", "items": items}


def mapped(values: Any) -> Any:
    """Return a map."""
    return {"type": "map", "values": values}


def logical(type_: str, name: str, **attributes: Any) -> Any:
    """Return a type with a logical type."""
    return {"type": type_, "logicalType": name, **attributes}


def node(*fields: Any, name: str = "Node") -> Any:
    """Return a linked list."""
    return record(*fields, ("next", ["null", name], None), name=name)


def of(*fields: Any, **attributes: Any) -> Any:
    """Return a record with a nested record under `metadata`."""
    return record(("id", "long"), ("metadata", record(*fields, name="Metadata", **attributes)))


TEXT = ("a", "string")
PROMOTED = {
    ("int", "long"),
    ("int", "float"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
    ("string", "bytes"),
    ("bytes", "string"),
}
PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


def primitives() -> Iterator[Pair]:
    """Each change of one primitive type into another."""
    levels = {(True, True): "FULL", (True, False): "BACKWARD", (False, True): "FORWARD", (False, False): "NONE"}
    for at, old in enumerate(PRIMITIVES):
        for new in PRIMITIVES[at:]:
            backward, forward = ((a, b) in PROMOTED or a == b for a, b in ((old, new), (new, old)))
            yield Pair(
                f"a field from {old} to {new}", record(("a", old)), record(("a", new)), levels[backward, forward]
            )


FIELDS = [
    Pair("no change", record(TEXT), record(TEXT), "FULL"),
    Pair("a field added without a default", record(TEXT), record(TEXT, ("b", "int")), "FORWARD"),
    Pair("a field added with a default", record(TEXT), record(TEXT, ("b", "int", 1)), "FULL"),
    Pair("a field added with the default null", record(TEXT), record(TEXT, ("b", ["null", "int"], None)), "FULL"),
    Pair("a nullable field added without a default", record(TEXT), record(TEXT, ("b", ["null", "int"])), "FORWARD"),
    Pair("a field removed that has no default", record(TEXT, ("b", "int")), record(TEXT), "BACKWARD"),
    Pair("a field removed that has a default", record(TEXT, ("b", "int", 1)), record(TEXT), "FULL"),
    Pair("the fields in another order", record(TEXT, ("b", "int")), record(("b", "int"), TEXT), "FULL"),
    Pair("a default added", record(("a", "int")), record(("a", "int", 1)), "FULL"),
    Pair("a default removed", record(("a", "int", 1)), record(("a", "int")), "FULL"),
    Pair("a default changed", record(("a", "int", 1)), record(("a", "int", 2)), "FULL"),
    Pair("a field renamed without an alias", record(("a", "int")), record(("b", "int")), "NONE"),
    Pair(
        "a field renamed with an alias",
        record(("a", "int")),
        record({"name": "b", "type": "int", "aliases": ["a"]}),
        "BACKWARD",
    ),
    Pair(
        "a field renamed with an alias, and a default before",
        record(("a", "int", 0)),
        record({"name": "b", "type": "int", "aliases": ["a"]}),
        "FULL",
    ),
    Pair(
        "a field renamed and widened",
        record(("a", "int")),
        record({"name": "b", "type": "long", "aliases": ["a"]}),
        "BACKWARD",
    ),
    Pair(
        "a field renamed and narrowed",
        record(("a", "long")),
        record({"name": "b", "type": "int", "aliases": ["a"]}),
        "NONE",
    ),
    Pair(
        "an alias of a field that never was",
        record(("a", "int")),
        record(("a", "int"), {"name": "b", "type": "int", "aliases": ["c"]}),
        "FORWARD",
    ),
    Pair(
        "a second alias that fits",
        record(("a", "int")),
        record({"name": "b", "type": "int", "aliases": ["z", "a"]}),
        "BACKWARD",
    ),
    Pair("names that differ in case", record(("a", "int")), record(("A", "int")), "NONE"),
    Pair("a doc changed", record(TEXT), record(TEXT, doc="Other words."), "FULL"),
    Pair("an order changed", record(TEXT), record({"name": "a", "type": "string", "order": "ignore"}), "FULL"),
    Pair("a property added", record(TEXT), record(TEXT, owner="team"), "FULL"),
    Pair("no fields left", record(TEXT), record(), "BACKWARD"),
    Pair(
        "an enum field added that has only the default of its enum",
        record(TEXT),
        record(TEXT, ("b", enum("X", "Y", default="X"))),
        "FORWARD",
    ),
    Pair("a record becomes a string", record(TEXT), "string", "NONE"),
]

NAMES = [
    Pair("a record renamed without an alias", record(TEXT), record(TEXT, name="S"), "NONE"),
    Pair("a record renamed with an alias", record(TEXT), record(TEXT, name="S", aliases=["R"]), "BACKWARD"),
    Pair("a record moved to a namespace", record(TEXT), record(TEXT, namespace="x"), "FULL"),
    Pair("another namespace", record(TEXT, namespace="x"), record(TEXT, namespace="y"), "FULL"),
    Pair(
        "an alias within the namespace",
        record(TEXT, namespace="x"),
        record(TEXT, name="S", namespace="x", aliases=["R"]),
        "BACKWARD",
    ),
    Pair(
        "an alias without the namespace of the old name",
        record(TEXT, namespace="x"),
        record(TEXT, name="S", namespace="y", aliases=["R"]),
        "NONE",
    ),
    Pair(
        "an alias with the namespace of the old name",
        record(TEXT, namespace="x"),
        record(TEXT, name="S", namespace="y", aliases=["x.R"]),
        "BACKWARD",
    ),
    Pair(
        "an alias with a namespace that the old name does not have",
        record(TEXT),
        record(TEXT, name="S", namespace="x", aliases=["R"]),
        "NONE",
    ),
    Pair("a full name instead of a namespace", record(TEXT, namespace="x"), record(TEXT, name="x.R"), "FULL"),
    Pair("a nested record renamed", of(TEXT), record(("id", "long"), ("metadata", record(TEXT, name="M"))), "NONE"),
    Pair(
        "a nested record with an alias",
        of(TEXT),
        record(("id", "long"), ("metadata", record(TEXT, name="M", aliases=["Metadata"]))),
        "BACKWARD",
    ),
    Pair("an enum renamed", record(("e", enum("X"))), record(("e", enum("X", name="G"))), "NONE"),
    Pair(
        "an enum with an alias",
        record(("e", enum("X"))),
        record(("e", enum("X", name="G", aliases=["E"]))),
        "BACKWARD",
    ),
    Pair("a fixed renamed", record(("f", fixed(4))), record(("f", fixed(4, name="G"))), "NONE"),
    Pair(
        "a fixed with an alias",
        record(("f", fixed(4))),
        record(("f", fixed(4, name="G", aliases=["E", "F"]))),
        "BACKWARD",
    ),
]

ENUMS = [
    Pair("a symbol added", record(("e", enum("X"))), record(("e", enum("X", "Y"))), "BACKWARD"),
    Pair("a symbol removed", record(("e", enum("X", "Y"))), record(("e", enum("X"))), "FORWARD"),
    Pair("symbols in another order", record(("e", enum("X", "Y"))), record(("e", enum("Y", "X"))), "FULL"),
    Pair(
        "a symbol added, both with a default symbol",
        record(("e", enum("X", default="X"))),
        record(("e", enum("X", "Y", default="X"))),
        "FULL",
    ),
    Pair(
        "a symbol removed, the new enum with a default symbol",
        record(("e", enum("X", "Y"))),
        record(("e", enum("X", default="X"))),
        "FULL",
    ),
    Pair(
        "a symbol added, only the new enum with a default symbol",
        record(("e", enum("X"))),
        record(("e", enum("X", "Y", default="X"))),
        "BACKWARD",
    ),
    Pair(
        "a symbol removed, only the field with a default",
        record(("e", enum("X", "Y"))),
        record(("e", enum("X"), "X")),
        "FORWARD",
    ),
    Pair("an enum becomes a string", record(("e", enum("X"))), record(("e", "string")), "NONE"),
    Pair("an enum at the root with fewer symbols", enum("X", "Y"), enum("X"), "FORWARD"),
]

UNIONS = [
    Pair("a field becomes nullable", record(TEXT), record(("a", ["null", "string"])), "BACKWARD"),
    Pair("a field is not nullable any more", record(("a", ["null", "string"])), record(TEXT), "FORWARD"),
    Pair("branches in another order", record(("a", ["null", "string"])), record(("a", ["string", "null"])), "FULL"),
    Pair("a branch added", record(("a", ["null", "int"])), record(("a", ["null", "int", "string"])), "BACKWARD"),
    Pair("a branch removed", record(("a", ["null", "int", "string"])), record(("a", ["null", "int"])), "FORWARD"),
    Pair("a branch widened", record(("a", ["null", "int"])), record(("a", ["null", "long"])), "BACKWARD"),
    Pair("a field becomes a union that widens it", record(("a", "int")), record(("a", ["null", "double"])), "BACKWARD"),
    Pair("a field becomes a union of other types", record(("a", "int")), record(("a", ["null", "boolean"])), "NONE"),
    Pair("a union of one branch", record(TEXT), record(("a", ["string"])), "FULL"),
    Pair("a union becomes its widest type", record(("a", ["int", "long"])), record(("a", "double")), "BACKWARD"),
    Pair(
        "a union of string and bytes becomes bytes",
        record(("a", ["string", "bytes"])),
        record(("a", "bytes")),
        "FULL",
    ),
    Pair(
        "a record in a union gets a field without a default",
        record(("a", ["null", record(TEXT, name="A")])),
        record(("a", ["null", record(TEXT, ("b", "int"), name="A")])),
        "FORWARD",
    ),
    Pair(
        "a record in a union is renamed",
        record(("a", ["null", record(TEXT, name="A")])),
        record(("a", ["null", record(TEXT, name="B")])),
        "NONE",
    ),
    Pair(
        "a record in a union is renamed with an alias",
        record(("a", ["null", record(TEXT, name="A")])),
        record(("a", ["null", record(TEXT, name="B", aliases=["A"])])),
        "BACKWARD",
    ),
    Pair(
        "another record can read it",
        record(("a", [record(TEXT, name="A"), "null"])),
        record(("a", [record(("b", "int"), name="A", namespace="x"), record(TEXT, name="A"), "null"])),
        "BACKWARD",
    ),
    Pair("a union at the root gets a branch", ["null", "string"], ["null", "string", "int"], "BACKWARD"),
    Pair(
        "the branches of a union swap their types",
        record(("a", ["int", "string"])),
        record(("a", ["bytes", "long"])),
        "BACKWARD",
    ),
    Pair(
        "a union of records loses one",
        [record(TEXT, name="A"), record(TEXT, name="B")],
        [record(TEXT, name="A")],
        "FORWARD",
    ),
    Pair(
        "a union of records becomes a record",
        [record(TEXT, name="A"), record(TEXT, name="B")],
        record(TEXT, name="A"),
        "FORWARD",
    ),
]

NESTED = [
    Pair("a nested field added without a default", of(TEXT), of(TEXT, ("os", "string")), "FORWARD"),
    Pair("a nested field added with a default", of(TEXT), of(TEXT, ("os", "string", "")), "FULL"),
    Pair("a nested field narrowed", of(("size", "long")), of(("size", "int")), "FORWARD"),
    Pair(
        "a nested record added with a default",
        record(TEXT),
        record(TEXT, ("b", record(("c", "int"), name="B"), {"c": 1})),
        "FULL",
    ),
    Pair("a nested record becomes a map", of(TEXT), record(("id", "long"), ("metadata", mapped("string"))), "NONE"),
    Pair("items widened", record(("a", array("int"))), record(("a", array("long"))), "BACKWARD"),
    Pair("items narrowed", record(("a", array("long"))), record(("a", array("int"))), "FORWARD"),
    Pair("values widened", record(("a", mapped("int"))), record(("a", mapped("double"))), "BACKWARD"),
    Pair("values become nullable", record(("a", mapped("int"))), record(("a", mapped(["null", "int"]))), "BACKWARD"),
    Pair("an array becomes a map", record(("a", array("int"))), record(("a", mapped("int"))), "NONE"),
    Pair("an array becomes its item", record(("a", array("int"))), record(("a", "int")), "NONE"),
    Pair(
        "a field added to the items",
        record(("a", array(record(TEXT, name="I")))),
        record(("a", array(record(TEXT, ("b", "int"), name="I")))),
        "FORWARD",
    ),
    Pair(
        "an array of arrays widened",
        record(("a", array(array("int")))),
        record(("a", array(array("long")))),
        "BACKWARD",
    ),
    Pair("bytes of another size", record(("f", fixed(4))), record(("f", fixed(8))), "NONE"),
    Pair("a fixed becomes bytes", record(("f", fixed(4))), record(("f", "bytes")), "NONE"),
]

RECURSIVE = [
    Pair("a list as before", node(("v", "int")), node(("v", "int")), "FULL"),
    Pair("a list with wider values", node(("v", "int")), node(("v", "long")), "BACKWARD"),
    Pair("a list with a field more", node(("v", "int")), node(("v", "int"), ("w", "int")), "FORWARD"),
    Pair("a list with a default field more", node(("v", "int")), node(("v", "int"), ("w", "int", 0)), "FULL"),
    Pair(
        "a list becomes a tree",
        node(("v", "int")),
        record(("v", "int"), ("next", ["null", "Node"], None), ("left", ["null", "Node"], None), name="Node"),
        "FULL",
    ),
    Pair(
        "records that contain each other, with a narrowed field",
        record(("b", record(("a", ["null", "A"], None), ("v", "long"), name="B")), name="A"),
        record(("b", record(("a", ["null", "A"], None), ("v", "int"), name="B")), name="A"),
        "FORWARD",
    ),
]

LOGICAL = [
    Pair(
        "a timestamp instead of a long",
        record(("t", "long")),
        record(("t", logical("long", "timestamp-millis"))),
        "FULL",
    ),
    Pair(
        "microseconds instead of milliseconds",
        record(("t", logical("long", "timestamp-millis"))),
        record(("t", logical("long", "timestamp-micros"))),
        "FULL",
    ),
    Pair(
        "a date becomes a timestamp",
        record(("t", logical("int", "date"))),
        record(("t", logical("long", "timestamp-millis"))),
        "BACKWARD",
    ),
    Pair(
        "a decimal of another scale",
        record(("d", logical("bytes", "decimal", precision=8, scale=2))),
        record(("d", logical("bytes", "decimal", precision=8, scale=3))),
        "FULL",
    ),
    Pair(
        "a decimal of another precision",
        record(("d", logical("bytes", "decimal", precision=8, scale=2))),
        record(("d", logical("bytes", "decimal", precision=10, scale=2))),
        "FULL",
    ),
    Pair("a uuid becomes a string", record(("u", logical("string", "uuid"))), record(("u", "string")), "FULL"),
    Pair("an unknown logical type", record(("u", "string")), record(("u", logical("string", "postcode"))), "FULL"),
    Pair(
        "a decimal becomes a string",
        record(("d", logical("bytes", "decimal", precision=8, scale=2))),
        record(("d", "string")),
        "FULL",
    ),
]

PAIRS = [*primitives(), *FIELDS, *NAMES, *ENUMS, *UNIONS, *NESTED, *RECURSIVE, *LOGICAL]
