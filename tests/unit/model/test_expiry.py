"""Which events MongoDB may have deleted because of their age."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamapp.model.expiry import CLOCK_TOLERANCE, Expiry

NOW = datetime(2026, 11, 29, tzinfo=UTC)
DAY = timedelta(days=1)


def test_without_a_retention_no_event_was_deleted() -> None:
    """Not even one of the earliest time that a BSON date can hold."""
    assert Expiry().before(NOW) is None
    assert Expiry().before_ms(NOW) == -(2**63)


def test_events_are_deleted_by_the_retention_that_reached_furthest() -> None:
    """What a shorter retention deleted stays deleted after the retention was made longer or removed."""
    assert NOW - 7 * DAY + CLOCK_TOLERANCE == Expiry(retention=7 * DAY).before(NOW)
    assert NOW - 3 * DAY + CLOCK_TOLERANCE == Expiry(7 * DAY, deleted_before=NOW - 3 * DAY).before(NOW)
    assert NOW - 2 * DAY + CLOCK_TOLERANCE == Expiry(2 * DAY, deleted_before=NOW - 3 * DAY).before(NOW)
    assert NOW - 3 * DAY + CLOCK_TOLERANCE == Expiry(deleted_before=NOW - 3 * DAY).before(NOW)


def test_the_instant_in_milliseconds() -> None:
    """Kafka's timestamps have this unit."""
    before = Expiry(retention=DAY).before(NOW)
    assert before is not None
    assert int(before.timestamp() * 1000) == Expiry(retention=DAY).before_ms(NOW)
