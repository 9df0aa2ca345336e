"""Events are counted in the right bucket of every level, whatever the order of their times."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from datasketches import hll_union
from hypothesis import given
from hypothesis import strategies as st

from streamapp.rollups.counting import EventCounts, Events
from streamapp.rollups.keys import CUBE, LG_K, MAPS, key_of, keys_of
from streamapp.rollups.levels import LEVELS, Level
from tests.support.factories import NO_VALUES, NOW

MINUTE = LEVELS[0]


def some_events(times: list[int]) -> Events:
    """Return an event for each time; types, locations and users repeat."""
    values = [NO_VALUES._replace(event_type=f"t{n % 5}", location=f"l{n % 3}") for n in range(len(times))]
    return Events(times, [f"u{n % 7}" for n in range(len(times))], values)


def expected(events: Events, level: Level) -> dict[int, tuple[Counter[str], Counter[str], set[str]]]:
    """Return types, locations and users by bucket, counted one by one."""
    buckets: dict[int, tuple[Counter[str], Counter[str], set[str]]] = {}
    for at, user, values in zip(*events, strict=True):
        types, locations, users = buckets.setdefault(level.start_of(at), (Counter(), Counter(), set()))
        types[key_of(values.event_type)] += 1
        locations[key_of(values.location)] += 1
        users.add(user)
    return buckets


@given(st.lists(st.integers(NOW - 3 * 86_400_000, NOW) | st.integers(NOW - 120_000, NOW), max_size=60), st.booleans())
def test_any_times_are_counted_at_every_level(times: list[int], from_the_finest: bool) -> None:
    """Whichever level is asked for first."""
    events = some_events(times)
    counts = EventCounts(events)

    for level in LEVELS if from_the_finest else reversed(LEVELS):
        buckets, wanted = counts.at(level), expected(events, level)
        assert set(buckets) == wanted.keys()
        assert len(buckets) == len(wanted)
        for start, delta in buckets.items():
            types, locations, users = wanted[start]
            maps = dict(zip(MAPS, delta.maps, strict=True))
            assert (types, locations) == (maps["types"], maps["locations"])
            assert types == {
                key: sum(n for cell, n in delta.cells.items() if keys_of(cell)[CUBE.index("types")] == key)
                for key in types
            }
            assert sum(delta.cells.values()) == types.total() == delta.n
            union = hll_union(LG_K)
            delta.add_users_to(union)
            assert union.get_estimate() == pytest.approx(len(users), rel=0.01)


def test_events_of_one_minute_are_counted_once_for_all_levels() -> None:
    """It is the usual case, and the counts of thousands of events take milliseconds."""
    counts = EventCounts(some_events([NOW] * 50))

    deltas = [delta for level in reversed(LEVELS) for delta in counts.at(level).values()]

    assert len(deltas) == len(LEVELS)
    assert all(delta is deltas[0] for delta in deltas)


@pytest.mark.parametrize("n", [3, 40])
def test_the_users_of_a_delta_can_be_added_to_several_sketches(n: int) -> None:
    """Few and many; also to a sketch that holds some of them."""
    (delta,) = EventCounts(some_events([NOW] * n)).at(MINUTE).values()
    many = EventCounts(Events([NOW] * n, [f"u{number}" for number in range(n)], [NO_VALUES] * n)).at(MINUTE)
    first, second = hll_union(LG_K), hll_union(LG_K)

    delta.add_users_to(first)
    for each in (*many.values(), *many.values(), delta):
        each.add_users_to(second)

    assert [min(n, 7), n] == [round(first.get_estimate()), round(second.get_estimate())]


def test_a_bucket_is_counted_when_it_is_read() -> None:
    """So the counts of a week of minutes are not in memory at the same time."""
    source = random.Random(1)
    buckets = EventCounts(some_events([NOW - source.randrange(86_400_000) for _ in range(300)])).at(MINUTE)
    first, second, *_ = buckets

    kept = buckets[first]

    assert buckets[first] is kept
    assert buckets[second] is not kept
    assert buckets[first] is not kept
