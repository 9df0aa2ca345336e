"""What users do, in numbers."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from datasketches import hll_sketch, tgt_hll_type
from hypothesis import given
from hypothesis import strategies as st

from dashboard.model import time_window, user_activity
from dashboard.model.snapshot import Filter
from dashboard.model.user_activity import Act, Activity, ActivityQuery, Day, NewUsers, funnel
from streamapp.rollups.keys import LG_K

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
MIDNIGHT = NOON.replace(hour=0, minute=0, second=0)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def acts(text: str, user: str = "u") -> list[Act]:
    """Return an event for each letter, one second after the other."""
    return [Act(user, letter, 1_000 * at) for at, letter in enumerate(text) if letter != " "]


def of(counted: int, top: dict[str, int], back_to: datetime | None = None) -> Activity:
    return Activity(counted=counted, users=9, top=tuple(top.items()), reached=(4, 1), counted_back_to=back_to)


@pytest.mark.parametrize(
    ("happened", "steps", "within", "expected"),
    [
        ("abc", "abc", HOUR, (1, 1, 1)),
        ("acb", "abc", HOUR, (1, 1, 0)),
        ("bca", "abc", HOUR, (1, 0, 0)),
        ("axxbxc", "abc", HOUR, (1, 1, 1)),
        ("a  b  c", "abc", 6 * SECOND, (1, 1, 1)),
        ("a  b  c", "abc", 5 * SECOND, (1, 1, 0)),
        ("a    a b", "ab", 2 * SECOND, (1, 1)),
        ("a", "aa", HOUR, (1, 0)),
        ("aa", "aa", HOUR, (1, 1)),
        ("aba", "aba", HOUR, (1, 1, 1)),
        ("", "ab", HOUR, (0, 0)),
        ("ab", "", HOUR, ()),
    ],
)
def test_steps_are_in_order_and_within_the_time(
    happened: str, steps: str, within: timedelta, expected: tuple[int, ...]
) -> None:
    """Other events may lie between; an event is one step only."""
    assert expected == funnel([acts(happened)], [*steps], within)


@given(happened=st.text("abc", max_size=8), steps=st.text("abc", min_size=1, max_size=4), seconds=st.integers(0, 8))
def test_funnel_equals_a_trial_of_all_ways(happened: str, steps: str, seconds: int) -> None:
    """Each choice of events, in their order."""
    events = acts(happened)
    expected = [
        any(
            tuple(act.label for act in chosen) == tuple(steps[:length])
            and chosen[-1].at_ms - chosen[0].at_ms <= seconds * 1_000
            for chosen in combinations(events, length)
        )
        for length in range(1, len(steps) + 1)
    ]

    assert tuple(map(int, expected)) == funnel([events], [*steps], seconds * SECOND)


def test_activity_counts_each_user() -> None:
    """Those with most events first, ties by name; events may be in any order."""
    window = time_window.window(time_window.DEFAULT, NOON)
    query = ActivityQuery(window=window, filter=Filter(), steps=("a", "b"), within=HOUR)
    events = [*acts("ab", "one"), *acts("ba", "two"), *acts("aab", "three")]

    found = user_activity.activity(reversed(events), query, None)

    assert (7, 3, (3, 2), None) == (found.counted, found.users, found.reached, found.counted_back_to)
    assert (("three", 3), ("one", 2), ("two", 2)) == found.top


def test_users_can_have_more_events_where_not_all_were_read() -> None:
    """As many as were not read."""
    exact = user_activity.top_users(of(10, {"u": 3, "": 2}), 10)
    cut = user_activity.top_users(of(10, {"u": 3}, NOON), 25)

    assert [("u", 3, 0), ('""', 2, 0)] == [(part.label, part.n, part.error) for part in exact]
    assert [15] == [part.error for part in cut]


def test_bars_of_the_funnel_are_shares_of_the_first_step() -> None:
    """Also if nobody did it."""
    assert [("1. a", 4, 4), ("2. b", 1, 4)] == [
        (part.label, part.n, part.of) for part in user_activity.steps_of(of(9, {}), ("a", "b"))
    ]
    nobody = Activity(counted=0, users=0, top=(), reached=(0, 0))
    assert [0.0, 0.0] == [part.share for part in user_activity.steps_of(nobody, ("a", "b"))]


def sketch(*users: int) -> bytes:
    made = hll_sketch(LG_K, tgt_hll_type.HLL_4)
    for user in users:
        made.update(f"user-{user}")
    return made.serialize_compact()


def test_new_users_of_a_day_were_on_no_day_before() -> None:
    """Exact for few users, over partitions and days."""
    chance, seen, expected = random.Random(3), set[int](), list[tuple[int, int]]()
    sketches: list[tuple[datetime, list[bytes]]] = []
    for day in range(5):
        users = {chance.randrange(80) for _ in range(30)}
        expected.append((len(users - seen), len(users)))
        seen |= users
        sketches.append((MIDNIGHT + timedelta(days=day), [sketch(*(u for u in users if u % 2 == p)) for p in (0, 1)]))

    shown = user_activity.new_users(user_activity.days(sketches), 4)

    assert expected[1:] == [(day.n, day.of) for day in shown]
    assert all(day.n == day.least == day.most for day in shown)


def test_new_users_of_many_are_an_estimate_with_bounds() -> None:
    """Which hold, and are not wider than the users of the day."""
    sketches = [(MIDNIGHT, [sketch(*range(5_000))]), (MIDNIGHT + timedelta(days=1), [sketch(*range(4_000, 6_000))])]

    first, second = user_activity.new_users(user_activity.days(sketches), 30)

    assert first.least <= 5_000 <= first.most * 1.04
    assert second.least <= 1_000 <= second.most <= second.of
    assert 2 == len(user_activity.new_users([Day(MIDNIGHT - timedelta(days=n), 1, 1) for n in (30, 29, 0)], 30))
    assert (0, 10, 10) == user_activity.new_users([Day(MIDNIGHT, 10, 1_000), Day(MIDNIGHT, 10, 999)], 1)[1][2:]
    assert user_activity.new_text(second).startswith("~")


def test_chart_of_the_days_is_stacked() -> None:
    """New users, and the others."""
    shown = (NewUsers(MIDNIGHT, 3, 3, 3, 10), NewUsers(MIDNIGHT + timedelta(days=1), 5, 2, 8, 9))

    chart = user_activity.days_chart(shown, 30).to_dict()

    assert {"New": [3, 5], "Returning": [7, 4]} == {bar["name"]: bar["y"] for bar in chart["data"]}
    assert ["2026-02-01T00:00:00", "2026-03-03T00:00:00"] == chart["layout"]["xaxis"]["range"]
    assert [["01 Mar 2026", "3", "10"], ["02 Mar 2026", "~5 (2 to 8)", "9"]] == chart["data"][0]["customdata"]
    assert "Users of 02 Mar 2026: 9, of whom new ~5 (2 to 8)." == user_activity.days_text(shown)
    assert "New and returning users: none." == user_activity.days_text(())
