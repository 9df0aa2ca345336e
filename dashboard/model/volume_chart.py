"""Make the chart of events over time; pure, and cached: equal data give the same chart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import NamedTuple

from dashboard.model import bursts, formatting, labels
from dashboard.model.figures import MAX_CACHED, Chart, Description, described, drawn, layout, time_axis
from dashboard.model.snapshot import Series
from dashboard.model.time_window import MILLISECOND, Window

HEIGHT = 250
#: Name of the line that is compared with.
BEFORE = "period before"
#: Share of the window that a number above a bar needs at either side.
_EDGE = 0.05
_LEGEND: Description = {"orientation": "h", "x": 0, "yanchor": "bottom", "traceorder": "normal"}
_NUMBERS: Description = {
    "title": {"text": "Events"},
    "rangemode": "tozero",
    "tickformat": ",d",
    "nticks": 6,
    "fixedrange": True,
}


class Volume(NamedTuple):
    """What the chart shows."""

    series: tuple[Series, ...]
    #: Versions, and when their first event happened.
    marks: tuple[tuple[str, datetime], ...] = ()
    #: Events of the period before, one number per bucket; empty: without them.
    before: tuple[int | None, ...] = ()


@lru_cache(MAX_CACHED)
def chart(volume: Volume, window: Window, zone: tzinfo, *, can_select: bool = True) -> Chart:
    """Return the events per bucket, stacked by schema version; an unfinished bucket is hatched.

    Where a burst would flatten all other bars, its bar is cut, with its number above it. The period before is a line.
    """
    shortened = bursts.axis(volume.series, volume.before)
    return Chart(
        [
            *(_volume_bars(one, window, zone) for one in volume.series),
            *([_before(volume.before, window, zone)] if volume.before else []),
        ],
        {
            **layout(HEIGHT),
            "barmode": "stack",
            "showlegend": True,
            # Above the texts of the marks.
            "legend": {**_LEGEND, "y": 1.12 if volume.marks or shortened else 1.02},
            # A box over the chart becomes the page's range.
            "dragmode": "select" if can_select else False,
            "selectdirection": "h",
            "xaxis": time_axis(window, zone),
            "yaxis": {**_NUMBERS, **({"range": [0, shortened.end]} if shortened else {})},
            "shapes": [_mark(drawn(at, zone)) for _, at in volume.marks],
            "annotations": [
                *(_mark_text(name, at, window, zone) for name, at in volume.marks),
                *_cut_texts(shortened.cut if shortened else {}, window, zone),
            ],
        },
    )


def _volume_bars(series: Series, window: Window, zone: tzinfo) -> Description:
    buckets = window.buckets
    unfinished = len(buckets) - window.is_running
    width_ms = window.width / MILLISECOND
    colour, pattern = labels.version_colour(series.version), labels.version_pattern(series.version)
    return {
        "type": "bar",
        "name": series.version,
        "x": [drawn(bucket, zone) for bucket in buckets],
        "y": list(series.per_bucket),
        "width": width_ms * 0.86,
        "offset": width_ms * 0.07,
        "marker": {
            "color": colour,
            "line": {"width": 0},
            "pattern": {
                "shape": [pattern if i < unfinished else "/" for i in range(len(buckets))],
                "fillmode": "replace",
                "fgcolor": colour,
                "size": 6,
                "solidity": 0.5,
            },
        },
        "customdata": [
            [described(bucket, zone), formatting.number(n), "" if i < unfinished else " so far"]
            for i, (bucket, n) in enumerate(zip(buckets, series.per_bucket, strict=True))
        ],
        "hovertemplate": "%{customdata[0]}<br>%{fullData.name}: %{customdata[1]}%{customdata[2]}<extra></extra>",
    }


def _before(before: tuple[int | None, ...], window: Window, zone: tzinfo) -> Description:
    shift = window.start - window.previous_start
    return {
        "type": "scatter",
        "name": BEFORE,
        "x": [drawn(bucket + window.width / 2, zone) for bucket in window.buckets],
        "y": list(before),
        "mode": "lines",
        "line": {"color": labels.GREY, "width": 1.5, "dash": "dot"},
        "customdata": [
            [described(bucket - shift, zone), "" if n is None else formatting.number(n)]
            for bucket, n in zip(window.buckets, before, strict=True)
        ],
        "hovertemplate": f"%{{customdata[0]}}<br>{BEFORE}: %{{customdata[1]}}<extra></extra>",
    }


def _mark(x: str) -> Description:
    line = {"dash": "dot", "width": 2, "color": labels.GREY}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _mark_text(name: str, at: datetime, window: Window, zone: tzinfo) -> Description:
    place = {"x": drawn(at, zone), "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": _side(at, window)}
    return {**place, "showarrow": False, "text": f"{name} first seen"}


def _side(at: datetime, window: Window) -> str:
    """Return the end of a text that is at an instant: it is written towards the middle, where there is room."""
    return "right" if at - window.start > window.end - at else "left"


def _cut_texts(cut: Mapping[int, int], window: Window, zone: tzinfo) -> Iterator[Description]:
    """Yield the numbers above bars that are cut; of bars beside each other only the greatest: texts would overlap."""
    room = len(window.buckets) * _EDGE
    for at, n in cut.items():
        if all((n, at) >= (other, there) for there, other in cut.items() if abs(there - at) < room):
            yield _cut_text(n, window.buckets[at], window, zone)


def _cut_text(n: int, bucket: datetime, window: Window, zone: tzinfo) -> Description:
    at = bucket + window.width / 2
    # Its middle is above the bar; near an edge, that would cut it.
    is_near = min(at - window.start, window.end - at) < (window.end - window.start) * _EDGE
    place = {"x": drawn(at, zone), "y": 1, "yref": "paper", "yanchor": "bottom"}
    side = {"xanchor": _side(at, window)} if is_near else {}
    return {**place, **side, "showarrow": False, "text": f"▲ {formatting.number(n)}"}
