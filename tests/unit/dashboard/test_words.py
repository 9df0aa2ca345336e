"""Numbers and instants as the page writes them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dashboard import words
from tests.dashboard_fakes import NOON


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.0%"), (0.0004, "<0.1%"), (0.7, "70.0%"), (0.9996, ">99.9%"), (1.0, "100.0%")],
)
def test_percent_is_never_all_or_nothing_unless_it_is(share: float, text: str) -> None:
    """One V1 event in a million keeps adoption below 100 %."""
    assert text == words.percent(share)


def test_numbers_have_full_digits_and_thousands_separators() -> None:
    """20,000, not 20k."""
    assert "1,020,000" == words.number(1_020_000)


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
    assert text == words.age(timedelta(seconds=seconds))


def test_instant_of_another_day_has_its_date() -> None:
    """12:00:30 alone would be taken for today."""
    assert "12:00:30 UTC" == words.instant(NOON, today=NOON)
    assert "2026-03-01 12:00:30 UTC" == words.instant(NOON, today=NOON + timedelta(days=1))


def test_estimated_total_is_marked() -> None:
    """A number that can be off is not shown as if it could not."""
    assert "20,000 all time" == words.all_time(20_000, is_exact=True)
    assert "≈ 20,000 all time" == words.all_time(20_000, is_exact=False)
