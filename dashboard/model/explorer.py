"""Single events as the page shows them: rows of a table, what a schema added to an event, a user's timeline; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dashboard.model import figures, formatting, labels, schema_versions
from dashboard.model.figures import Chart
from dashboard.model.schema_versions import Difference
from dashboard.model.snapshot import Filter
from dashboard.model.time_window import Window, from_ms
from streamapp.compatibility.diff import What
from streamapp.model.user_event import DIMENSIONS, LATEST_DIMENSIONS, SCHEMA_VERSION, TIME, USER, VALUE_COLOUR
from streamapp.model.value_text import text_of

if TYPE_CHECKING:
    from datetime import tzinfo

    from dashboard.model.health import Document
    from dashboard.model.schema_versions import SchemaState

#: Fields that are read for the table, and to filter.
COLUMNS = ("received_at", TIME, USER, *(each.path for each in DIMENSIONS), "kafka")
TIMELINE_HEIGHT, _ROW_HEIGHT = 60, 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which events a visitor looks for."""

    window: Window
    filter: Filter
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What was found: the newest events, by event time."""

    rows: Sequence[Document]
    is_cut: bool = False
    """There can be more events that match."""
    searched_back_to: datetime | None = None
    """Events before it were not looked at; None: all events of the window were, or enough were found."""


def row(event: Document, zone: tzinfo, today: datetime) -> dict[str, Any]:
    """Return the cells of an event's row; a field with a value of another type than expected has a cell, too."""
    kafka: Any = event.get("kafka") or {}
    return {
        "event time": instant(event_time(event), zone, today),
        "user": text(event.get(USER)),
        **{str(each.column): text(value_at(event, each.path)) for each in LATEST_DIMENSIONS},
        "received": instant(event.get("received_at"), zone, today),
        "partition:offset": f"{kafka.get('partition', '?')}:{kafka.get('offset', '?')}",
    }


def event_time(event: Document) -> datetime | None:
    """Return when an event happened; None if it has no such time."""
    try:
        return from_ms(int(event[TIME]))
    except (LookupError, TypeError, ValueError, OverflowError):
        return None


def instant(at: object, zone: tzinfo, today: datetime) -> str:
    """Return an instant with its milliseconds, and with its day when that is not today's; "unknown" for no instant."""
    if not isinstance(at, datetime):
        return formatting.UNKNOWN
    return f"{formatting.clock(at, today=today, zone=zone)}.{at.microsecond // 1_000:03}"


def text(value: object) -> str:
    """Return the text of a value, "–" for null."""
    found = text_of(value)
    return formatting.NONE if found is None else found


def value_at(event: Document, path: str) -> Any:
    """Return the value at a path; None if there is none."""
    value: Any = event
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def added(event: Document, state: SchemaState) -> Sequence[tuple[str, str]]:
    """Return the fields that the event's schema version has more than the one before, each with its value."""
    version = text(event.get(SCHEMA_VERSION.path))
    known = [schema_versions.label_of(each) for each in state.versions]
    if version not in known or known.index(version) == 0:
        return []
    before, after = state.versions[known.index(version) - 1], state.versions[known.index(version)]
    found = schema_versions.difference(before, after)
    if not isinstance(found, Difference):
        return []
    return [
        (each.path, text(value_at(event, each.path)))
        for each in found.changes
        if each.what in {What.ADDED, What.RENAMED} and "[" not in each.path and "{" not in each.path
    ]


def times_by_value(events: Sequence[Document], path: str) -> tuple[tuple[str, tuple[datetime, ...]], ...]:
    """Return when events happened, by their value of a field, in the order of the names."""
    times: dict[str, list[datetime]] = {}
    for event in events:
        if (at := event_time(event)) is not None:
            times.setdefault(labels.value(text_of(value_at(event, path))), []).append(at)
    return tuple((label, tuple(sorted(of_value))) for label, of_value in sorted(times.items()))


@lru_cache(64)
def timeline(times: tuple[tuple[str, tuple[datetime, ...]], ...], window: Window, zone: tzinfo) -> Chart:
    """Return a point for each event, a row for each value."""
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [figures.drawn(at, zone) for at in of_value],
            "y": [number] * len(of_value),
            "marker": {"size": 9, "color": VALUE_COLOUR, "symbol": "line-ns-open", "line": {"width": 2}},
            "customdata": [[instant(at, zone, window.end), figures.plain(label)] for at in of_value],
            "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        }
        for number, (label, of_value) in enumerate(times)
    ]
    names = {
        "range": [len(times) - 0.5, -0.5],
        "tickvals": [*range(len(times))],
        "ticktext": [figures.short(label) for label, _ in times],
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
    }
    layout = {**figures.layout(TIMELINE_HEIGHT + _ROW_HEIGHT * len(times)), "showlegend": False}
    return Chart(traces, {**layout, "xaxis": {**figures.time_axis(window, zone), "nticks": 5}, "yaxis": names})


def timeline_text(user: str, times: tuple[tuple[str, tuple[datetime, ...]], ...]) -> str:
    """Return what the timeline says, in a sentence, for screen readers."""
    counted = ", ".join(f"{label} {formatting.number(len(of_value))}" for label, of_value in times)
    return f"Events of {user} over time: {counted or 'none'}."
