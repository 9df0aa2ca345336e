"""What a comparison keeps of dead letters: the same that `dlq list` takes for such."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.dlq.index import DeadLetterIndex
from streamapp.model.record import Reason
from streamapp.verify.checks import manifest
from streamapp.verify.letter_index import LetterIndex
from tests.support.factories import NOW, TOPIC_ID, FakeRecord
from tests.unit.dlq.test_index import a_dead_letter_record

HOUR = NOW // 3_600_000 * 3_600_000
ID = f"{TOPIC_ID}-0-0"


def an_index(*records: FakeRecord) -> LetterIndex:
    """Return them as one."""
    index = LetterIndex()
    for record in records:
        index.add(record)
    return index


def with_header(name: str, value: bytes | None) -> FakeRecord:
    """Return a dead letter of which one header is another."""
    record = a_dead_letter_record()
    headers = tuple((each, value if each == f"streamapp.{name}" else old) for each, old in record.headers)
    return FakeRecord(value=b"abc", topic="user_events.dlq", headers=headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reason", b"\xff"),
        ("reason", b"unheard of"),
        ("reason", None),
        ("failed_at", b"yesterday"),
        ("offset", b"x"),
        ("topic", b"\xff"),
    ],
)
def test_what_the_pile_calls_foreign_is_left_out(name: str, value: bytes | None) -> None:
    """Whichever header is not as we write it; nothing is raised."""
    record = with_header(name, value)
    dead_letters = DeadLetterIndex()
    dead_letters.add(record)
    index = an_index(record)

    assert ([(0, 0)], {}, {}) == (dead_letters.unrecognized, index.failures, index.counted)


def test_a_failure_is_kept_by_its_event_with_a_digest_and_its_content() -> None:
    """And counted by reason and hour."""
    index = an_index(a_dead_letter_record())

    failure = index.failures[ID]
    assert ("empty", 1, manifest.of_value(b"abc")) == (failure.reason, failure.origin.failures, failure.content)
    assert failure.is_of(FakeRecord(value=b"abc", key=b"k"))
    assert not failure.is_of(FakeRecord(value=b"abc", key=b"other"))
    assert {f"empty:{HOUR}": {ID}} == index.counted


def test_a_letter_of_another_topic_need_not_be_counted() -> None:
    """Nor is it wrong if it is: it may have been replayed into this topic."""
    own, other = an_index(a_dead_letter_record()), an_index(with_header("topic", b"other"))

    key = f"empty:{HOUR}"
    assert ({key: 1}, {key: 0}) == (own.counted_of("user_events"), other.counted_of("user_events"))
    assert {key: {ID}} == other.counted


def test_an_event_that_fails_again_keeps_its_first_reason_and_the_last_attempt() -> None:
    """In whichever order its letters come; it is counted for both reasons."""
    again: dict[str, Any] = {"reason": Reason.TRUNCATED, "attempt": 2}
    index = an_index(a_dead_letter_record(1, **again), a_dead_letter_record())

    assert ("empty", 2) == (index.failures[ID].reason, index.failures[ID].origin.failures)
    assert {f"empty:{HOUR}": {ID}, f"truncated:{HOUR}": {ID}} == index.counted
