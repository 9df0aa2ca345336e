"""Dead letters that were written without their value are restored from the original topic."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.dlq.originals import OriginalLost, restored
from streamapp.model.omitted import omitted_headers
from streamapp.model.record import origin_from_headers
from tests.support.factories import TOPIC_ID, FakeRecord, a_letter, replayed

ORIGINAL = FakeRecord(value=b"large", offset=7)


class Originals:
    """The original topic with these records."""

    topic = "user_events"

    def __init__(self, *records: FakeRecord) -> None:
        self.records = records

    def partitions(self) -> list[int]:
        """Return one partition."""
        return [0]

    def read(self, _: int, start: int, end: int) -> Any:
        """Yield the records in the range."""
        return iter([each for each in self.records if start <= each.offset < end])


def a_bare_letter() -> FakeRecord:
    """Return the dead letter of the original record, without its value."""
    headers = (*replayed(a_letter(value=b"large", offset=7)), *omitted_headers("value", b"large"))
    return FakeRecord(value=None, topic="user_events.dlq", offset=3, headers=headers)


def restore(letter: FakeRecord, *records: FakeRecord, topic_id: str | None = TOPIC_ID) -> Any:
    """Restore a dead letter from a topic with these records."""
    origin: Any = origin_from_headers(letter.headers)
    originals: Any = Originals(*records)
    return restored(letter, origin, originals, topic_id)


def test_the_value_is_read_from_the_original_topic() -> None:
    """The headers are those of a dead letter with a value."""
    found = restore(a_bare_letter(), ORIGINAL)

    assert (b"large", replayed(a_letter(value=b"large", offset=7))) == (found.value, tuple(found.headers))


@pytest.mark.parametrize(
    ("records", "topic_id", "why"),
    [
        ([], TOPIC_ID, "no longer has its record"),
        ([ORIGINAL._replace(value=b"another")], TOPIC_ID, "no longer has its record"),
        ([ORIGINAL], "another topic id", "was deleted"),
    ],
)
def test_a_value_that_kafka_has_lost_is_not_restored(records: list[FakeRecord], topic_id: str, why: str) -> None:
    """The reason is clear."""
    with pytest.raises(OriginalLost, match=why):
        restore(a_bare_letter(), *records, topic_id=topic_id)


def test_a_letter_with_its_value_is_unchanged() -> None:
    """Also a tombstone."""
    letter = FakeRecord(value=None, headers=replayed(a_letter(value=None)))

    assert restore(letter) is letter
