"""The first coordinates of an event, from the headers of its record."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.factories import TOPIC_ID, FakeRecord, a_letter, replayed


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"topic": "other_events"}, True),
        ({"partition": 1}, True),
        ({"offset": 18}, True),
    ],
)
def test_origin_differs_from_a_record_with_other_coordinates(changes: dict[str, Any], expected: bool) -> None:
    """Topic, partition, offset and topic id are the coordinates."""
    headers = replayed(a_letter(topic="user_events", partition=0, offset=17))
    record = FakeRecord(value=b"", offset=17, headers=headers)._replace(**changes)
    origin = a_letter(topic="user_events", partition=0, offset=17).origin

    assert expected == origin.differs_from(record, TOPIC_ID)
    assert origin.differs_from(record, None)
