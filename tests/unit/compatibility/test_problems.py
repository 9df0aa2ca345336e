"""What a problem says: why, against which schema, what to do, and who goes first."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.compatibility.check import check
from streamapp.compatibility.modes import Mode, first_to_upgrade
from streamapp.compatibility.problems import Problem
from streamapp.compatibility.validity import parse
from tests.support.schema_pairs import PAIRS, TEXT, Pair, enum, fixed, logical, of, record


def problems(new: Any, *earlier: Any, mode: str = "BACKWARD") -> list[Problem]:
    """Return the problems of a new schema; the first earlier one is the latest."""
    return [*check(parse(new), [parse(each) for each in earlier], Mode(mode)).problems]


def notes(new: Any, *earlier: Any) -> list[str]:
    """Return the notes on a new schema."""
    return [*check(parse(new), [parse(each) for each in earlier], Mode.BACKWARD).notes]


A = record(TEXT)
WITH_B = record(TEXT, ("b", "int"))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_level_is_made_of_its_directions(pair: Pair) -> None:
    """FULL wants both, and NONE nothing."""
    verdicts = {mode: not problems(pair.new, pair.old, mode=mode) for mode in Mode}

    assert (pair.backward, pair.forward) == (verdicts["BACKWARD"], verdicts["FORWARD"])
    assert verdicts["FULL"] == (pair.backward and pair.forward)
    assert verdicts["NONE"]


@pytest.mark.parametrize(
    ("old", "new", "mode", "message", "remedy"),
    [
        (A, WITH_B, "BACKWARD", "b of the new schema has no default", "Give b a default"),
        (WITH_B, A, "FORWARD", "b of the old schema has no default", "Keep b in the new schema"),
        (record(("a", "int")), record(("b", "int")), "BACKWARD", "has no default", 'the alias "a"'),
        (record(("a", "int")), record(("b", "int")), "FORWARD", "has no default", "Keep a, also if b replaces it"),
        (record(("a", "long")), record(("a", "int")), "BACKWARD", "long does not read as int", "change it to float or"),
        (record(("a", "int")), record(("a", "long")), "FORWARD", "long does not read as int", "Keep int."),
        (record(("a", "long")), record(("a", "double")), "FORWARD", "double does not read", "change it to int"),
        (record(("a", ["null", "int"])), record(("a", "int")), "BACKWARD", "null does not read", "[null, int]"),
        (A, record(TEXT, name="S"), "BACKWARD", "record S has no alias for R", '"aliases": ["R"]'),
        (A, record(TEXT, name="S"), "FORWARD", "record R has no alias for S", "Keep the name R"),
        (enum("X", "Y"), enum("X"), "BACKWARD", "enum E lacks Y", "Keep Y, or give the enum"),
        (enum("X"), enum("X", "Y"), "FORWARD", "enum E lacks Y", "first give the enum a default symbol"),
        (fixed(4), fixed(8), "BACKWARD", "has 4 bytes in the old schema and 8 in the new", "Keep 4 bytes"),
        (fixed(4), fixed(8), "FORWARD", "has 4 bytes in the old schema and 8 in the new", "Keep 4 bytes"),
        (["int", "string"], ["int"], "BACKWARD", "no branch that reads string", "Keep string as a branch"),
        (["int"], ["int", "string"], "FORWARD", "no branch that reads string", "Do not write string yet"),
        (
            record(("a", "int"), ("b", "int")),
            record({"name": "c", "type": "int", "aliases": ["a", "b"]}),
            "BACKWARD",
            "c stands for several fields, a and b",
            "aliases of all but one",
        ),
        (
            record({"name": "c", "type": "int", "aliases": ["a", "b"]}),
            record(("a", "int"), ("b", "int")),
            "FORWARD",
            "c stands for several fields, a and b",
            "Keep one of these fields",
        ),
        (
            A,
            record(TEXT, ("e", enum("X", default="X"))),
            "BACKWARD",
            "the default of its enum does not count",
            "Give e",
        ),
    ],
)
def test_a_problem_says_why_and_what_to_do(old: Any, new: Any, mode: str, message: str, remedy: str) -> None:
    """In one sentence, and from the side of the schema that can still be changed."""
    [problem] = problems(new, old, mode=mode)

    assert message in problem.message
    assert remedy in problem.remedy
    assert problem.message.count(". ") == 0


@pytest.mark.parametrize(
    ("mode", "order"),
    [("BACKWARD", "the consumers first"), ("FORWARD", "the producers first"), ("FULL", "either side")],
)
def test_a_problem_says_who_goes_first(mode: str, order: str) -> None:
    """Once the remedy is applied."""
    assert all(order in each.remedy for each in problems(record(("b", "int")), A, mode=mode))
    assert first_to_upgrade(Mode(mode)) == first_to_upgrade(Mode(f"{mode}_TRANSITIVE"))


def test_only_transitive_levels_look_at_all_schemas() -> None:
    """`against` is the index of the schema that the problem is with; the first is the latest."""
    latest, oldest = record(TEXT, ("b", "int", 1)), A
    new = record(TEXT, ("b", "int"))

    assert [] == problems(new, latest, oldest)
    assert [1] == [each.against for each in problems(new, latest, oldest, mode="BACKWARD_TRANSITIVE")]
    assert [0] == [each.against for each in problems(new, oldest, latest)]
    assert [0] == [each.against for each in problems(new, oldest, latest, mode="BACKWARD_TRANSITIVE")]


def test_the_path_is_that_of_the_field() -> None:
    """Nested fields are separated by dots."""
    assert "metadata.device" == problems(of(("device", "int")), of(("device", "string")))[0].path


def test_decimals_of_another_scale_are_noted() -> None:
    """The specification wants them equal; Java and the registries ignore it."""
    old, new = (record(("d", logical("bytes", "decimal", precision=8, scale=scale))) for scale in (2, 3))
    expected = "d: the logical type changes from decimal(8, 2) to decimal(8, 3). The specification wants"

    assert [] == problems(new, old)
    assert notes(new, old)[0].startswith(expected)
    assert [] == notes(old, old)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (record(("t", "long")), record(("t", logical("long", "timestamp-millis"))), "t"),
        (
            record(("t", ["null", logical("long", "timestamp-millis")])),
            record(("t", ["null", logical("long", "timestamp-micros")])),
            "t",
        ),
        (of(("t", "long")), of(("t", logical("long", "timestamp-millis"))), "metadata.t"),
        (logical("int", "date"), "int", "the whole schema"),
    ],
)
def test_another_logical_type_is_noted(old: Any, new: Any, path: str) -> None:
    """The same bytes have another meaning."""
    assert notes(new, old)[0].startswith(f"{path}: the logical type changes from ")
