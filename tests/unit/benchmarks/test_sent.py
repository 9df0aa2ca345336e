"""What a program has stored is compared field by field with what was sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks.sent import SentEvents

PLACE = {"topic": "user_events", "partition": 1, "offset": 7, "timestamp": 1_790_000_000_123}
STORED_PLACE = {**PLACE, "timestamp": datetime.fromtimestamp(1_790_000_000.123, UTC).replace(tzinfo=None)}


def event(**changed: Any) -> dict[str, Any]:
    """An event, as it is sent and as it is stored."""
    metadata = {"device": "mobile", "location": "US"}
    same = {"user_id": "user-0001", "event_type": "click", "event_timestamp": 1, "browser": None, "schema_id": 1}
    return {"metadata": metadata, **same, **changed}


def sent() -> SentEvents:
    """One event was sent."""
    found = SentEvents()
    found.add(event(), PLACE)
    return found


@pytest.mark.parametrize("place", [PLACE, STORED_PLACE])
def test_stored_as_sent(place: dict[str, Any]) -> None:
    """The timestamp may be a date, and the program may add fields."""
    document = event(_id=1, received_at=datetime.now(UTC), kafka=place)

    assert (0, 0) == (sent().wrong([document], with_place=True), sent().wrong([document], with_place=False))


@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": "user-0002"},
        {"event_timestamp": 2},
        {"browser": "chrome"},
        {"schema_id": 2},
        {"metadata": {"device": "mobile", "location": "DE"}},
        {"metadata": {"device": "mobile"}},
    ],
)
def test_other_value_is_wrong(changed: dict[str, Any]) -> None:
    """Each field counts, also those of embedded documents."""
    assert 1 == sent().wrong([event(**changed)], with_place=False)


def test_missing_field_is_wrong() -> None:
    """A field that is null was sent; a document without it is another one."""
    document = event()
    del document["browser"]

    assert 1 == sent().wrong([document], with_place=False)


@pytest.mark.parametrize("changed", [{"offset": 8}, {"partition": 2}, {"topic": "others"}, {"timestamp": 1}])
def test_other_place_is_wrong(changed: dict[str, Any]) -> None:
    """Only where the program stores the place."""
    document = event(kafka={**PLACE, **changed})

    assert (1, 0) == (sent().wrong([document], with_place=True), sent().wrong([document], with_place=False))


def test_event_stored_twice_is_wrong() -> None:
    """One of the two is as it was sent."""
    assert 1 == sent().wrong([event(), event()], with_place=False)
