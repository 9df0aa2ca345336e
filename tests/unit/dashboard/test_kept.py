"""Answers that are kept for some seconds."""

from __future__ import annotations

import pytest

from dashboard.data.kept import MOST, Kept


def test_an_answer_is_read_again_after_some_seconds() -> None:
    """For each question once."""
    clock, read = [0.0], list[str]()
    kept = Kept[str, int](2.0, monotonic=lambda: clock[0])

    def ask(question: str) -> int:
        return kept.get(question, lambda: read.append(question) or len(read))

    assert [1, 1, 2] == [ask("a"), ask("a"), ask("b")]
    clock[0] = 2.0
    assert [3, 3] == [ask("a"), ask("a")]


def test_the_oldest_answers_are_dropped() -> None:
    """Only so many are kept."""
    kept = Kept[int, int](2.0, monotonic=lambda: 0.0)
    for number in range(MOST + 1):
        kept.get(number, lambda n=number: n)

    assert [MOST, -1] == [kept.get(number, lambda: -1) for number in (MOST, 0)]


def test_an_error_is_not_kept() -> None:
    """The next question is asked again."""
    kept = Kept[str, int](2.0)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)

    assert 7 == kept.get("a", lambda: 7)
