"""Make the charts; pure, and cached: equal data give the same chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from plotly.basedatatypes import BaseFigure

from dashboard.model import bursts, formatting, labels
from dashboard.model.snapshot import Part, Series
from dashboard.model.time_window import MILLISECOND, Window
from streamapp.model.user_event import ADOPTED_VERSION

if TYPE_CHECKING:
    from dashboard.model.health import Point

Description = Mapping[str, Any]

VOLUME_HEIGHT, ADOPTION_HEIGHT, TREND_HEIGHT = 270, 220, 130
BAR_HEIGHT, BARS_PADDING = 26, 16
#: Number of bars for which a chart has space: two sizes only, so that the page does not jump when a value is added.
ROOM = (6, 8)
LONGEST_LABEL = 22
#: Charts that are cached, for all visitors.
_MAX_CACHED = 256

A_DAY = timedelta(days=1)
#: Streamlit's theme takes the place of Plotly's own.
_TEMPLATE: Description = {"layout": {}}
_TICKS = [
    {"dtickrange": [None, 86_399_999], "value": "%H:%M\n%d %b"},
    {"dtickrange": [86_400_000, None], "value": "%d %b\n%Y"},
]


class Chart(BaseFigure):
    """A chart by its description alone: Plotly's own figures check and copy it again for every visitor."""

    def __init__(self, data: Sequence[Description], layout: Description) -> None:
        """Hold the description of traces and layout."""
        self._described = {"data": data, "layout": {"template": _TEMPLATE, **layout}}

    def to_dict(self) -> Any:
        """Return the description; nobody may change it."""
        return self._described


@lru_cache(_MAX_CACHED)
def volume(
    series: tuple[Series, ...],
    window: Window,
    marks: tuple[tuple[str, datetime], ...],
    zone: tzinfo,
    *,
    can_select: bool = True,
) -> Chart:
    """Return the events per bucket, stacked by schema version; an unfinished bucket is hatched.

    Where a burst would flatten all other bars, its bar is cut, with its number above it.
    """
    shortened = bursts.axis(series)
    return Chart(
        [_volume_bars(one, window, zone) for one in series],
        {
            **_layout(VOLUME_HEIGHT),
            "barmode": "stack",
            "showlegend": True,
            # Above the texts of the marks.
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1.12 if marks or shortened else 1.02,
                "yanchor": "bottom",
                "traceorder": "normal",
            },
            # A box over the chart becomes the page's range.
            "dragmode": "select" if can_select else False,
            "selectdirection": "h",
            "xaxis": _time_axis(window, zone),
            "yaxis": {
                "title": {"text": "Events"},
                "rangemode": "tozero",
                "tickformat": ",d",
                "nticks": 6,
                "fixedrange": True,
                **({"range": [0, shortened.end]} if shortened else {}),
            },
            "shapes": [_mark(_drawn(at, zone)) for _, at in marks],
            "annotations": [
                *(_mark_text(name, at, window, zone) for name, at in marks),
                *(
                    _cut_text(n, window.buckets[at], window, zone)
                    for at, n in (shortened.cut if shortened else {}).items()
                ),
            ],
        },
    )


@lru_cache(_MAX_CACHED)
def adoption(adopted: tuple[float | None, ...], window: Window, zone: tzinfo) -> Chart:
    """Return the adoption in each bucket, as a line with gaps where there are no events."""
    line = {
        "type": "scatter",
        "x": [_drawn(bucket + window.width / 2, zone) for bucket in window.buckets],
        "y": list(adopted),
        "mode": "lines+markers",
        "line": {"color": labels.version_colour(f"v{ADOPTED_VERSION}"), "width": 2},
        "marker": {"size": 4},
        "customdata": [
            [_described(bucket, zone), "" if share is None else formatting.percent(share)]
            for bucket, share in zip(window.buckets, adopted, strict=True)
        ],
        "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
    }
    shares = {
        "range": [-0.04, 1.04],
        "tickformat": ".0%",
        "tickvals": [0, 0.25, 0.5, 0.75, 1],
        "fixedrange": True,
    }
    layout = {**_layout(ADOPTION_HEIGHT), "showlegend": False, "xaxis": _time_axis(window, zone), "yaxis": shares}
    return Chart([line], layout)


@lru_cache(_MAX_CACHED)
def bars(parts: tuple[Part, ...]) -> Chart:
    """Return one horizontal bar per part, the largest on top, with its number beside it."""
    room = next(room for room in ROOM if len(parts) <= room)
    bar = {
        "type": "bar",
        "orientation": "h",
        # Placed by number: two long labels may be cut to the same text.
        "y": list(range(len(parts))),
        "x": [part.n for part in parts],
        "text": [formatting.part(part) for part in parts],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [[_plain(part.label), formatting.part_bounds(part)] for part in parts],
        "hovertemplate": "%{customdata[0]}: %{customdata[1]}<extra></extra>",
        "marker": {"color": [labels.bar_colour(part.label) for part in parts]},
        "width": 0.7,
    }
    # Room at the right for the longest bar's number.
    longest = max((part.n for part in parts), default=1)
    names = {
        "range": [room - 0.5, -0.5],
        "tickvals": bar["y"],
        "ticktext": [_short(part.label) for part in parts],
        "showgrid": False,
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
        # Space between the names and the bars.
        "ticks": "outside",
        "ticklen": 6,
        "tickcolor": "rgba(0, 0, 0, 0)",
    }
    numbers = {"visible": False, "range": [0, longest * 1.6], "fixedrange": True}
    return Chart([bar], {**_layout(_bars_height(room)), "showlegend": False, "xaxis": numbers, "yaxis": names})


@lru_cache(_MAX_CACHED)
def trend(points: tuple[Point, ...], unit: str, zone: tzinfo) -> Chart:
    """Return a small line over time that begins at 0, with gaps where nothing is known."""
    known = [value for _, value in points if value is not None]
    line = {
        "type": "scatter",
        "x": [_drawn(at, zone) for at, _ in points],
        "y": [value for _, value in points],
        "mode": "lines+markers",
        "line": {"color": labels.BLUE, "width": 2},
        "marker": {"size": 3},
        "customdata": [[f"{at.astimezone(zone):%H:%M:%S}", formatting.amount(value, unit)] for at, value in points],
        "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
    }
    amounts = {"range": [0, max([1.0, *known]) * 1.1], "tickformat": ",~r", "nticks": 4, "fixedrange": True}
    times = {
        "type": "date",
        "range": [_drawn(points[0][0], zone), _drawn(points[-1][0], zone)] if points else None,
        "tickformat": "%H:%M",
        "nticks": 6,
        "fixedrange": True,
    }
    return Chart([line], {**_layout(TREND_HEIGHT), "showlegend": False, "xaxis": times, "yaxis": amounts})


def axis_zone(window: Window, zone: tzinfo) -> tzinfo:
    """Return the zone in which a window is drawn.

    It is UTC where the zone's own digits would mislead: for buckets that are days of UTC, and when its clocks are
    changed in between, so that an hour comes twice or not at all.
    """
    offsets = {at.astimezone(zone).utcoffset() for at in (window.start, window.end)}
    return UTC if window.width >= A_DAY or len(offsets) > 1 else zone


def _volume_bars(series: Series, window: Window, zone: tzinfo) -> Description:
    buckets = window.buckets
    unfinished = len(buckets) - window.is_running
    width_ms = window.width / MILLISECOND
    colour, pattern = labels.version_colour(series.version), labels.version_pattern(series.version)
    return {
        "type": "bar",
        "name": series.version,
        "x": [_drawn(bucket, zone) for bucket in buckets],
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
            [_described(bucket, zone), formatting.number(n), "" if i < unfinished else " so far"]
            for i, (bucket, n) in enumerate(zip(buckets, series.per_bucket, strict=True))
        ],
        "hovertemplate": "%{customdata[0]}<br>%{fullData.name}: %{customdata[1]}%{customdata[2]}<extra></extra>",
    }


def _time_axis(window: Window, zone: tzinfo) -> Description:
    return {
        "type": "date",
        "range": [_drawn(window.start, zone), _drawn(window.end, zone)],
        "title": {"text": f"Event time ({formatting.zone_name(zone)})"},
        "tickformatstops": _TICKS,
        "nticks": 9,
        "fixedrange": True,
    }


def _mark(x: str) -> Description:
    line = {"dash": "dot", "width": 2, "color": labels.GREY}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _mark_text(name: str, at: datetime, window: Window, zone: tzinfo) -> Description:
    # Written towards the middle, where there is room.
    side = "right" if at - window.start > window.end - at else "left"
    place = {"x": _drawn(at, zone), "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": side}
    return {**place, "showarrow": False, "text": f"{name} first seen"}


def _cut_text(n: int, bucket: datetime, window: Window, zone: tzinfo) -> Description:
    place = {"x": _drawn(bucket + window.width / 2, zone), "y": 1, "yref": "paper", "yanchor": "bottom"}
    return {**place, "showarrow": False, "text": f"▲ {formatting.number(n)}"}


def _layout(height: int) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "dragmode": False,
        "separators": ".,",
        "bargap": 0.25,
        # Plotly keeps its own state of the chart as long as this stays the same.
        "uirevision": "streamapp",
    }


def _bars_height(room: int) -> int:
    return BARS_PADDING + BAR_HEIGHT * room


def _drawn(at: datetime, zone: tzinfo) -> str:
    # Plotly ignores an offset and draws the digits that it gets: these are the zone's, and the axis says so.
    return f"{at.astimezone(zone):%Y-%m-%dT%H:%M:%S}"


def _described(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%d %b %H:%M} {formatting.zone_name(zone)}"


def _short(label: str) -> str:
    return _plain(label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…")


def _plain(label: str) -> str:
    # Plotly reads some HTML in texts, and any client may send labels.
    return label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
