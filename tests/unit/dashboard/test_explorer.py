"""Single events as rows, what a schema added to them, and a user's timeline."""

from __future__ import annotations

from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

from dashboard.model import explorer, time_window
from dashboard.model.explorer import Search
from dashboard.model.schema_versions import SchemaState
from dashboard.model.snapshot import Filter
from tests.support.doubles.dashboard_reader import NOON, document, v1
from tests.unit.dashboard.test_schema_versions import record, version

A_DAY = timedelta(days=1)


def test_row_has_readable_times_and_values() -> None:
    """In the zone of the page; what is missing is a dash or "unknown"."""
    event = document(NOON + timedelta(milliseconds=7), browser=None)

    row = explorer.row(event, ZoneInfo("Asia/Kolkata"), NOON)

    assert "17:30:30.007" == row["event time"] == row["received"]
    assert "2026-03-01 17:30:30.007" == explorer.row(event, ZoneInfo("Asia/Kolkata"), NOON + A_DAY)["event time"]
    assert ("click", "mobile", "DE", "–", "v2") == tuple(
        row[name] for name in ("type", "device", "location", "browser", "version")
    )
    assert {"–", "unknown", "?:?"} == {*explorer.row({"kafka": None, "metadata": 3}, UTC, NOON).values()}


def test_time_that_is_none_is_unknown() -> None:
    """A stored text, null or a number out of range is not a time."""
    assert [None] * 4 == [
        explorer.event_time(event) for event in ({}, *({"event_timestamp": odd} for odd in ("x", None, 10**30)))
    ]


def test_fields_that_a_version_added_have_their_values() -> None:
    """Also renamed ones, and not those within lists; the first version, and one that is not known, added nothing."""
    renamed = {**record("a"), "fields": [{"name": "b", "type": "int", "aliases": ["a"]}, *record("c")["fields"]]}
    nested = {**record(), "fields": [*renamed["fields"], {"name": "m", "type": record("x") | {"name": "M"}}]}
    listed = {"name": "l", "type": {"type": "array", "items": record("x") | {"name": "L"}}}
    longer = {"name": "l", "type": {"type": "array", "items": record("x", "y") | {"name": "L"}}}
    schemas = (
        record("a"),
        renamed,
        {**nested, "fields": [*nested["fields"], listed]},
        {**nested, "fields": [*nested["fields"], longer]},
    )
    state = SchemaState(stored={}, versions=[version(number + 1, each) for number, each in enumerate(schemas)])
    event = {"b": 1, "c": None, "m": {"x": 2}, "l": []}

    added = {name: explorer.added({**event, "schema_version": name}, state) for name in ("v1", "v2", "v3", "v4", "v5")}

    assert {
        "v1": [],
        "v2": [("b", "1"), ("c", "–")],
        "v3": [("m", "{'x': 2}"), ("l", "[]")],
        "v4": [],
        "v5": [],
    } == added
    unknown = SchemaState(stored={}, versions=[version(1), version(2)])
    assert [] == explorer.added({"schema_version": "v2"}, unknown)


def test_timeline_has_a_row_for_each_value() -> None:
    """Events without a time are left out."""
    events = [v1(), document(NOON - timedelta(minutes=1)), document(event_type="<b>"), document(event_timestamp="x")]

    times = explorer.times_by_value(events, "event_type")
    chart = explorer.timeline(times, time_window.window(time_window.DEFAULT, NOON), UTC).to_dict()

    assert (("<b>", (NOON,)), ("click", (NOON - timedelta(minutes=1), NOON))) == times
    assert ["2026-03-01T11:59:30", "2026-03-01T12:00:30"] == chart["data"][1]["x"]
    assert ["&lt;b&gt;", "click"] == chart["layout"]["yaxis"]["ticktext"]
    assert "Events of u over time: <b> 1, click 2." == explorer.timeline_text("u", times)
    assert "Events of u over time: none." == explorer.timeline_text("u", ())


def test_search_is_a_key() -> None:
    """Under which an answer is kept."""
    window = time_window.window(time_window.DEFAULT, NOON)

    assert 1 == len({Search(window=window, filter=Filter()), Search(window=window, filter=Filter())})
