"""The index of failed events has the same dead letters as `dlq list`."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.dlq.index import DeadLetterIndex
from streamapp.model.omitted import omitted_headers
from streamapp.model.record import UNREADABLE, Reason
from streamapp.verify.checks import manifest
from streamapp.verify.failure_index import FailureIndex
from tests.support.factories import NOW, TOPIC_ID, FakeRecord
from tests.unit.dlq.test_index import a_dead_letter_record

HOUR = NOW // 3_600_000 * 3_600_000
ID = f"{TOPIC_ID}-0-0"


def a_failure_index(*records: FakeRecord) -> FailureIndex:
    """Return an index of these records."""
    index = FailureIndex()
    for record in records:
        index.add(record)
    return index


def with_header(name: str, value: bytes | None) -> FakeRecord:
    """Return a dead letter with another value of one header."""
    record = a_dead_letter_record()
    headers = tuple((each, value if each == f"streamapp.{name}" else old) for each, old in record.headers)
    return FakeRecord(value=b"abc", topic="user_events.dlq", headers=headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reason", b"\xff"),
        ("reason", b"unknown"),
        ("reason", None),
        ("failed_at", b"yesterday"),
        ("offset", b"x"),
        ("topic", b"\xff"),
    ],
)
def test_unrecognized_records_are_ignored(name: str, value: bytes | None) -> None:
    """An invalid header does not raise an error."""
    record = with_header(name, value)
    dead_letters = DeadLetterIndex()
    dead_letters.add(record)
    index = a_failure_index(record)

    assert ([(0, 0)], {}, {}) == (dead_letters.unrecognized, index.by_event_id, index.counted)


def test_a_failure_has_digest_and_content() -> None:
    """It is counted by reason and hour."""
    index = a_failure_index(a_dead_letter_record())

    failure = index.by_event_id[ID]
    assert ("empty", 1, manifest.value_content(b"abc")) == (failure.reason, failure.origin.failures, failure.content)
    assert failure.is_of(FakeRecord(value=b"abc", key=b"k"))
    assert not failure.is_of(FakeRecord(value=b"abc", key=b"other"))
    assert {f"empty:{HOUR}": {ID}} == index.counted


def test_a_failure_of_a_record_that_is_too_large_has_its_first_bytes() -> None:
    """These are compared, and it is known that there are no more."""
    start = b"\x00\x02\x04" + b"\x02k" + b"\x06abc" + b"\x02"
    letter = with_header("reason", b"bad-magic-byte")
    cut = FakeRecord(value=UNREADABLE + start, key=None, topic=letter.topic, headers=letter.headers)

    failure = a_failure_index(cut).by_event_id[ID]

    assert failure.is_of(FakeRecord(value=b"abc", key=b"k"))
    assert failure.is_cut_of(FakeRecord(value=b"abc", key=b"k"))
    assert not failure.is_of(FakeRecord(value=b"abx", key=b"k"))


def test_a_record_that_begins_like_a_cut_one_is_compared_as_a_whole() -> None:
    """A producer can send any bytes."""
    letter = with_header("reason", b"bad-magic-byte")
    whole = FakeRecord(value=UNREADABLE + b"abc", key=None, topic=letter.topic, headers=letter.headers)

    failure = a_failure_index(whole).by_event_id[ID]

    assert failure.is_of(FakeRecord(value=UNREADABLE + b"abc", key=None))
    assert not failure.is_cut_of(FakeRecord(value=UNREADABLE + b"abc", key=None))


def test_a_letter_of_another_topic_is_not_expected_in_the_counts() -> None:
    """It may be counted: it may have been replayed into this topic."""
    own, other = a_failure_index(a_dead_letter_record()), a_failure_index(with_header("topic", b"other"))

    key = f"empty:{HOUR}"
    assert ({key: 1}, {key: 0}) == (own.counted_of("user_events"), other.counted_of("user_events"))
    assert {key: {ID}} == other.counted


def test_an_event_that_fails_again_has_its_first_reason_and_last_attempt() -> None:
    """The order of its dead letters does not matter; it is counted for both reasons."""
    again: dict[str, Any] = {"reason": Reason.TRUNCATED, "attempt": 2}
    index = a_failure_index(a_dead_letter_record(1, **again), a_dead_letter_record())

    assert ("empty", 2) == (index.by_event_id[ID].reason, index.by_event_id[ID].origin.failures)
    assert {f"empty:{HOUR}": {ID}, f"truncated:{HOUR}": {ID}} == index.counted


def test_a_failure_without_value_is_compared_by_the_digest_in_its_headers() -> None:
    """A dead letter that did not fit is one of its record, and of no other."""
    record = a_dead_letter_record()
    bare = record._replace(value=None, headers=(*record.headers, *omitted_headers("value", record.value)))

    failure = a_failure_index(bare).by_event_id[ID]

    assert failure.is_of(record)
    assert not failure.is_of(record._replace(value=b"another"))


def test_the_dead_letter_of_a_record_without_a_timestamp_is_recognised() -> None:
    """By `dlq` and by `verify`."""
    record = with_header("timestamp", b"-1")
    dead_letters = DeadLetterIndex()
    dead_letters.add(record)

    assert ([], {ID}) == (dead_letters.unrecognized, a_failure_index(record).by_event_id.keys())
