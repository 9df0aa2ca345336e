"""The counts in the collection `dead_letters` compared with the topic; malformed documents raise no error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from bson import ObjectId

from streamapp.verify.checks import counts

KEY = "empty:0"


def problems_of(*documents: dict[str, Any], least: int = 2, most: int = 3) -> list[str]:
    """Return the problems of these documents; the key "other" in `offsets` is of another topic."""

    def may_count_others(offsets: Iterable[str]) -> bool:
        return "other" in offsets

    found = counts.count_problems(documents, least={KEY: least}, most={KEY: most}, may_count_others=may_count_others)
    return [str(problem) for problem in found]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"_id": KEY, "n": 2}, []),
        ({"_id": KEY, "n": 3, "offsets": {}}, []),
        ({"_id": KEY, "n": 9, "offsets": {"other": 1}}, []),
        ({"_id": KEY, "n": 1}, [f"count: dead_letters {KEY} counts 1 events, but the topic has 2"]),
        ({"_id": KEY, "n": 4}, [f"count: dead_letters {KEY} counts 4 events, but the topic has 3"]),
    ],
)
def test_a_count_outside_its_bounds_is_a_problem(document: dict[str, Any], expected: list[str]) -> None:
    """A count that includes other topics has no upper bound."""
    assert expected == problems_of(document)


def test_terminal_escape_sequences_are_escaped() -> None:
    """Any MongoDB client can put them into an `_id`."""
    (first, _) = problems_of({"_id": "\x1b[2Jempty:0", "n": 2})

    assert r"count: dead_letters \x1b[2Jempty:0 counts 2 events, but the topic has 0" == first.replace("'", "")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"_id": ObjectId("0" * 24)},
            "ObjectId('000000000000000000000000') was not written by streamapp: _id is not a string",
        ),
        ({"_id": {"a": 1}}, "{'a': 1} was not written by streamapp: _id is not a string"),
        ({"n": "many"}, "'empty:0' was not written by streamapp: n is not a non-negative integer"),
        ({"n": None}, "'empty:0' was not written by streamapp: n is not a non-negative integer"),
        ({"n": float("nan")}, "'empty:0' was not written by streamapp: n is not a non-negative integer"),
        ({"n": -1}, "'empty:0' was not written by streamapp: n is not a non-negative integer"),
        ({"offsets": "x"}, "'empty:0' was not written by streamapp: offsets is not a document"),
    ],
)
def test_a_malformed_document_is_a_problem(changes: dict[str, Any], why: str) -> None:
    """Its count is ignored."""
    first, second = problems_of({"_id": KEY, "n": 2, **changes})

    assert f"count: dead_letters {why}" == first
    assert f"count: dead_letters {KEY} counts 0 events, but the topic has 2" == second
