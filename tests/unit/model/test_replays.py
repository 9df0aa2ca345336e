"""Replayed dead letters are recognised by their coordinates, or by their signature."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from streamapp.kafka.dead_letter_contents import headers_of
from streamapp.model import replays
from tests.support.factories import TOPIC_ID, FakeRecord, a_letter

KEY = b"a key"
VALUE = b"\x01broken"


def a_replay(signing_key: bytes | None, **changes: Any) -> FakeRecord:
    """Return the record of a replayed dead letter of offset 7, signed with this key."""
    headers = headers_of(a_letter(offset=7), failed_at=datetime(2026, 1, 1, tzinfo=UTC), signing_key=signing_key)
    return FakeRecord(**{"value": VALUE, "offset": 20, "headers": tuple(headers), **changes})


def believed(record: FakeRecord, key: bytes | None) -> list[int]:
    """Return the offset that is believed."""
    found = replays.claims([record], record.topic, record.partition, TOPIC_ID, key)
    found.resolve({})
    return [origin.offset for origin in found.believed.values()]


def test_with_a_key_only_a_signature_is_believed() -> None:
    """Without one, the order of the offsets is enough."""
    assert [7] == believed(a_replay(None), None)
    assert [7] == believed(a_replay(KEY), KEY)
    assert not believed(a_replay(None), KEY)
    assert not believed(a_replay(b"another key"), KEY)


@pytest.mark.parametrize("offset", [7, 6])
def test_a_record_is_no_replay_of_itself_or_of_a_later_record(offset: int) -> None:
    """Not even once the later one is a dead letter."""
    record = a_replay(None, offset=offset)
    found = replays.claims([record], record.topic, record.partition, TOPIC_ID, None)

    assert ({}, {}, [offset]) == (found.believed, found.doubtful, found.refused)


@pytest.mark.parametrize("name", ["topic", "partition", "offset", "timestamp", "incarnation", "attempt", "reason"])
def test_the_signature_is_of_the_coordinates(name: str) -> None:
    """A header that was changed makes it invalid."""
    record = a_replay(KEY)
    changed = [(n, b"9" if n == f"streamapp.{name}" else value) for n, value in record.headers]

    assert not believed(record._replace(headers=changed), KEY)


@pytest.mark.parametrize("change", [{"value": b"another"}, {"value": None}, {"key": b"another"}])
def test_the_signature_is_of_key_and_value(change: dict[str, Any]) -> None:
    """The headers of a dead letter do not fit another record."""
    assert not believed(a_replay(KEY, **change), KEY)


def test_a_stale_signature_is_removed() -> None:
    """A letter of a worker without a key has no signature."""
    letter = a_letter(headers=(("streamapp.signature", b"stale"),))

    assert "streamapp.signature" not in dict(headers_of(letter, failed_at=datetime(2026, 1, 1, tzinfo=UTC)))
