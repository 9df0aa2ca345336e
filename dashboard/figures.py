"""From what is shown to charts and their alternative texts; pure, equal for equal data, and then made only once."""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from dashboard import labels, words
from dashboard.snapshot import Part, Series
from dashboard.timeplan import MILLISECOND, Window

if TYPE_CHECKING:
    from dashboard.snapshot import Snapshot

VOLUME_HEIGHT, ADOPTION_HEIGHT = 270, 220
BAR_HEIGHT, BARS_PADDING = 26, 16
#: Bars that a chart has room for: of two sizes only, so that the page does not jump when a value comes or goes.
ROOM = (6, 8)
LONGEST_LABEL = 22
#: Charts of the last moments, for all visitors.
_REMEMBERED = 256

_TICKS = [
    {"dtickrange": [None, 86_399_999], "value": "%H:%M\n%d %b"},
    {"dtickrange": [86_400_000, None], "value": "%d %b\n%Y"},
]


@lru_cache(_REMEMBERED)
def volume(
    series: tuple[Series, ...], window: Window, marks: tuple[tuple[str, datetime], ...], zone: tzinfo
) -> go.Figure:
    """Return the events per bucket, stacked by schema version; an unfinished bucket is hatched."""
    figure = go.Figure([_volume_bars(one, window, zone) for one in series])
    figure.update_layout(
        **_layout(VOLUME_HEIGHT),
        barmode="stack",
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    )
    # A box over the chart becomes the page's range.
    figure.update_layout(dragmode="select", selectdirection="h")
    _time_axis(figure, window, zone)
    figure.update_yaxes(title="Events", rangemode="tozero", tickformat=",d", nticks=6, fixedrange=True)
    for name, at in marks:
        is_late = at - window.start > window.end - at
        _mark(figure, name, _drawn(at, zone), "right" if is_late else "left")
    return figure


@lru_cache(_REMEMBERED)
def adoption(adopted: tuple[float | None, ...], window: Window, zone: tzinfo) -> go.Figure:
    """Return the share of V2 in each bucket, as a line with gaps where there are no events."""
    figure = go.Figure(
        go.Scatter(
            x=[_drawn(bucket + window.width / 2, zone) for bucket in window.buckets],
            y=list(adopted),
            mode="lines+markers",
            line={"color": labels.version_colour("v2"), "width": 2},
            marker={"size": 4},
            customdata=[
                [_told(bucket, zone), "" if share is None else words.percent(share)]
                for bucket, share in zip(window.buckets, adopted, strict=True)
            ],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        )
    )
    figure.update_layout(**_layout(ADOPTION_HEIGHT), showlegend=False)
    _time_axis(figure, window, zone)
    figure.update_yaxes(range=[-0.04, 1.04], tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1], fixedrange=True)
    return figure


@lru_cache(_REMEMBERED)
def bars(parts: tuple[Part, ...]) -> go.Figure:
    """Return one horizontal bar per part, the largest on top, with its number beside it."""
    figure = go.Figure(
        go.Bar(
            orientation="h",
            y=[_short(part.label) for part in parts],
            x=[part.n for part in parts],
            text=[words.part(part) for part in parts],
            textposition="outside",
            cliponaxis=False,
            customdata=[[_plain(part.label), words.part(part)] for part in parts],
            hovertemplate="%{customdata[0]}: %{customdata[1]}<extra></extra>",
            marker={"color": [labels.bar_colour(part.label) for part in parts]},
            width=0.7,
        )
    )
    room = next(room for room in ROOM if len(parts) <= room)
    figure.update_layout(**_layout(_bars_height(room)), showlegend=False)
    # Room at the right for the longest bar's number.
    figure.update_xaxes(visible=False, range=[0, max((part.n for part in parts), default=1) * 1.6], fixedrange=True)
    figure.update_yaxes(type="category", range=[room - 0.5, -0.5], automargin=True, fixedrange=True, ticksuffix="  ")
    return figure


def volume_alt(shown: Snapshot, zone: tzinfo) -> str:
    """Return what the chart over time says, in a sentence."""
    buckets = shown.window.buckets
    sums = [sum(column) for column in zip(*(series.per_bucket for series in shown.volume), strict=True)]
    if not sums:
        return "Events over time: none."
    peak = max(range(len(sums)), key=sums.__getitem__)
    versions = ", ".join(f"{series.version} {words.number(sum(series.per_bucket))}" for series in shown.volume)
    return (
        f"Events over time: {words.number(shown.total)} in the {shown.query.chosen.words}, {versions}; most in the "
        f"{shown.window.bucket_words} from {buckets[peak].astimezone(zone):%Y-%m-%d %H:%M} {words.zone_name(zone)}, "
        f"{words.number(sums[peak])}."
    )


def adoption_alt(shown: Snapshot) -> str:
    """Return what the chart of the adoption says, in a sentence."""
    known = [share for share in shown.adopted if share is not None]
    if not known:
        return "V2 adoption over time: no events with a registered version."
    return f"V2 adoption over time: from {words.percent(known[0])} to {words.percent(known[-1])}."


def bars_alt(title: str, parts: tuple[Part, ...]) -> str:
    """Return what a chart of parts says, in a sentence."""
    told = ", ".join(f"{part.label} {words.part(part)}" for part in parts) or "none"
    return f"{title}: {told}."


def _volume_bars(series: Series, window: Window, zone: tzinfo) -> go.Bar:
    buckets = window.buckets
    unfinished = len(buckets) - window.is_running
    width_ms = window.width / MILLISECOND
    colour = labels.version_colour(series.version)
    return go.Bar(
        name=series.version,
        x=[_drawn(bucket, zone) for bucket in buckets],
        y=list(series.per_bucket),
        width=width_ms * 0.86,
        offset=width_ms * 0.07,
        marker={
            "color": colour,
            "line": {"width": 0},
            "pattern": {
                "shape": ["" if i < unfinished else "/" for i in range(len(buckets))],
                "fillmode": "replace",
                "fgcolor": colour,
                "size": 6,
                "solidity": 0.5,
            },
        },
        customdata=[
            [_told(bucket, zone), words.number(n), "" if i < unfinished else " so far"]
            for i, (bucket, n) in enumerate(zip(buckets, series.per_bucket, strict=True))
        ],
        hovertemplate="%{customdata[0]}<br>%{fullData.name}: %{customdata[1]}%{customdata[2]}<extra></extra>",
    )


def _time_axis(figure: go.Figure, window: Window, zone: tzinfo) -> None:
    figure.update_xaxes(
        type="date",
        range=[_drawn(window.start, zone), _drawn(window.end, zone)],
        title=f"Event time ({words.zone_name(zone)})",
        tickformatstops=_TICKS,
        nticks=9,
        fixedrange=True,
    )


def _mark(figure: go.Figure, name: str, x: str, side: str) -> None:
    line = {"dash": "dot", "width": 2, "color": labels.GREY}
    figure.add_shape(type="line", x0=x, x1=x, y0=0, y1=1, yref="paper", line=line)
    # Written towards the middle, where there is room.
    text = f"{name} first seen"
    figure.add_annotation(x=x, y=1, yref="paper", yanchor="bottom", xanchor=side, showarrow=False, text=text)


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


def _told(at: datetime, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%d %b %H:%M} {words.zone_name(zone)}"


def _short(label: str) -> str:
    return _plain(label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…")


def _plain(label: str) -> str:
    # Plotly reads some HTML in texts, and labels come from whoever sends events.
    return label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
