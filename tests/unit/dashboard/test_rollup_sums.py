"""Rollups that are summed tell what the events tell."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dashboard.data import cell_sums, rollup_sums
from dashboard.model import snapshot, time_window
from dashboard.model.snapshot import IN_CELLS, Counts, Filter
from dashboard.model.time_window import DEFAULT
from streamapp.rollups import cells, frequent, keys, rollup
from tests.support.doubles.dashboard_reader import NOON, FakeReader, document, v1
from tests.support.rollup_factory import rollups

WINDOW = time_window.window(DEFAULT, NOON)
BEFORE = NOON - timedelta(minutes=5)
EVENTS = [
    v1(),
    v1(BEFORE, user_id="user-2"),
    document(event_type="a.b$c|d", metadata={"device": None, "location": "a%b"}),
    document(browser=None, kafka={"topic": "t", "partition": 3, "offset": 7}),
    document(schema_version="unregistered"),
]


def read(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rollups as MongoDB gives them back: with the bucket as an instant."""
    return [
        {**rollup, "bucket": time_window.from_ms(int(rollup["bucket"]))} for rollup in rollups(events, WINDOW.level)
    ]


def counts(found: list[dict[str, Any]], wanted: Filter) -> Counts:
    """Return the sum of all rollups, in one part."""
    return rollup_sums.counts([rollup_sums.sums(found, wanted)], wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(types=("a.b$c|d", "click")),
        Filter(browsers=("not given",), versions=("v1",)),
        Filter(devices=("fridge",)),
        Filter(versions=("unregistered",)),
    ],
)
def test_sums_equal_a_recount(wanted: Filter) -> None:
    """With a filter and without, over partitions and buckets."""
    reader = FakeReader(EVENTS)
    reader.most_by_value = 0
    expected = reader.found(WINDOW, wanted, settled_at=NOON).counts

    counted = counts(read(EVENTS), wanted)

    assert expected.by_bucket == counted.by_bucket
    assert expected.by_value == counted.by_value
    assert expected.options == counted.options
    assert counted.users is None if wanted else round(counted.users or 0) == expected.users


@pytest.mark.parametrize("wanted", [Filter(), Filter(types=("click",))])
def test_a_window_is_what_is_finished_and_what_is_running(wanted: Filter) -> None:
    """Users of both are counted once."""
    found = read([*EVENTS, v1(user_id="user-2"), v1(BEFORE, user_id="user-3")])
    finished, running = (
        [each for each in found if (each["bucket"] < WINDOW.finished_end) is is_finished]
        for is_finished in (True, False)
    )

    whole, first = rollup_sums.of_window(
        [rollup_sums.sums(finished, wanted)], [rollup_sums.sums(running, wanted)], wanted
    )

    assert counts(found, wanted) == whole
    assert counts(finished, wanted) == first
    assert 0 < first.total < whole.total


@pytest.mark.parametrize("wanted", [Filter(), Filter(types=("click", "none"))])
def test_no_rollups_are_no_events(wanted: Filter) -> None:
    """Known to be none; what is selected is offered."""
    for nothing in (counts([], wanted), rollup_sums.counts([], wanted)):
        assert (0, None if wanted else 0) == (nothing.total, nothing.users)
        assert wanted.selected("types") == nothing.options["types"]


def test_values_beyond_the_cap_are_all_others() -> None:
    """In one word with those that have no bar of their own."""
    events = [*(document(browser=f"browser-{i}") for i in range(120)), document(BEFORE, browser="browser-0")]

    found = counts(read(events), Filter())

    assert (20, 2) == (found.by_value["browsers"]["all others"], found.by_value["browsers"]["browser-0"])
    # One event of each value that was replaced, and none in the rollup whose counts are exact.
    assert (1, 0) == (found.error("browsers", "another"), found.error("browsers", "browser-0"))


def test_nulls_of_a_version_beyond_the_cap_have_an_unknown_label() -> None:
    """It is not known whether their schema has the field: they count as all others, and each label can have them."""
    versions = ["v1", *2 * [f"v{2 + i}" for i in range(120)]]

    found = counts(read([document(browser=None, schema_version=version) for version in versions]), Filter())

    assert {"not given": 239, "all others": 2} == found.by_value["browsers"]
    assert [2, 2] == [found.error("browsers", label) for label in ("not given", "n/a (v1)")]


def test_events_of_a_rollup_that_is_older_than_a_dimension_are_not_counted_by_it() -> None:
    """The page says so, and does not offer it as a value to filter by."""
    (rollup,) = read([document(), document(metadata={"device": "tv", "location": "DE"})])
    del rollup["devices"]

    counted = counts([rollup], Filter())

    assert {"not counted": 2} == counted.by_value["devices"]
    assert () == counted.options["devices"]


def test_events_of_a_cell_that_is_older_than_a_dimension_have_no_value_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """They pass filters by other dimensions only, and "not counted" is no value to filter by."""
    found = read([document(), document(event_type="search")])
    names = (*IN_CELLS, "referrers")
    for module, name in (
        (keys, "CUBE"),
        (cell_sums, "IN_CELLS"),
        (snapshot, "FILTERS"),
        (snapshot, "IN_CELLS"),
        (rollup_sums, "FILTERS"),
    ):
        monkeypatch.setattr(module, name, names)

    by_type = counts(found, Filter(types=("click",)))

    assert {"click": 1} == by_type.by_value["types"]
    assert (("click", "search"), ()) == (by_type.options["types"], by_type.options["referrers"])
    assert counts(found, Filter(referrers=("mail",))).total == 0


def test_a_filter_by_an_unknown_dimension_is_an_error() -> None:
    """It would select everything."""
    with pytest.raises(TypeError, match="colours"):
        Filter(colours=("red",))


ODD = [None, "", "not given", "all others", "n/a (v1)", "x" * 150]
#: Labels by which the events below are filtered: of held and rare values, of null, of odd texts, and of no event.
SELECTED = {
    "types": ["t0", "t1", "t2", "t9", "not given", '"all others"', "x" * 99 + "…", "none"],
    "devices": ["d0", "d1", "not given", '""'],
    "browsers": ["b0", "b1", "n/a (v1)", "not given", '"not given"'],
    "versions": ["v1", "v2", "unregistered"],
    "locations": ["t0", "t1", "t9", "not given", '""', '"all others"', "x" * 99 + "…", "none"],
}


@given(
    st.integers(0, 1_000_000),
    st.fixed_dictionaries(
        {},
        optional={
            name: st.lists(st.sampled_from(chosen), min_size=1, max_size=2, unique=True).map(tuple)
            for name, chosen in SELECTED.items()
        },
    ),
    st.sampled_from([(3, 8), (3, 500), (100, 8), (100, 1_000)]),
)
@example(seed=0, selected={"locations": ("none",)}, limits=(100, 1_000))
def test_bounds_hold_for_any_values_and_filters(
    seed: int, selected: dict[str, tuple[str, ...]], limits: tuple[int, int]
) -> None:
    """Whatever is beyond the limits of rollups; what is within them is exact."""
    draw = random.Random(seed)
    types = [*(f"t{min(int(draw.paretovariate(0.6)) - 1, 30)}" for _ in range(60)), *ODD]
    events = [
        document(
            NOON - timedelta(minutes=draw.randrange(3)),
            event_type=draw.choice(types),
            metadata={"device": draw.choice(["d0", "d1", None, ""]), "location": draw.choice(types)},
            browser=None if version == "v1" else draw.choice(["b0", "b1", "b2", "not given", None]),
            schema_version=version,
        )
        for version in draw.choices(["v1", "v2", "v3", "unregistered"], k=150)
    ]
    wanted = Filter(**selected)
    expected = FakeReader(events).found(WINDOW, wanted, settled_at=NOON).counts
    with (
        patch.object(frequent, "MAX_KEYS", limits[0]),
        patch.object(cells, "MAX_CELLS", limits[1]),
        patch.object(rollup, "MAX_CELLS", limits[1]),
    ):
        parts: dict[int, list[dict[str, Any]]] = {}
        for each in read(events):
            parts.setdefault(draw.randrange(3), []).append(each)
        found, _ = rollup_sums.of_window([rollup_sums.sums(part, wanted) for part in parts.values()], [], wanted)

    # A filter by a dimension that is not in cells tells nothing of the others, and beside another filter no value.
    known = IN_CELLS if wanted.is_in_cells else wanted.names if len(wanted.names) == 1 else ()
    assert found.total <= expected.total <= found.total + found.possible
    assert found.is_exact or limits != (100, 1_000) or not known
    for name, by_label in expected.by_value.items():
        if not by_label or (wanted and name not in known):
            continue
        for label in {*by_label, *found.by_value[name], "absent"} - {"all others"}:
            n = found.by_value[name].get(label, 0)
            assert n <= by_label.get(label, 0) <= n + found.error(name, label)
    if found.is_exact:
        assert _by_instant(expected) == _by_instant(found)
        assert not known or all(
            expected.by_value[name] == found.by_value[name] for name in {*known} & {*found.by_value}
        )
    if limits == (100, 1_000) and wanted.is_in_cells:
        assert expected.options == found.options
        assert expected.by_bucket == found.by_bucket


def _by_instant(found: Counts) -> Counter[datetime]:
    sums: Counter[datetime] = Counter()
    for (bucket, _), n in found.by_bucket.items():
        sums[bucket] += n
    return +sums


def test_gaps_are_where_no_bucket_has_a_rollup() -> None:
    """In the window and in the period before it; buckets that follow each other are one gap."""
    first, last = WINDOW.previous_start, WINDOW.end - WINDOW.width
    held = {first + i * WINDOW.width for i in range(2, 20)}

    gaps = rollup_sums.gaps(held | {last}, WINDOW)

    assert [(first, first + 2 * WINDOW.width), (first + 20 * WINDOW.width, last)] == gaps


@pytest.mark.parametrize("selected", [{}, {"types": ("click",)}])
def test_filter_by_a_dimension_that_is_not_in_cells(selected: dict[str, tuple[str, ...]]) -> None:
    """Alone its total is exact, in each bucket; beside another filter the smaller total is an upper bound."""
    wanted = Filter(locations=("DE", "none"), **selected)
    expected = FakeReader(EVENTS).found(WINDOW, wanted, settled_at=NOON).counts

    found = counts(read(EVENTS), wanted)

    assert 4 == expected.total == found.total + found.possible
    assert (0 if selected else 4) == found.total
    assert ({} if selected else {"DE": 4}) == found.by_value["locations"]
