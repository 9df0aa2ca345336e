"""Verdicts on pairs of schemas, by hand, by Apache Avro's Python library, and by reading random data."""

from __future__ import annotations

import pytest

from streamapp.compatibility.rules import Fault, Kind, faults_of
from streamapp.compatibility.validity import parse
from tests.support.schema_pairs import PAIRS, Pair, array, enum, fixed, mapped, node, of, record


def faults(old: object, new: object) -> list[tuple[str, Kind]]:
    """Return where and why consumers with the new schema cannot read events of the old one."""
    return [(fault.path, fault.kind) for fault in _faults(old, new)]


def _faults(old: object, new: object) -> list[Fault]:
    return [*faults_of(parse(new).root, parse(old).root)]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_the_verdict_is_that_of_the_rules(pair: Pair) -> None:
    """In both directions."""
    assert pair.backward == (not faults(pair.old, pair.new))
    assert pair.forward == (not faults(pair.new, pair.old))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (of(("device", "string")), of(("device", "int")), [("metadata.device", Kind.TYPE_MISMATCH)]),
        (of(), of(("os", "string")), [("metadata.os", Kind.READER_FIELD_MISSING_DEFAULT_VALUE)]),
        (record(("a", array("long"))), record(("a", array("int"))), [("a[]", Kind.TYPE_MISMATCH)]),
        (record(("a", mapped("long"))), record(("a", mapped("int"))), [("a{}", Kind.TYPE_MISMATCH)]),
        (
            record(("a", array(record(("b", "int"), name="I")))),
            record(("a", array(record(("b", "string"), name="I")))),
            [("a[].b", Kind.TYPE_MISMATCH)],
        ),
        (array("long"), array("int"), [("[]", Kind.TYPE_MISMATCH)]),
        (array(array("long")), array(array("int")), [("[][]", Kind.TYPE_MISMATCH)]),
        (
            record(("a", ["null", record(("b", "int"), name="A")])),
            record(("a", ["null", record(("b", "string"), name="A")])),
            [("a.b", Kind.TYPE_MISMATCH)],
        ),
        (record(("a", ["null", "int"])), record(("a", ["null", "string"])), [("a", Kind.MISSING_UNION_BRANCH)]),
        (record(("a", ["null", "int"])), record(("a", "int")), [("a", Kind.TYPE_MISMATCH)]),
        (record(name="A"), record(name="B"), [("", Kind.NAME_MISMATCH)]),
        (record(("e", enum("X", "Y"))), record(("e", enum("X"))), [("e", Kind.MISSING_ENUM_SYMBOLS)]),
        (record(("f", fixed(4))), record(("f", fixed(8))), [("f", Kind.FIXED_SIZE_MISMATCH)]),
        (node(("v", "long")), node(("v", "int")), [("v", Kind.TYPE_MISMATCH)]),
        (
            record(("a", "int"), ("c", "int")),
            record({"name": "b", "type": "int", "aliases": ["a", "c"]}),
            [("b", Kind.AMBIGUOUS_ALIAS)],
        ),
        (
            record(("m", record(("a", "long"), ("b", "long"), name="M"))),
            record(("m", record(("a", "int"), ("b", "int"), ("c", "int"), name="M"))),
            [
                ("m.a", Kind.TYPE_MISMATCH),
                ("m.b", Kind.TYPE_MISMATCH),
                ("m.c", Kind.READER_FIELD_MISSING_DEFAULT_VALUE),
            ],
        ),
        (
            record(("home", record(("zip", "long"), name="Address")), ("work", "Address")),
            record(("home", record(("zip", "int"), name="Address")), ("work", "Address")),
            [("home.zip", Kind.TYPE_MISMATCH), ("work.zip", Kind.TYPE_MISMATCH)],
        ),
    ],
)
def test_each_fault_has_its_path_and_its_kind(old: object, new: object, expected: list[tuple[str, Kind]]) -> None:
    """A type that is used at several places has its faults at each of them."""
    assert expected == faults(old, new)


def test_an_added_field_may_be_a_renamed_one() -> None:
    """A field of the same type that nothing reads any more."""
    [fault] = _faults(record(("os", "string"), ("size", "int")), record(("system", "string"), ("size", "int")))

    assert fault.names == ["os"]


def test_faults_of_shared_types_are_bounded() -> None:
    """Each level doubles the paths."""
    new, old = (
        record(
            ("a", record(("v", type_), name="L0")),
            *((f"f{n}", record((f"x{n}", f"L{n}"), (f"y{n}", f"L{n}"), name=f"L{n + 1}")) for n in range(30)),
        )
        for type_ in ("int", "long")
    )

    assert 500 == len(faults(old, new))
