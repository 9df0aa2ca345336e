"""Numbers and instants as the page writes them."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from dashboard.model import formatting, time_window
from dashboard.model.snapshot import Part, Users
from tests.support.doubles.dashboard_reader import NOON


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.0%"), (0.0004, "<0.1%"), (0.7, "70.0%"), (0.9996, ">99.9%"), (1.0, "100.0%")],
)
def test_percent_is_never_all_or_nothing_unless_it_is(share: float, text: str) -> None:
    """One V1 event in a million keeps adoption below 100 %."""
    assert text == formatting.percent(share)


def test_numbers_have_full_digits_and_thousands_separators() -> None:
    """20,000, not 20k."""
    assert "1,020,000" == formatting.number(1_020_000)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s ago"),
        (4.9, "4 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7_200, "2 h ago"),
        (200_000, "2 d ago"),
    ],
)
def test_age_in_its_largest_unit(seconds: float, text: str) -> None:
    """Short, and never negative when clocks differ."""
    assert text == formatting.age(timedelta(seconds=seconds))


def test_instant_of_another_day_has_its_date() -> None:
    """12:00:30 alone would be taken for today."""
    assert "12:00:30 UTC" == formatting.instant(NOON, today=NOON)
    assert "2026-03-01 12:00:30 UTC" == formatting.instant(NOON, today=NOON + timedelta(days=1))


def test_estimated_total_is_marked() -> None:
    """A number that can be off is not shown as if it could not."""
    assert "20,000 all time" == formatting.all_time(20_000, is_exact=True)
    assert "≈ 20,000 all time" == formatting.all_time(20_000, is_exact=False)


def test_instant_is_in_the_chosen_zone() -> None:
    """And says which one that is."""
    assert "13:00:30 Europe/Berlin" == formatting.instant(NOON, today=NOON, zone=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("share", "text"), [(None, None), (0.123, "+12.3%"), (-0.5, "-50.0%"), (12.0, "+1,200%"), (0.0, "+0.0%")]
)
def test_change_has_its_sign(share: float | None, text: str | None) -> None:
    """In percent of what was before."""
    assert text == formatting.change(share)


def test_difference_of_shares_is_in_points() -> None:
    """Not percent of percents."""
    assert "+2.5 pp" == formatting.points(0.025)
    assert formatting.points(None) is None


def test_estimated_users_are_marked() -> None:
    """By ~."""
    assert "~1,200" == formatting.users(Users(n=1_200, is_exact=False))
    assert "12" == formatting.users(Users(n=12, is_exact=True))


@pytest.mark.parametrize(
    ("key", "text"),
    [("1 h", "from 11:00 to now, UTC"), ("24 h", "from 2026-02-28 12:00 to now, UTC")],
)
def test_window_that_ends_now(key: str, text: str) -> None:
    """With its day when that is another one."""
    assert text == formatting.window(time_window.window(time_window.range_named(key), NOON))


@pytest.mark.parametrize(
    ("minutes", "text"),
    [
        (90, "from 2026-02-27 12:00 to 13:30, UTC"),
        (60 * 24, "from 2026-02-27 12:00 to 2026-02-28 12:00, UTC"),
    ],
)
def test_window_that_is_over(minutes: int, text: str) -> None:
    """Always with its day."""
    start = time_window.to_ms(NOON.replace(second=0) - timedelta(days=2))
    chosen = time_window.custom(str(start), str(start + minutes * 60_000))
    assert chosen

    assert text == formatting.window(time_window.window(chosen, NOON))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (0, ("1,000", "1,000", "1,000 · 50.0%", "1,000 · 50.0%")),
        (100, ("≥ 1,000", "1,000 to 1,100", "≥ 1,000 · ~50.0%", "1,000 to 1,100 · 50.0% to 55.0%")),
        (-1_000, ("≤ 1,000", "0 to 1,000", "≤ 1,000 · ~50.0%", "0 to 1,000 · 0.0% to 50.0%")),
    ],
)
def test_bounds_are_marked(error: int, expected: tuple[str, ...]) -> None:
    """Only a number that can be off has a mark."""
    part = Part(label="a value", n=1_000, of=2_000, error=error)

    assert expected == (
        formatting.count(part.least, part.most),
        formatting.between(part.least, part.most),
        formatting.part(part),
        formatting.part_bounds(part),
    )


def test_duration_is_in_its_largest_unit() -> None:
    assert ("60 s", "10 min") == tuple(formatting.duration(timedelta(minutes=minutes)) for minutes in (1, 10))
