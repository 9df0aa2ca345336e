"""Where an event first stood, by the headers of its record."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.model.record import origin_of
from tests.support.factories import TOPIC_ID, FakeRecord, a_letter, replayed


@pytest.mark.parametrize(
    ("place", "is_elsewhere"),
    [
        ({}, False),
        ({"topic": "other_events"}, True),
        ({"partition": 1}, True),
        ({"offset": 18}, True),
    ],
)
def test_a_replay_is_elsewhere_unless_it_is_where_it_first_stood(place: dict[str, Any], is_elsewhere: bool) -> None:
    """Topic, partition, offset and topic id say where."""
    headers = replayed(a_letter(topic="user_events", partition=0, offset=17))
    record = FakeRecord(value=b"", offset=17, headers=headers)._replace(**place)
    origin = origin_of(record, TOPIC_ID)

    assert is_elsewhere == origin.is_elsewhere(record, TOPIC_ID)
    assert origin.is_elsewhere(record, None)
