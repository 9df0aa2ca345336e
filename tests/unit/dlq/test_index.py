"""Dead letters read from headers, chosen, counted, judged, and which of them are replayed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamapp.dlq.index import (
    BEYOND_LIMIT,
    OF_ANOTHER_TOPIC,
    REPLAYED_OFTEN,
    ClassifiedDeadLetter,
    DeadLetterFilter,
    DeadLetterIndex,
    Letter,
    State,
    classified,
    histogram,
    letter_in,
    plan,
)
from streamapp.kafka.dead_letter_producer import headers_of
from streamapp.model.record import DeadLetter, Reason, origin_of
from tests.support.factories import NOW, TOPIC_ID, FakeRecord

AT = datetime(2026, 9, 21, 12, tzinfo=UTC)


def a_dead_record(
    offset: int = 0, *, origin: int = 0, partition: int = 0, attempt: int = 1, failed_at: datetime = AT, **changes: Any
) -> FakeRecord:
    """Return a record of the dead-letter topic, at `offset` there; `origin` is where the event once stood."""
    values = {"reason": Reason.EMPTY, "error": "no bytes", "schema_id": 7, "topic": "user_events", **changes}
    first = FakeRecord(value=b"abc", key=b"k", topic=values.pop("topic"), partition=partition, offset=origin)
    found = origin_of(first, TOPIC_ID)._replace(failures=attempt - 1)
    headers = headers_of(DeadLetter(record=first, origin=found, **values), failed_at=failed_at)
    return FakeRecord(value=b"abc", key=b"k", topic="user_events.dlq", offset=offset, headers=tuple(headers))


def a_letter(offset: int = 0, **changes: Any) -> Letter:
    """Return what is read from it."""
    found = letter_in(a_dead_record(offset, **changes))
    assert found
    return found


def a_pile(*records: FakeRecord) -> DeadLetterIndex:
    """Return them as one."""
    index = DeadLetterIndex()
    for record in records:
        index.add(record)
    return index


def test_a_letter_tells_what_its_headers_say() -> None:
    """And where it lies, and how large it is."""
    letter = a_letter(24, origin=118, partition=2, attempt=2, reason=Reason.TRUNCATED, error="é")

    assert (0, 24, 4) == (letter.partition, letter.offset, letter.size)
    assert ("user_events", 2, 118, NOW, TOPIC_ID, 2) == letter.origin
    assert ("truncated", "é", 7, AT, 2) == (
        letter.reason,
        letter.error,
        letter.schema_id,
        letter.failed_at,
        letter.attempt,
    )
    assert letter.event_id == f"{TOPIC_ID}-2-118"


def without(name: str) -> FakeRecord:
    """Return a dead letter that lacks one header."""
    record = a_dead_record()
    headers = tuple(pair for pair in record.headers if pair[0] != f"streamapp.{name}")
    return FakeRecord(value=None, key=None, headers=headers)


@pytest.mark.parametrize("name", ["topic", "partition", "offset", "timestamp", "attempt", "reason", "failed_at"])
def test_a_record_without_our_headers_is_foreign(name: str) -> None:
    """Nothing breaks on it."""
    index = a_pile(without(name), FakeRecord(value=b"x", offset=3), a_dead_record(9))

    assert [(0, 0), (0, 3)] == index.foreign
    assert [9] == [letter.offset for letter in index.letters]


def with_header(name: str, value: bytes) -> FakeRecord:
    """Return a dead letter with a header that is not as we write it."""
    return FakeRecord(value=None, key=None, headers=(*without(name).headers, (f"streamapp.{name}", value)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("failed_at", b"yesterday"),
        ("failed_at", b"\xff"),
        ("failed_at", b"0001-01-01T00:00:00+14:00"),
        ("failed_at", b"9999-12-31T23:59:59-14:00"),
        ("reason", b"\xff"),
        ("reason", b"bad-weather"),
    ],
)
def test_a_time_or_a_reason_that_is_none_is_foreign_too(name: str, value: bytes) -> None:
    """Another program's header of the same name; of the times some are none in UTC."""
    assert letter_in(with_header(name, value)) is None


def test_a_schema_id_that_can_be_none_is_left_out() -> None:
    """However long the number is."""
    letter = letter_in(with_header("schema_id", b"9" * 5_000))

    assert letter
    assert letter.schema_id is None


def test_a_time_is_told_in_utc() -> None:
    """Whatever zone it was written in."""
    letter = letter_in(with_header("failed_at", b"2026-09-21T14:00:00+02:00"))

    assert letter
    assert (AT, UTC) == (letter.failed_at, letter.failed_at.tzinfo)


def test_what_may_be_missing_is_empty() -> None:
    """Error and schema id; a time without a zone is UTC."""
    headers = [pair for pair in a_dead_record().headers if pair[0].split(".")[1] not in {"error", "failed_at"}]
    headers += [("streamapp.failed_at", b"2026-09-21T12:00:00")]
    letter = letter_in(FakeRecord(value=None, key=None, headers=(*headers,)))
    unread = a_letter(schema_id=None)

    assert letter
    assert ("", 0, AT, None) == (letter.error, letter.size, letter.failed_at, unread.schema_id)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (DeadLetterFilter(), [0, 1, 2]),
        (DeadLetterFilter(reasons=["empty", "truncated"]), [0, 1]),
        (DeadLetterFilter(reasons=["undecodable"]), [2]),
        (DeadLetterFilter(partition=1), [1, 2]),
        (DeadLetterFilter(since=AT + timedelta(minutes=1)), [1, 2]),
        (DeadLetterFilter(until=AT + timedelta(minutes=1)), [0]),
        (DeadLetterFilter(reasons=["empty"], partition=1), []),
    ],
    ids=str,
)
def test_letters_are_chosen_by_all_that_is_said(choice: DeadLetterFilter, expected: Sequence[int]) -> None:
    """From `since` on, before `until`."""
    letters = [
        a_letter(0, reason=Reason.EMPTY),
        a_letter(1, reason=Reason.TRUNCATED, partition=1, failed_at=AT + timedelta(minutes=1)),
        a_letter(2, reason=Reason.UNDECODABLE, partition=1, failed_at=AT + timedelta(minutes=2)),
    ]

    assert expected == [letter.offset for letter in letters if choice.has(letter)]


def test_the_last_letter_of_an_event_is_that_of_the_last_attempt() -> None:
    """Then the later one, then the one that lies further on; however they are ordered."""
    records = [
        a_dead_record(0, origin=5),
        a_dead_record(1, origin=5, attempt=2),
        a_dead_record(2, origin=5, failed_at=AT + timedelta(hours=1)),
        a_dead_record(3, origin=6),
        a_dead_record(4, origin=6),
        a_dead_record(5, origin=5, partition=1),
    ]
    expected = {1, 4, 5}

    for index in (a_pile(*records), a_pile(*reversed(records))):
        assert expected == {letter.offset for letter in index.letters if index.is_last(letter)}


def test_a_letter_is_found_by_where_its_event_stood() -> None:
    """The last one."""
    index = a_pile(a_dead_record(0, origin=5, partition=2), a_dead_record(1, origin=5, partition=2, attempt=2))

    found = index.last_of("user_events", 2, 5)

    assert found
    assert (1, None) == (found.offset, index.last_of("user_events", 2, 6))


def states(index: DeadLetterIndex, **known: Any) -> Sequence[State]:
    """Return the state of each."""
    return [one.state for one in classified(index.letters, index, **known)]


def test_each_letter_is_told_what_became_of_its_event() -> None:
    """Superseded comes first: the later letter tells the rest."""
    index = a_pile(
        a_dead_record(0, origin=1), a_dead_record(1, origin=1, attempt=2), *(a_dead_record(n, origin=n) for n in (2, 3))
    )
    ids = {letter.offset: letter.event_id for letter in index.letters}

    assert [State.SUPERSEDED, State.STORED, State.IN_TOPIC, State.OPEN] == states(
        index, stored={ids[1]}, in_topic={ids[1], ids[2]}
    )
    assert [State.SUPERSEDED, State.UNKNOWN, State.IN_TOPIC, State.UNKNOWN] == states(
        index, stored=None, in_topic={ids[2]}
    )


def test_reasons_are_counted_the_most_frequent_first() -> None:
    """With states, attempts, and first and last time."""
    later = AT + timedelta(hours=1)
    index = a_pile(
        a_dead_record(0, origin=1, failed_at=later),
        a_dead_record(1, origin=2),
        a_dead_record(2, origin=2, attempt=2, failed_at=later + timedelta(hours=1)),
        a_dead_record(3, origin=3, reason=Reason.TRUNCATED),
        a_dead_record(4, origin=4, reason=Reason.BAD_MAGIC_BYTE),
    )
    first, *others = histogram(classified(index.letters, index, stored=(), in_topic=()))

    assert ["bad-magic-byte", "truncated"] == [row.reason for row in others]
    assert ("empty", {State.OPEN: 2, State.SUPERSEDED: 1}, {1: 2, 2: 1}) == (first.reason, first.states, first.attempts)
    assert (AT, later + timedelta(hours=1)) == (first.first_failed_at, first.last_failed_at)


def planned(*letters: Letter, state: State = State.OPEN, **limits: Any) -> tuple[list[int], dict[str, int]]:
    """Return the places of what is replayed, and why the rest is not."""
    found = plan(
        [ClassifiedDeadLetter(letter=letter, state=state) for letter in letters],
        **{"topic": "user_events", "max_replays": 3, "limit": 0, **limits},
    )
    return [letter.offset for letter in found.letters], {**found.skipped}


def test_letters_are_replayed_in_the_order_in_which_their_events_stood() -> None:
    """Of each partition, and no more than the limit."""
    letters = [a_letter(0, origin=9, partition=1), a_letter(1, origin=8, partition=1), a_letter(2, origin=30)]

    assert ([2, 1, 0], {}) == planned(*letters)
    assert ([2, 1], {BEYOND_LIMIT: 1}) == planned(*letters, limit=2)


@pytest.mark.parametrize("state", [state for state in State if state is not State.OPEN])
def test_only_open_letters_are_replayed(state: State) -> None:
    """The others are counted by what became of them."""
    assert ([], {state: 1}) == planned(a_letter(), state=state)


def test_letters_of_another_topic_are_not_replayed() -> None:
    """They would get there as events of ours."""
    assert ([], {OF_ANOTHER_TOPIC: 1}) == planned(a_letter(topic="orders"))


def test_letters_are_replayed_so_often_and_no_more() -> None:
    """Whoever wants it once more says so."""
    letters = [a_letter(attempt, origin=attempt, attempt=attempt) for attempt in (1, 3, 4)]

    assert ([1, 3], {REPLAYED_OFTEN: 1}) == planned(*letters)
    assert ([1, 3, 4], {}) == planned(*letters, max_replays=4)
    assert ([], {REPLAYED_OFTEN: 3}) == planned(*letters, max_replays=0)
