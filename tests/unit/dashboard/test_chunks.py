"""Answers of chunks are kept for as long as the chunks are the same."""

from __future__ import annotations

from datetime import UTC, datetime

from dashboard.data.chunks import LEAST_SECONDS, MOST_KEPT, MOST_SECONDS, KeptAnswers, stamps_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROLLUP = {"_id": "a:0:60000", "bucket": NOON, "n": 3, "offset": 7, "apart": 0}


def test_a_chunk_is_the_same_while_its_rollups_have_the_same_numbers() -> None:
    """Their order does not matter; other questions have other answers."""
    kept, other = KeptAnswers[str](), {**ROLLUP, "_id": "a:1:60000"}
    kept.keep("total", stamps_of([ROLLUP, other]), "5 events")

    assert kept.get("total", stamps_of([other, ROLLUP])) == "5 events"
    assert kept.get("users", stamps_of([ROLLUP, other])) is None
    for changed in ({"n": 4}, {"offset": 8}, {"apart": 1}):
        assert kept.get("total", stamps_of([{**ROLLUP, **changed}, other])) is None
    assert kept.get("total", stamps_of([ROLLUP])) is None


def test_only_the_last_answer_of_a_chunk_is_kept() -> None:
    """A bucket that still fills changes at each refresh."""
    kept = KeptAnswers[int]()
    for n in (3, 4):
        kept.keep("total", stamps_of([{**ROLLUP, "n": n}]), n)

    assert [None, 4] == [kept.get("total", stamps_of([{**ROLLUP, "n": n}])) for n in (3, 4)]


def test_answers_are_kept_for_a_limited_time() -> None:
    """Not all of them for the same time."""
    seconds = [0.0]
    kept = KeptAnswers[int](lambda: seconds[-1])
    stamps = [stamps_of([{**ROLLUP, "_id": f"a:0:{n}"}]) for n in range(200)]
    for each in stamps:
        kept.keep("total", each, 1)

    def left(after: float) -> int:
        seconds.append(after)
        return sum(kept.get("total", each) is not None for each in stamps)

    assert len(stamps) == left(LEAST_SECONDS - 1)
    assert 0 < left((LEAST_SECONDS + MOST_SECONDS) / 2) < len(stamps)
    assert 0 == left(MOST_SECONDS)


def test_the_oldest_answers_are_dropped() -> None:
    """Only so many are kept."""
    kept = KeptAnswers[int]()
    for number in range(MOST_KEPT + 1):
        kept.keep(number, frozenset(), number)

    assert (None, 1) == (kept.get(0, frozenset()), kept.get(1, frozenset()))
