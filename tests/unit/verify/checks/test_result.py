"""Counts and problems of a verification."""

from __future__ import annotations

import pytest

from streamapp.verify.checks import offsets
from streamapp.verify.checks.result import PartitionFates, Problem, VerificationResult


def test_a_result_lists_ranges_and_reasons() -> None:
    """Problems without a partition come last."""
    fates = PartitionFates(partition=3, records=4, stored=1)
    result = VerificationResult(partitions=[fates])
    assert (True, False) == (result.is_good, fates.is_complete)
    for offset in (7, 8, 9):
        fates.missing.add(offset)
    fates.differing.add(20, "browser differs")
    result.others.append(Problem("count", None, "", "is wrong"))
    assert (False, True) == (result.is_good, fates.is_complete)
    assert [
        "missing: partition 3, offset 7-9",
        "differing: partition 3, offset 20: browser differs",
        "count: is wrong",
    ] == [str(problem) for problem in result.problems()]
    assert (3, 1) == (result.totals()["missing"], result.totals()["differing"])


def test_a_problem_without_a_partition_says_so() -> None:
    """It is an offset of a partition that the topic does not have."""
    nowhere = PartitionFates(partition=None)
    nowhere.extra.add(5, "there is no partition 7")
    nowhere.extra.add(6)
    assert ["extra: there is no partition 7", "extra: in no partition, offset 6"] == [*map(str, nowhere.problems())]


def test_problems_without_an_offset_are_listed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those beyond the limit are counted."""
    monkeypatch.setattr(offsets, "MAX_NOTES", 2)
    nowhere = PartitionFates(partition=None)
    for id_ in ("a", "b", "c", "d"):
        nowhere.extra.add_without_offset(id_)
    nowhere.extra.add(5)
    assert ["extra: a", "extra: b", "extra: in no partition, offset 5", "extra: 2 more"] == [
        *map(str, nowhere.problems())
    ]


def test_every_offset_is_listed_or_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason splits a range; ranges beyond the limit are counted."""
    monkeypatch.setattr(offsets, "MAX_RANGES", 1)
    fates = PartitionFates(partition=0)
    for offset in range(100):
        fates.missing.add(offset, "a replay" if offset == 7 else "")
    for offset in (200, 300):
        fates.missing.add(offset)
    assert [
        "missing: partition 0, offset 7: a replay",
        "missing: partition 0, offset 0-6",
        "missing: partition 0, offset 8-99",
        "missing: partition 0, offset …: 2 more",
    ] == [str(problem) for problem in fates.problems()]
