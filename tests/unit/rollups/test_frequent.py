"""A rollup of very many values counts the most frequent ones, and knows how far each count can be off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from streamapp.model.record import PartitionId
from streamapp.rollups import cells, frequent, recount
from streamapp.rollups import rollup as rollups
from streamapp.rollups.keys import CUBE, MAPS, MAX_CELLS, MAX_KEYS, NULL, OTHER, cell_of, id_of, keys_of
from streamapp.rollups.levels import LEVELS
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.recount import Recount, difference
from streamapp.rollups.rollup import Rollup
from tests.support.factories import NOW, TOPIC_ID
from tests.support.rollup_factory import Document, an_event

PARTITION = PartitionId(TOPIC_ID, 0)
DAY = LEVELS[-1]
TYPES, DEVICES, BROWSERS = (CUBE.index(name) for name in ("types", "devices", "browsers"))


@contextmanager
def limits(keys: int, of_cells: int) -> Iterator[None]:
    """Limit the numbers of keys and cells."""
    with (
        patch.object(frequent, "MAX_KEYS", keys),
        patch.object(recount, "MAX_KEYS", keys),
        patch.object(cells, "MAX_CELLS", of_cells),
        patch.object(rollups, "MAX_CELLS", of_cells),
        patch.object(rollups, "MAX_KEYS", keys),
    ):
        yield


def rollup(batches: Iterable[Sequence[Document]], found: Document | None = None) -> Rollup:
    """Return the rollup of the day in which all events are; each batch is added to what was stored before."""
    counted = Rollup(id_of(PARTITION, DAY.start_of(NOW)), found)
    for batch in batches:
        (delta,) = PendingCounts.of(batch).after(-1, DAY).values()
        counted = Rollup(counted.id, counted.document())
        counted.add(delta)
    return counted


def bounds(counted: Rollup, name: str, key: str) -> frequent.Bounds:
    """Return the least and the greatest number of events with a key."""
    return frequent.bounds(counted.maps[name], counted.errors.get(name, {}), key)


def truth(batches: Iterable[Sequence[Document]]) -> Counter[tuple[str, str, str]]:
    """Return the events by type, device and browser, counted one by one."""
    return Counter(
        (event["event_type"], event["metadata"]["device"], event["browser"] or NULL)
        for batch in batches
        for event in batch
    )


def passing(counts: Mapping[str, int], wanted: Mapping[int, str]) -> tuple[int, int]:
    """Return the least and the greatest number of events that have the wanted keys, by position."""
    found = {
        cell: n for cell, n in counts.items() if all(keys_of(cell)[at] in {key, OTHER} for at, key in wanted.items())
    }
    sure = sum(n for cell, n in found.items() if all(keys_of(cell)[at] == key for at, key in wanted.items()))
    return sure, sum(found.values())


events = st.builds(
    lambda type_, device, browser: an_event(
        0, event_type=f"t{type_}", metadata={"device": f"d{device}", "location": f"l{type_}"}, browser=browser
    ),
    st.integers(0, 9),
    st.integers(0, 4),
    st.sampled_from([None, "chrome", "edge"]),
)


def numbered(batches: Sequence[Sequence[Document]]) -> list[list[Document]]:
    """Return the events with their own offsets."""
    offsets = iter(range(1_000_000))
    return [
        [
            {**an_event(offset), **{name: event[name] for name in ("event_type", "metadata", "browser")}}
            for event, offset in zip(batch, offsets, strict=False)
        ]
        for batch in batches
    ]


@given(st.lists(st.lists(events, min_size=1, max_size=40), min_size=1, max_size=8))
def test_bounds_hold_for_any_events(given_batches: Sequence[Sequence[Document]]) -> None:
    """Of each value, of each combination of filters, and of values that are not held; the sums stay complete."""
    batches = numbered(given_batches)
    with limits(4, 10):
        counted = rollup(batches)
        again = Recount([DAY])
        again.add(sorted((event for batch in batches for event in batch), key=lambda event: event["event_type"]), {})
        (wanted,) = again.rollups[DAY].values()
        assert difference(counted, wanted) is None

    true, n = truth(batches), sum(map(len, batches))
    assert {n} == {counted.n, sum(counted.cells.values()), *(sum(counted.maps[name].values()) for name in MAPS)}
    assert len(counted.cells) <= 10
    for name, at in (("types", 0), ("devices", 1), ("browsers", 2)):
        of_name = Counter[str]()
        for keys, events_ in true.items():
            of_name[keys[at]] += events_
        assert len(counted.maps[name].keys() - {OTHER}) <= 4
        assert all(error * 4 <= n for error in counted.errors.get(name, {}).values())
        for key in [*of_name, "absent"]:
            assert bounds(counted, name, key).least <= of_name[key] <= bounds(counted, name, key).most
            least, most = passing(counted.cells, {CUBE.index(name): key})
            assert least <= of_name[key] <= most
    for keys, events_ in true.items():
        least, most = passing(counted.cells, dict(zip((TYPES, DEVICES, BROWSERS), keys, strict=True)))
        assert least <= events_ <= most


def test_the_most_frequent_value_is_held_whenever_it_comes() -> None:
    """Among thousands of values that come once, before or after it, and it is counted to within 1 %."""
    once = [an_event(n, event_type=f"once-{n}") for n in range(5_000)]
    often = [an_event(n, event_type="often") for n in range(5_000, 8_000)]
    mixed = [event for n in range(1_000) for event in (*once[5 * n : 5 * n + 5], *often[3 * n : 3 * n + 3])]

    for order in (once + often, often + once, mixed):
        counted = rollup(order[at : at + 500] for at in range(0, len(order), 500))
        least, most = bounds(counted, "types", "often")
        assert least <= 3_000 <= most
        assert most - least <= 80
        assert max(counted.maps["types"], key=lambda key: (key != OTHER) * counted.maps["types"][key]) == "often"
        assert bounds(counted, "types", "never").most <= 80


def test_a_value_that_was_held_from_the_start_is_counted_exactly() -> None:
    """Values that come once do not change that."""
    batches = [
        [an_event(0, event_type="often"), *(an_event(n, event_type=f"{b} {n}") for n in range(1, 200))]
        for b in range(9)
    ]
    often = [[an_event(n, event_type="often") for n in range(300)]]

    assert bounds(rollup([*often, *batches]), "types", "often") == (309, 309)


def test_up_to_the_limit_a_rollup_is_exact_and_has_no_errors() -> None:
    """Its document is the one that earlier releases stored."""
    batches = [[an_event(n, event_type=f"t{n % MAX_KEYS}") for n in range(250)] for _ in range(3)]

    document = rollup(batches).document()

    assert "errors" not in document
    assert {f"t{n}": 9 - 3 * (n >= 50) for n in range(MAX_KEYS)} == document["types"]
    assert [f"t{n}" for n in range(MAX_KEYS)] == [*document["types"]]


def test_errors_are_stored_for_the_maps_beyond_the_limit_only() -> None:
    """The key for all others has the error of every value that is not held."""
    document = rollup([[an_event(n, event_type=f"t{n:03}", browser="edge") for n in range(150)]] * 2).document()

    assert ["types"] == [*document["errors"]]
    assert document["errors"]["types"][OTHER] == 2


def test_a_filter_by_few_values_is_exact_beside_a_dimension_with_many() -> None:
    """Values that a map does not hold are the other values of its cells."""
    batch = [
        an_event(n, event_type=f"once-{n}", metadata={"device": f"d{n % 3}", "location": "DE"}, browser=f"b{n % 5}")
        for n in range(6_000)
    ]

    counted = rollup(batch[at : at + 400] for at in range(0, len(batch), 400))

    assert len(counted.cells) <= MAX_CELLS
    assert (2_000, 2_000) == passing(counted.cells, {DEVICES: "d1"})
    assert (400, 400) == passing(counted.cells, {DEVICES: "d1", BROWSERS: "b2"})


def test_many_cells_of_few_values_lose_the_rarest_keys_of_the_widest_dimension() -> None:
    """The maps stay exact, and so do filters by the other dimensions."""
    batch = [
        an_event(
            n, event_type=f"t{n % 40:02}", metadata={"device": f"d{n // 40}", "location": "DE"}, browser=f"b{n % 3}"
        )
        for n in range(40 * 35)
    ]
    often = [an_event(n, event_type="t39", metadata={"device": f"d{n % 35}", "location": "DE"}) for n in range(70)]

    counted = rollup([often, batch])

    assert not counted.errors
    assert len(counted.cells) <= MAX_CELLS < len(truth([batch, often]))
    assert all(passing(counted.cells, {DEVICES: f"d{n}"}) == (42, 42) for n in range(35))
    assert passing(counted.cells, {TYPES: "t39"})[0] == 105
    assert passing(counted.cells, {TYPES: "t38"})[0] == 0


def first_come() -> Document:
    """Return a rollup of a release that kept the first keys, without most of its fields."""
    types = {f"t{n}": 2 for n in range(MAX_KEYS)} | {OTHER: 50}
    n = sum(types.values())
    others = {name: {NULL: n} for name in MAPS if name != "types"}
    found = {cell_of([key, *[NULL] * (len(CUBE) - 1)]): n for key, n in types.items()}
    return {"n": n, "offset": 7, **others, "types": types, "cells": found}


def test_a_rollup_of_the_first_values_stays_one() -> None:
    """Its held values are exact, and another value can have all events of the others; a rebuild is due."""
    counted = rollup([[an_event(8, event_type="t0"), an_event(9, event_type="new")]], first_come())
    types = counted.maps["types"]

    assert (3, 51) == (types["t0"], types[OTHER])
    assert not counted.errors
    assert not counted.is_complete
    assert (0, 51) == frequent.bounds(types, frequent.errors_of(types, None), "new")
    assert 1 == sum(n for cell, n in counted.cells.items() if keys_of(cell)[:2] == [OTHER, "mobile"])
    wanted = rollup([[an_event(n, event_type=f"t{n % 150}") for n in range(252)]])
    assert "types: an earlier release counted the first 100 values" in str(difference(counted, wanted))


def test_wrong_counts_are_found_beyond_the_limit_too() -> None:
    """A count outside its range, an error beyond what the algorithm allows, a sum, and cells."""
    events_ = [an_event(n, event_type="often" if n % 2 else f"once-{n}") for n in range(1_000)]
    wanted = rollup([events_])

    def changed(name: str, **changes: int) -> Rollup:
        document = wanted.document()
        errors = {"types": {**document["errors"]["types"], **changes}}
        return Rollup(
            wanted.id, document | ({"errors": errors} if name == "errors" else {name: document[name] | changes})
        )

    assert difference(changed("types"), wanted) is None
    assert difference(changed("types", often=498), wanted) == "types: 'often' is 498, and must be 500"
    assert difference(changed("types", never=9), wanted) == "types: 'never' is 9, and must be 0 to 1"
    assert difference(changed("errors", **{OTHER: 60}), wanted) == "types: an error is 60, and must be at most 10"
    assert str(difference(changed("types", **{OTHER: 1}), wanted)).startswith("types: ")
    lost = Rollup(wanted.id, wanted.document() | {"cells": {}})
    assert str(difference(lost, wanted)).startswith("cells: ")


def test_nothing_is_counted_as_other_without_keys() -> None:
    counts = {"a": 1}

    assert frozenset() == frequent.count_as_other(counts, [])
    assert {"a": 1} == counts


def test_all_keys_become_other_if_no_cell_fits() -> None:
    """The loop over the dimensions ends by itself."""
    keys = tuple(f"key of {name}" for name in CUBE)
    with limits(3, 0):
        limited = cells.limit({keys: 2}, [{key: 2} for key in keys], lambda name, key: 2)

    assert [(OTHER,) * len(CUBE)] == [*limited]
