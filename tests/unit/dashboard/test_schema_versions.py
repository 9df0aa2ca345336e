"""Versions of the schema in numbers, and in what two of them differ."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from dashboard.model import schema_figures, schema_versions, time_window
from dashboard.model.schema_versions import Difference, SchemaState, difference, shares
from dashboard.model.snapshot import Part, Series
from streamapp.compatibility.diff import What
from streamapp.compatibility.modes import Mode

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
SERIES = (Series(version="v1", per_bucket=(1, 0, 3)), Series(version="v2", per_bucket=(3, 0, 0)))


def version(number: int, *sources: Any) -> dict[str, Any]:
    """Return the document of a version."""
    return {"version": number, "schema_id": 10 + number, "sources": [json.dumps(each) for each in sources]}


def record(*names: str) -> dict[str, Any]:
    """Return a record of ints."""
    return {"type": "record", "name": "R", "fields": [{"name": name, "type": "int"} for name in names]}


def test_share_of_each_version_in_each_bucket() -> None:
    """A bucket without events has none, which is not 0."""
    assert [[0.25, None, 1.0], [0.75, None, 0.0]] == [*shares(SERIES)]
    assert [] == [*shares(())]


def test_all_versions_are_rows_in_their_order() -> None:
    """First the versions that were seen or that rollups count, then the events without a version."""
    state = SchemaState(versions=[version(10), version(2)], stored={"unregistered": 1, "v2": 3}, times=[])

    rows = schema_versions.rows(state, None)

    assert [("v2", 12, 3), ("v10", 20, 0), ("unregistered", None, 1)] == [
        (row.version, row.schema_id, row.stored.n) for row in rows
    ]
    assert {None} == {row.in_range for row in rows}
    assert Part(label="v2", n=3, of=4) == rows[0].stored


def test_dead_letters_have_the_version_of_their_schema() -> None:
    """The most frequent first; those that were counted before schemas were are what is left."""
    state = SchemaState(
        versions=[version(2)],
        stored={},
        dead_letters=[
            {"_id": "undecodable", "n": 9, "schemas": {"12": 3, "99": 4}},
            {"_id": "unknown-schema-id", "n": 5, "schemas": {"unknown": 5}},
            {"_id": "empty", "n": 1, "schemas": {"none": 1}},
        ],
    )

    assert [
        ("unknown schema ids", "unknown-schema-id", 5),
        ("id 99", "undecodable", 4),
        ("v2 (id 12)", "undecodable", 3),
        ("no schema id", "empty", 1),
        ("not known", "undecodable", 2),
    ] == schema_versions.dead_letter_rows(state)


def test_difference_of_two_versions() -> None:
    """With the strictest level that allows it."""
    found = difference(version(1, record("a", "b")), version(2, record("a")))

    assert isinstance(found, Difference)
    assert [(What.REMOVED, "b")] == [(each.what, each.path) for each in found.changes]
    assert Mode.BACKWARD is found.allowed


def test_difference_of_schemas_that_refer_to_others() -> None:
    """The other schemas come first."""
    colour = {"type": "enum", "name": "Colour", "symbols": ["red"]}
    painted = {"type": "record", "name": "P", "fields": [{"name": "colour", "type": "Colour"}]}

    found = difference(version(1, colour, painted), version(2, {**colour, "symbols": ["red", "blue"]}, painted))

    assert isinstance(found, Difference)
    assert [(What.SYMBOL, "colour", "red", "red, blue")] == [
        (each.what, each.path, each.before, each.after) for each in found.changes
    ]


def test_schemas_that_cannot_be_compared_are_named() -> None:
    """Not stored, or not legal."""
    good = version(1, record("a"))

    assert "The schema of v2 is not stored" in str(difference(good, {"version": 2, "schema_id": 12}))
    assert "The schema of v2 cannot be read: " in str(difference(good, version(2, "no-such-type")))


def test_advice_for_a_level() -> None:
    """None for a level that only another registry knows."""
    assert "Upgrade the producers first, then the consumers." == schema_versions.level_text("FORWARD")
    assert "" == schema_versions.level_text("CUSTOM")


def test_chart_of_shares_is_stacked_to_one() -> None:
    """The number of events is in the tooltip; there is no bar that is cut, and no bar without events."""
    window = time_window.window(time_window.range_named("15 min"), NOON)
    series = tuple(
        Series(version=name, per_bucket=(*numbers, *[0] * (len(window.buckets) - len(numbers))))
        for name, numbers in (("v1", (1, 1_000_000, 2, 3, 1)), ("v2", (3, 0, 1, 1, 1)))
    )

    chart = schema_figures.adoption(series, window, (("v2", NOON - timedelta(minutes=5)),), UTC).to_dict()

    assert [0.25, 1.0] == chart["data"][0]["y"][:2]
    assert None is chart["data"][1]["y"][-1]
    assert "1 events, 25.0%" == chart["data"][0]["customdata"][0][1]
    assert "0 events, –" == chart["data"][0]["customdata"][-1][1]
    assert [0, 1] == chart["layout"]["yaxis"]["range"]
    assert ["v2 first seen"] == [each["text"] for each in chart["layout"]["annotations"]]


def test_text_of_the_shares() -> None:
    """Those of the last bucket that has events."""
    assert "Share of each schema version over time: at last v1 100.0%, v2 0.0%." == schema_figures.adoption_text(SERIES)
    assert "Share of each schema version over time: no events." == schema_figures.adoption_text(())
