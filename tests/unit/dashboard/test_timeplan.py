"""From range to window and buckets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import timeplan
from dashboard.timeplan import DEFAULT, RANGES, Range

NOW = datetime(2026, 3, 1, 12, 0, 30, 123_456, tzinfo=UTC)
INSTANTS = st.datetimes(
    min_value=datetime(1999, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def test_default_is_the_last_15_minutes() -> None:
    """The range that nobody chose."""
    assert timedelta(minutes=15) == DEFAULT.length


@pytest.mark.parametrize("key", [None, "", "2 weeks"])
def test_unknown_range_is_the_default(key: str | None) -> None:
    """An address with a range that is not offered still shows a page."""
    assert timeplan.range_named(key) is DEFAULT


@pytest.mark.parametrize("chosen", RANGES, ids=lambda chosen: chosen.key)
def test_range_is_found_by_its_key(chosen: Range) -> None:
    """Every offered range can be chosen."""
    assert timeplan.range_named(chosen.key) is chosen


def test_window_ends_with_the_running_bucket() -> None:
    """The whole range, plus the part of the minute that has passed."""
    shown = timeplan.window(DEFAULT, NOW)

    assert datetime(2026, 3, 1, 11, 45, tzinfo=UTC) == shown.start
    assert datetime(2026, 3, 1, 12, 1, tzinfo=UTC) == shown.end


@given(chosen=st.sampled_from(RANGES), now=INSTANTS)
def test_window_holds_the_range_in_whole_buckets(chosen: Range, now: datetime) -> None:
    """Never less than was asked for, never a bucket more, and all of one width."""
    shown = timeplan.window(chosen, now)

    assert shown.start <= now - chosen.length < shown.start + shown.width
    assert shown.end - shown.width <= now < shown.end
    assert shown.buckets[0] == shown.start
    assert shown.buckets[-1] + shown.width == shown.end
    assert len(shown.buckets) <= 180


@given(at=INSTANTS, width=st.sampled_from([chosen.bucket for chosen in RANGES]))
def test_bucket_holds_its_instant(at: datetime, width: timedelta) -> None:
    """The start is not after the instant, and less than a width before."""
    start = timeplan.bucket_start(at, width)

    assert start <= at < start + width


@given(ms=st.integers(min_value=-(10**11), max_value=4 * 10**12))
def test_milliseconds_come_back(ms: int) -> None:
    """No rounding on the way to an instant and back."""
    assert ms == timeplan.to_ms(timeplan.from_ms(ms))
