"""The counts in `dead_letters` beside what the topic has; whatever stands in them, nothing is raised."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from bson import ObjectId

from streamapp.verify.checks import counts

KEY = "empty:0"


def told(*documents: dict[str, Any], least: int = 2, most: int = 3) -> list[str]:
    """Return what is wrong with them, where `offsets` named "other" are of another topic."""

    def may_count_others(offsets: Iterable[str]) -> bool:
        return "other" in offsets

    found = counts.wrong(documents, least={KEY: least}, most={KEY: most}, may_count_others=may_count_others)
    return [str(problem) for problem in found]


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ({"_id": KEY, "n": 2}, []),
        ({"_id": KEY, "n": 3, "offsets": {}}, []),
        ({"_id": KEY, "n": 9, "offsets": {"other": 1}}, []),
        ({"_id": KEY, "n": 1}, [f"count: dead_letters {KEY} counts 1, and the topic has 2"]),
        ({"_id": KEY, "n": 4}, [f"count: dead_letters {KEY} counts 4, and the topic has 3"]),
    ],
)
def test_a_count_lies_between_what_must_and_what_may_be_counted(document: dict[str, Any], wrong: list[str]) -> None:
    """Unless other topics are counted with it."""
    assert wrong == told(document)


def test_a_name_is_shown_without_what_moves_a_cursor() -> None:
    """Whoever can write to MongoDB could write to the terminal."""
    (first, _) = told({"_id": "\x1b[2Jempty:0", "n": 2})

    assert r"count: dead_letters \x1b[2Jempty:0 counts 2, and the topic has 0" == first.replace("'", "")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"_id": ObjectId("0" * 24)}, "ObjectId('000000000000000000000000') is none of ours: its _id is no text"),
        ({"_id": {"a": 1}}, "{'a': 1} is none of ours: its _id is no text"),
        ({"n": "many"}, "'empty:0' is none of ours: its n is no whole number"),
        ({"n": None}, "'empty:0' is none of ours: its n is no whole number"),
        ({"n": float("nan")}, "'empty:0' is none of ours: its n is no whole number"),
        ({"n": -1}, "'empty:0' is none of ours: its n is no whole number"),
        ({"offsets": "x"}, "'empty:0' is none of ours: its offsets have no names"),
    ],
)
def test_what_no_worker_writes_is_told(changes: dict[str, Any], why: str) -> None:
    """And counts nothing."""
    first, second = told({"_id": KEY, "n": 2, **changes})

    assert f"count: dead_letters {why}" == first
    assert f"count: dead_letters {KEY} counts 0, and the topic has 2" == second
