"""Parsing, filtering, classification and counting of dead letters, and the choice of those to replay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamapp.dlq.index import (
    OTHER_TOPIC,
    OVER_LIMIT,
    TOO_MANY_REPLAYS,
    UNSIGNED,
    ClassifiedDeadLetter,
    DeadLetterFilter,
    DeadLetterIndex,
    Letter,
    State,
    classify,
    histogram,
    parse_letter,
    plan_replay,
)
from streamapp.kafka.dead_letter_contents import headers_of
from streamapp.model.record import DeadLetter, Reason, UnreadableRecords, origin_of
from tests.support.factories import NOW, TOPIC_ID, FakeRecord

AT = datetime(2026, 9, 21, 12, tzinfo=UTC)


def a_dead_letter_record(
    offset: int = 0, *, origin: int = 0, partition: int = 0, attempt: int = 1, failed_at: datetime = AT, **changes: Any
) -> FakeRecord:
    """Return a record at `offset` of the dead-letter topic; `origin` is the offset of the original record."""
    values = {"reason": Reason.EMPTY, "error": "no bytes", "schema_id": 7, "topic": "user_events", **changes}
    first = FakeRecord(value=b"abc", key=b"k", topic=values.pop("topic"), partition=partition, offset=origin)
    found = origin_of(first, TOPIC_ID)._replace(failures=attempt - 1)
    headers = headers_of(DeadLetter(record=first, origin=found, **values), failed_at=failed_at)
    return FakeRecord(value=b"abc", key=b"k", topic="user_events.dlq", offset=offset, headers=tuple(headers))


def a_letter(offset: int = 0, **changes: Any) -> Letter:
    """Return such a record, parsed."""
    found = parse_letter(a_dead_letter_record(offset, **changes))
    assert found
    return found


def an_index(*records: FakeRecord) -> DeadLetterIndex:
    """Return an index of these records."""
    index = DeadLetterIndex()
    for record in records:
        index.add(record)
    return index


def test_a_letter_is_parsed_from_headers() -> None:
    """Position and size come from the record."""
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
    record = a_dead_letter_record()
    headers = tuple(pair for pair in record.headers if pair[0] != f"streamapp.{name}")
    return FakeRecord(value=None, key=None, headers=headers)


@pytest.mark.parametrize("name", ["topic", "partition", "offset", "timestamp", "attempt", "reason", "failed_at"])
def test_a_record_that_lacks_a_header_is_unrecognized(name: str) -> None:
    """Records of other programs do not raise an error."""
    index = an_index(without(name), FakeRecord(value=b"x", offset=3), a_dead_letter_record(9))

    assert [(0, 0), (0, 3)] == index.unrecognized
    assert [9] == [letter.offset for letter in index.letters]


def with_header(name: str, value: bytes) -> FakeRecord:
    """Return a dead letter with another value of one header."""
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
def test_a_record_with_an_invalid_time_or_reason_is_unrecognized(name: str, value: bytes) -> None:
    """Another program may use the same header names; two of the times are out of range in UTC."""
    assert parse_letter(with_header(name, value)) is None


def test_an_impossible_schema_id_is_ignored() -> None:
    """Python refuses to parse integers of that many digits."""
    letter = parse_letter(with_header("schema_id", b"9" * 5_000))

    assert letter
    assert letter.schema_id is None


def test_a_time_of_failure_is_converted_to_utc() -> None:
    """The header may have another time zone."""
    letter = parse_letter(with_header("failed_at", b"2026-09-21T14:00:00+02:00"))

    assert letter
    assert (AT, UTC) == (letter.failed_at, letter.failed_at.tzinfo)


def test_optional_headers_may_be_missing() -> None:
    """These are error and schema id; a time without a zone is UTC."""
    headers = [pair for pair in a_dead_letter_record().headers if pair[0].split(".")[1] not in {"error", "failed_at"}]
    headers += [("streamapp.failed_at", b"2026-09-21T12:00:00")]
    letter = parse_letter(FakeRecord(value=None, key=None, headers=(*headers,)))
    unread = a_letter(schema_id=None)

    assert letter
    assert ("", 0, AT, None) == (letter.error, letter.size, letter.failed_at, unread.schema_id)


@pytest.mark.parametrize(
    ("chosen", "expected"),
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
def test_a_filter_combines_its_conditions(chosen: DeadLetterFilter, expected: Sequence[int]) -> None:
    """`since` is inclusive, `until` exclusive."""
    letters = [
        a_letter(0, reason=Reason.EMPTY),
        a_letter(1, reason=Reason.TRUNCATED, partition=1, failed_at=AT + timedelta(minutes=1)),
        a_letter(2, reason=Reason.UNDECODABLE, partition=1, failed_at=AT + timedelta(minutes=2)),
    ]

    assert expected == [letter.offset for letter in letters if chosen.matches(letter)]


def test_the_latest_letter_of_an_event_has_the_highest_attempt() -> None:
    """Ties go to the later failure, then to the higher offset, in whatever order the letters are added."""
    records = [
        a_dead_letter_record(0, origin=5),
        a_dead_letter_record(1, origin=5, attempt=2),
        a_dead_letter_record(2, origin=5, failed_at=AT + timedelta(hours=1)),
        a_dead_letter_record(3, origin=6),
        a_dead_letter_record(4, origin=6),
        a_dead_letter_record(5, origin=5, partition=1),
    ]
    expected = {1, 4, 5}

    for index in (an_index(*records), an_index(*reversed(records))):
        assert expected == {letter.offset for letter in index.letters if index.is_latest(letter)}


def test_a_letter_is_found_by_the_coordinates_of_its_original_record() -> None:
    """Of several, the latest is found."""
    index = an_index(
        a_dead_letter_record(0, origin=5, partition=2), a_dead_letter_record(1, origin=5, partition=2, attempt=2)
    )

    found = index.latest_of("user_events", 2, 5)

    assert found
    assert (1, None) == (found.offset, index.latest_of("user_events", 2, 6))


def states(index: DeadLetterIndex, **known: Any) -> Sequence[State]:
    """Return the state of each letter."""
    return [one.state for one in classify(index.letters, index, **known)]


def test_letters_are_classified() -> None:
    """A superseded letter keeps that state whatever the state of the later letter."""
    index = an_index(
        a_dead_letter_record(0, origin=1),
        a_dead_letter_record(1, origin=1, attempt=2),
        *(a_dead_letter_record(n, origin=n) for n in (2, 3)),
    )
    ids = {letter.offset: letter.event_id for letter in index.letters}

    assert [State.SUPERSEDED, State.STORED, State.IN_TOPIC, State.OPEN] == states(
        index, stored_ids={ids[1]}, unread_ids={ids[1], ids[2]}
    )
    assert [State.SUPERSEDED, State.UNKNOWN, State.IN_TOPIC, State.UNKNOWN] == states(
        index, stored_ids=None, unread_ids={ids[2]}
    )


def test_letters_are_counted_by_reason() -> None:
    """The most frequent reason comes first; states, attempts and the first and last failure are counted."""
    later = AT + timedelta(hours=1)
    index = an_index(
        a_dead_letter_record(0, origin=1, failed_at=later),
        a_dead_letter_record(1, origin=2),
        a_dead_letter_record(2, origin=2, attempt=2, failed_at=later + timedelta(hours=1)),
        a_dead_letter_record(3, origin=3, reason=Reason.TRUNCATED),
        a_dead_letter_record(4, origin=4, reason=Reason.BAD_MAGIC_BYTE),
    )
    first, *others = histogram(classify(index.letters, index, stored_ids=(), unread_ids=()))

    assert ["bad-magic-byte", "truncated"] == [row.reason for row in others]
    assert ("empty", {State.OPEN: 2, State.SUPERSEDED: 1}, {1: 2, 2: 1}) == (first.reason, first.states, first.attempts)
    assert (AT, later + timedelta(hours=1)) == (first.first_failed_at, first.last_failed_at)


def replayed_and_skipped(
    *letters: Letter, state: State = State.OPEN, **limits: Any
) -> tuple[list[int], dict[str, int]]:
    """Return the offsets of the letters to replay, and the numbers of skipped letters."""
    found = plan_replay(
        [ClassifiedDeadLetter(letter=letter, state=state) for letter in letters],
        **{"topic": "user_events", "max_replays": 3, "limit": 0, **limits},
    )
    return [letter.offset for letter in found.letters], {**found.skipped}


def test_letters_are_replayed_in_the_order_of_their_original_records() -> None:
    """The limit keeps the first ones."""
    letters = [a_letter(0, origin=9, partition=1), a_letter(1, origin=8, partition=1), a_letter(2, origin=30)]

    assert ([2, 1, 0], {}) == replayed_and_skipped(*letters)
    assert ([2, 1], {OVER_LIMIT: 1}) == replayed_and_skipped(*letters, limit=2)


@pytest.mark.parametrize("state", [state for state in State if state is not State.OPEN])
def test_only_open_letters_are_replayed(state: State) -> None:
    """The others are counted by their state."""
    assert ([], {state: 1}) == replayed_and_skipped(a_letter(), state=state)


def test_letters_of_another_topic_are_not_replayed() -> None:
    """They would be stored as user events."""
    assert ([], {OTHER_TOPIC: 1}) == replayed_and_skipped(a_letter(topic="orders"))


def test_letters_whose_coordinates_no_worker_believes_are_not_replayed() -> None:
    """A worker with a signing key would store their events at other coordinates."""
    forged = parse_letter(a_dead_letter_record(), signing_key=b"key")

    assert forged
    assert ([], {UNSIGNED: 1}) == replayed_and_skipped(forged)


def test_letters_are_replayed_at_most_max_replays_times() -> None:
    """A larger limit allows one more replay."""
    letters = [a_letter(attempt, origin=attempt, attempt=attempt) for attempt in (1, 3, 4)]

    assert ([1, 3], {TOO_MANY_REPLAYS: 1}) == replayed_and_skipped(*letters)
    assert ([1, 3, 4], {}) == replayed_and_skipped(*letters, max_replays=4)
    assert ([], {TOO_MANY_REPLAYS: 3}) == replayed_and_skipped(*letters, max_replays=0)


def test_batches_that_cannot_be_read_are_listed() -> None:
    """They are no dead letters, and no records of other programs."""
    batch = UnreadableRecords("events.dlq", 1, 7, 0, None, None, ())
    batch.begin, batch.end, batch.why = 7, 10, "a wrong checksum"
    index = DeadLetterIndex()

    index.add(batch)

    assert [batch] == index.unreadable
    assert ([], []) == (index.letters, index.unrecognized)
    assert "partition 1, offsets 7 to 9: a wrong checksum" == batch.place
