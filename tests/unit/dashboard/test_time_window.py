"""From range to window and buckets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.model import time_window
from dashboard.model.time_window import DEFAULT, RANGES, Range
from streamapp.rollups.levels import LEVELS

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
    assert time_window.range_named(key) is DEFAULT


@pytest.mark.parametrize("chosen", RANGES, ids=lambda chosen: chosen.key)
def test_range_is_found_by_its_key(chosen: Range) -> None:
    """Every offered range can be chosen."""
    assert time_window.range_named(chosen.key) is chosen


def test_window_ends_with_the_running_bucket() -> None:
    """The whole range, plus the part of the minute that has passed."""
    shown = time_window.window(DEFAULT, NOW)

    assert datetime(2026, 3, 1, 11, 45, tzinfo=UTC) == shown.start
    assert datetime(2026, 3, 1, 12, 1, tzinfo=UTC) == shown.end


@given(chosen=st.sampled_from(RANGES), now=INSTANTS)
def test_window_holds_the_range_in_whole_buckets(chosen: Range, now: datetime) -> None:
    """Never less than was asked for, never a bucket more, and all of one width."""
    shown = time_window.window(chosen, now)

    assert shown.start <= now - chosen.length < shown.start + shown.width
    assert shown.end - shown.width <= now < shown.end
    assert shown.buckets[0] == shown.start
    assert shown.buckets[-1] + shown.width == shown.end
    assert len(shown.buckets) <= 181
    assert shown.finished_end - shown.start == shown.start - shown.previous_start


@given(at=INSTANTS, width=st.sampled_from([level.width for level in LEVELS]))
def test_bucket_holds_its_instant(at: datetime, width: timedelta) -> None:
    """The start is not after the instant, and less than a width before."""
    start = time_window.bucket_start(at, width)

    assert start <= at < start + width


@given(ms=st.integers(min_value=-(10**11), max_value=4 * 10**12))
def test_milliseconds_come_back(ms: int) -> None:
    """No rounding on the way to an instant and back."""
    assert ms == time_window.to_ms(time_window.from_ms(ms))


@pytest.mark.parametrize(
    ("key", "level"), [("1 h", "1m"), ("6 h", "10m"), ("24 h", "10m"), ("7 d", "1h"), ("30 d", "1d"), ("90 d", "1d")]
)
def test_level_is_as_fine_as_the_chart_can_show(key: str, level: str) -> None:
    """Longer ranges take coarser buckets."""
    assert level == time_window.window(time_window.range_named(key), NOW).level.name


def test_old_period_takes_the_level_that_is_still_kept() -> None:
    """The minutes of last month are gone, its hours are not."""
    start = time_window.to_ms(NOW - timedelta(days=60))
    chosen = time_window.custom(str(start), str(start + 3_600_000))
    assert chosen
    keep = dict(zip(LEVELS, (timedelta(days=7), timedelta(days=30), timedelta(days=400), None), strict=True))

    shown = time_window.window(chosen, NOW, keep)

    assert "1h" == shown.level.name
    assert not shown.is_running
    assert shown.finished_end == shown.end
    assert shown.start <= NOW - timedelta(days=60) < NOW - timedelta(days=60, hours=-1) <= shown.end


def test_period_before_is_kept_too() -> None:
    """Otherwise the change would be against the part of it that is left."""
    start = time_window.to_ms(NOW - timedelta(days=7) + timedelta(hours=1))
    chosen = time_window.custom(str(start), str(start + 7_200_000))
    assert chosen

    assert "10m" == time_window.window(chosen, NOW, {LEVELS[0]: timedelta(days=7)}).level.name


def test_what_nothing_holds_takes_the_coarsest_level() -> None:
    """It may be empty, and is not an error."""
    keep = dict.fromkeys(LEVELS, timedelta(days=1))
    chosen = time_window.custom("0", "3600000")
    assert chosen

    assert "1d" == time_window.window(chosen, NOW, keep).level.name


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        ("a", "1"),
        ("60000", "0"),
        ("0", "59999"),
        ("0", "9" * 30),
        ("0", "9" * 12),
        ("-60000", "0"),
        ("9" * 14, "1" + "0" * 14),
    ],
)
def test_address_without_a_usable_period(start: str | None, end: str | None) -> None:
    """It shows a range that ends now."""
    assert time_window.custom(start, end) is None


def test_custom_period_stays_where_it_is() -> None:
    """While time goes on; an end at a bucket's start adds no bucket."""
    chosen = time_window.custom("60000", "180000")
    assert chosen
    assert chosen.is_custom

    shown = time_window.window(chosen, NOW)

    assert (60_000, 180_000) == (time_window.to_ms(shown.start), time_window.to_ms(shown.end))


def test_box_over_a_chart_is_read_in_the_charts_zone() -> None:
    """In whichever direction it was drawn, and never shorter than a minute."""
    berlin = ZoneInfo("Europe/Berlin")

    assert (0, 120_000) == time_window.drawn(["1970-01-01 01:02", "1970-01-01T01:00:00.000"], berlin)
    assert (0, 60_000) == time_window.drawn(["1970-01-01 00:00", "1970-01-01 00:00:01.5"], UTC)


@pytest.mark.parametrize("edges", [[], ["1970-01-01"], ["a", "b"], [1.5, 2.5]])
def test_box_that_is_no_period(edges: list[Any]) -> None:
    """It is as if nothing was drawn."""
    assert time_window.drawn(edges, UTC) is None


def test_buckets_have_words() -> None:
    """After "per"."""
    assert "minute" == time_window.window(DEFAULT, NOW).bucket_words


def test_windows_of_a_range_that_ends_now_are_of_the_same_range() -> None:
    """A moment later too; those of different fixed periods are not, even if they are as long."""
    day = RANGES[3]
    periods = [Range(key="a", words="", length=timedelta(hours=1), start=NOW - timedelta(hours=n)) for n in (1, 2)]

    now, later = (time_window.window(day, NOW + timedelta(minutes=minutes)) for minutes in (0, 30))
    one, other = (time_window.window(period, NOW) for period in periods)

    assert now.range == later.range
    assert now != later
    assert 4 == len({now.range, one.range, other.range, time_window.window(DEFAULT, NOW).range})
