"""Which schemas are usable, and what the message names if one is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamapp.compatibility.json_form import UnusableSchemaError, from_text
from streamapp.compatibility.schema import ParsedSchema
from streamapp.compatibility.validity import MAX_NESTING, parse
from tests.support.schema_pairs import PAIRS, TEXT, array, enum, fixed, logical, mapped, record
from tests.support.unusable_schemas import UNUSABLE, Unusable

#: What only the specification refuses, so that a registry may have it.
TOLERATED = {
    "a default of an enum that is no symbol",
    "a default of a fixed of another size",
    "a default of bytes beyond U+00FF",
    "a text as a default of double",
    "a name before its definition",
    "a definition repeated word by word",
    "letters outside ASCII",
    "a primitive type in a namespace",
    "an order in capital letters",
}


def usable(schema: Any) -> ParsedSchema:
    """Parse a schema as a file has it."""
    return parse(from_text(json.dumps(schema)))


@pytest.mark.parametrize("case", UNUSABLE, ids=lambda case: case.name)
def test_an_illegal_schema_is_refused_with_the_place_and_the_reason(case: Unusable) -> None:
    """The message names the fault."""
    with pytest.raises(UnusableSchemaError) as error:
        parse(from_text(case.text))

    assert case.message in str(error.value)


@pytest.mark.parametrize("name", sorted(TOLERATED))
def test_a_fault_that_only_the_specification_forbids_is_a_note_in_a_registered_schema(name: str) -> None:
    """Records are written with it, and Java reads them."""
    [case] = [case for case in UNUSABLE if case.name == name]

    assert case.registry_accepts
    assert any(case.message in note for note in parse(from_text(case.text), is_registered=True).notes)


def test_a_registered_schema_may_use_a_name_twice_before_its_definition() -> None:
    """Both uses stand for the definition."""
    schema = record(("a", ["null", "B"]), ("b", array("B")), ("c", record(TEXT, name="B")))
    a, b, c = parse(schema, is_registered=True).root.fields

    assert ["B", "B", "B"] == [a.type.parts[1].name, b.type.parts[0].name, c.type.name]
    assert ["a", "a", "a"] == [each.fields[0].name for each in (a.type.parts[1], b.type.parts[0], c.type)]


def test_other_faults_are_refused_in_a_registered_schema_too() -> None:
    """A registry that checks nothing may have it."""
    with pytest.raises(UnusableSchemaError, match="defined twice"):
        parse(record(("a", record(TEXT, name="B")), ("b", record(name="B"))), is_registered=True)


@pytest.mark.parametrize(
    "schema",
    [
        *(schema for pair in PAIRS for schema in (pair.old, pair.new)),
        "string",
        {"type": "string"},
        ["null", "string"],
        array("int"),
        enum(),
        fixed(0),
        {"type": "error", "name": "R", "fields": []},
        record(("a", "float", 1)),
        record(("a", array("int"), [])),
        record(("a", mapped("int"), {})),
        record(("a", record(TEXT, name="B"), {"a": "x", "more": 1})),
        record(("a", record(("b", "int", 1), name="B"), {})),
        record(("a", fixed(2), "\u00ff\u0000")),
        record(("a", enum("X"), "X")),
        record(TEXT, namespace=None),
        record(TEXT, namespace=""),
        record(TEXT, name=".R"),
        record({"name": "a", "type": "int", "aliases": ["b-c"]}),
        record(TEXT, doc=1),
        record(("a", "R")),
        record(("a", record(TEXT, name="B", namespace="")), ("b", "B"), namespace="x"),
        record(("a", record(TEXT, name="B")), ("b", "x.B"), namespace="x"),
        record(("a", "int"), name="record"),
        logical("bytes", "decimal", precision=2, scale=4),
    ],
    ids=lambda schema: json.dumps(schema)[:60],
)
def test_a_legal_schema_is_usable(schema: Any) -> None:
    """Nothing is refused that the specification allows."""
    assert usable(schema)


def test_a_default_of_a_later_branch_is_noted() -> None:
    """The specification allows it since 1.12."""
    assert (
        "a: the default null does not fit the first branch" in usable(record(("a", ["string", "null"], None))).notes[0]
    )


def test_a_logical_type_on_a_field_is_noted() -> None:
    """It belongs to the type, and has no effect there."""
    field = {"name": "t", "type": "long", "logicalType": "timestamp-millis"}

    assert "t: the logicalType of a field has no effect" in usable(record(field)).notes[0]


def test_an_alias_that_is_the_name_of_a_field_is_noted() -> None:
    """Libraries differ in which field gets the value."""
    notes = usable(record(("a", "int"), {"name": "b", "type": "int", "aliases": ["a"]})).notes

    assert 'b: the alias "a" is also the name of a field' in notes[0]


def test_a_name_is_found_in_its_namespace() -> None:
    """Of two types with the same short name, that of the namespace."""
    inner = record(("c", fixed(2, "F")), ("d", "F"), name="B", namespace="y")
    root = usable(record(("a", fixed(1, "F")), ("b", inner), ("e", "F"), namespace="x")).root
    first, second, third = root.fields

    assert [each.type.size for each in (first, *second.type.fields, third)] == [1, 2, 2, 1]


def test_a_schema_is_refused_if_it_is_nested_too_deeply() -> None:
    """The message says the limit; JSON beyond Python's stack has a message too."""
    deep: Any = "int"
    for _ in range(MAX_NESTING):
        deep = array(deep)

    assert usable(deep)
    with pytest.raises(UnusableSchemaError, match=f"nested more than {MAX_NESTING} deep"):
        usable(array(deep))
    with pytest.raises(UnusableSchemaError, match="nested too deeply"):
        from_text("[" * 100_000)


def test_a_number_beyond_the_limits_of_python_is_not_json() -> None:
    """Python refuses to read integers of more than 4,300 digits."""
    with pytest.raises(UnusableSchemaError, match="is not JSON"):
        from_text("1" * 5_000)


def test_a_schema_with_references_is_read_with_them() -> None:
    """The definitions come first, each after those that it refers to."""
    root = parse(record(("b", "B")), definitions=[record(TEXT, name="A"), record(("a", "A"), name="B")]).root

    assert root.fields[0].type.fields[0].type.fields[0].name == "a"
