"""Answers that are kept for some seconds."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, get_ident
from typing import TYPE_CHECKING

import pytest

from dashboard.data.kept import MOST, Kept
from dashboard.model.errors import DashboardError, DisconnectedError, TooSlowError
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Callable


class Reader:
    """Answers with the number of the read, or with an error."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: DashboardError | None = None

    def __call__(self) -> int:
        self.reads += 1
        if self.error:
            raise self.error
        return self.reads


def test_an_answer_is_read_again_after_some_seconds() -> None:
    """For each question once."""
    clock, read = [0.0], Reader()
    kept = Kept[str, int](2.0, monotonic=lambda: clock[0])

    assert [1, 1, 2] == [kept.get(question, read) for question in ("a", "a", "b")]
    clock[0] = 2.0
    assert [3, 3] == [kept.get("a", read), kept.get("a", read)]


def test_an_answer_is_given_while_it_is_read_again() -> None:
    """Once, whatever the number of visitors; too old an answer is not given."""
    clock, read, started = [0.0], Reader(), list["Callable[[], object]"]()
    kept = Kept[str, int](2.0, 10.0, monotonic=lambda: clock[0], start=started.append)
    kept.get("a", read)

    clock[0] = 3.0
    assert [1, 1] == [kept.get("a", read), kept.get("a", read)]
    (read_again,) = started
    read_again()
    assert (2, 1) == (kept.get("a", read), len(started))

    clock[0] = 13.0
    assert (3, 1) == (kept.get("a", read), len(started))


def test_an_error_in_the_background_is_told_once() -> None:
    """The answer that is kept is then given until it is too old."""
    clock, read = [0.0], Reader()
    kept = Kept[str, int](2.0, 10.0, monotonic=lambda: clock[0], start=lambda call: call())
    kept.get("a", read)

    read.error, clock[0] = DisconnectedError("no answer"), 3.0
    assert kept.get("a", read) == 1
    with pytest.raises(DisconnectedError):
        kept.get("a", read)
    read.error = None
    assert [1, 3] == [kept.get("a", read), kept.get("a", read)]


def test_an_error_in_the_background_that_is_over_is_not_told() -> None:
    """Nobody asked again in time."""
    clock, read = [0.0], Reader()
    kept = Kept[str, int](2.0, 10.0, monotonic=lambda: clock[0], start=lambda call: call())
    kept.get("a", read)
    read.error, clock[0] = DisconnectedError("no answer"), 3.0
    kept.get("a", read)

    read.error, clock[0] = None, 7_200.0

    assert kept.get("a", read) == 3


def test_a_visitor_does_not_wait_for_the_queue_of_the_background() -> None:
    """Who finds too old an answer reads it; then the background does not."""
    clock, read, started = [0.0], Reader(), list["Callable[[], object]"]()
    kept = Kept[str, int](2.0, 10.0, monotonic=lambda: clock[0], start=started.append)
    kept.get("a", read)
    clock[0] = 3.0
    kept.get("a", read)

    clock[0] = 11.0
    with ThreadPoolExecutor() as threads:
        assert threads.submit(kept.get, "a", read).result(120) == 2
    (read_again,) = started
    read_again()

    assert (2, 2) == (read.reads, kept.get("a", read))


@pytest.mark.parametrize("error", [None, DisconnectedError("no answer")])
def test_one_read_answers_all_who_wait_for_it(error: DisconnectedError | None) -> None:
    """They ask the same at the same time; an error is the answer of all."""
    read, may_end, asking = Reader(), Event(), set[int]()
    read.error = error

    def clock() -> float:
        asking.add(get_ident())
        return time.monotonic()

    def slow_read() -> int:
        may_end.wait(120)
        return read()

    kept = Kept[str, int](2_000.0, monotonic=clock)

    def ask() -> object:
        try:
            return kept.get("a", slow_read)
        except DisconnectedError as exc:
            return exc

    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(ask) for _ in range(3)]
        until(lambda: len(asking) == 3, within=120, what="the question of each")
        may_end.set()
        answers = {str(each.result(120)) for each in asked}

    assert {str(error or 1)} == answers
    assert read.reads == 1


@pytest.mark.parametrize("most", [MOST, 2])
def test_the_oldest_answers_are_dropped(most: int) -> None:
    """Only so many are kept."""
    kept = Kept[int, int](2.0, most=most, monotonic=lambda: 0.0)
    for number in range(most + 1):
        kept.get(number, lambda n=number: n)

    assert [most, -1] == [kept.get(number, lambda: -1) for number in (most, 0)]


def test_a_query_that_was_too_slow_is_not_repeated_at_once() -> None:
    """Each visitor, and each refresh, would cost the server the whole time limit."""
    clock, read = [0.0], Reader()
    kept = Kept[str, int](2.0, monotonic=lambda: clock[0])
    read.error = TooSlowError("too slow")
    for now in (0.0, 5.0, TooSlowError.retry_after_seconds - 1):
        clock[0] = now
        with pytest.raises(TooSlowError):
            kept.get("a", read)
    assert read.reads == 1

    read.error, clock[0] = None, TooSlowError.retry_after_seconds
    assert kept.get("a", read) == 2


def test_an_error_that_is_no_answer_is_not_kept() -> None:
    """The next question is asked again."""
    kept = Kept[str, int](2.0)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)

    assert 7 == kept.get("a", lambda: 7)


def test_an_answer_that_is_made_of_another_one_fails_no_longer_than_that_one() -> None:
    """Both are read again when the first failure is old enough."""
    now, read = [0.0], Reader()
    inner, outer = (Kept[str, int](2.0, monotonic=lambda: now[0]) for _ in range(2))
    read.error = TooSlowError("too slow")

    def ask(key: str) -> int:
        return outer.get(key, lambda: inner.get("shared", read))

    with pytest.raises(TooSlowError):
        ask("first")
    now[0] = TooSlowError.retry_after_seconds - 1
    with pytest.raises(TooSlowError):
        ask("second")
    read.error = None
    now[0] = TooSlowError.retry_after_seconds

    assert [2, 2] == [ask("first"), ask("second")]
