"""Event times fill a span, with more events by day than by night and fewer at weekends."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from streamapp.samples.rhythm import Rhythm, Span

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def times(start: datetime, length: timedelta, count: int) -> list[datetime]:
    """Return all event times."""
    rhythm = Rhythm(Span(start=start, end=start + length), count)
    return [datetime.fromtimestamp(rhythm.event_time(index) / 1000, UTC) for index in range(count)]


@pytest.mark.parametrize("length", [timedelta(seconds=7), timedelta(minutes=50), timedelta(days=90)])
@pytest.mark.parametrize("count", [1, 2, 1_000])
def test_all_times_are_within_the_span_and_increase(length: timedelta, count: int) -> None:
    """Whatever its length."""
    found = times(MONDAY + timedelta(hours=3, seconds=11), length, count)

    assert all(earlier <= later for earlier, later in pairwise(found))
    assert MONDAY + timedelta(hours=3, seconds=11) <= found[0]
    assert found[-1] < MONDAY + timedelta(hours=3, seconds=11) + length


def test_every_hour_has_events_and_the_afternoon_has_five_times_those_of_the_night() -> None:
    """On a weekday."""
    hours = Counter(at.hour for at in times(MONDAY, timedelta(days=1), 24_000))

    assert 24 == len(hours)
    assert hours[3] * 4 < hours[15] < hours[3] * 6


def test_a_weekend_has_fewer_events() -> None:
    """Of each week."""
    days = Counter(at.weekday() for at in times(MONDAY, timedelta(days=28), 70_000))

    assert days[5] == pytest.approx(days[2] * 0.6, rel=0.01)
    assert days[6] == pytest.approx(days[5], rel=0.01)


def test_no_day_is_empty_in_90_days_of_few_events() -> None:
    """So that each chart is full."""
    assert 90 == len({at.date() for at in times(MONDAY, timedelta(days=90), 1_000)})
