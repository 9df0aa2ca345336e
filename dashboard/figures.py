"""From a Snapshot to the four charts and their alternative texts; pure, and equal for equal data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from dashboard import labels, words
from dashboard.timeplan import MILLISECOND, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dashboard.snapshot import Part, Series, Snapshot

VOLUME_HEIGHT = 270
BAR_HEIGHT, BARS_PADDING = 28, 16
LONGEST_LABEL = 22


def volume(shown: Snapshot) -> go.Figure:
    """Return the events per bucket, stacked by schema version; the unfinished bucket is hatched."""
    figure = go.Figure([_volume_bars(series, shown.window) for series in shown.volume])
    figure.update_layout(
        **_layout(VOLUME_HEIGHT),
        barmode="stack",
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    )
    figure.update_xaxes(
        type="date",
        range=[_drawn(shown.window.start), _drawn(shown.window.end)],
        title="Event time (UTC)",
        tickformatstops=[
            {"dtickrange": [None, 86_399_999], "value": "%H:%M\n%d %b"},
            {"dtickrange": [86_400_000, None], "value": "%d %b\n%Y"},
        ],
        nticks=9,
        fixedrange=True,
    )
    figure.update_yaxes(title="Events", rangemode="tozero", tickformat=",d", nticks=6, fixedrange=True)
    return figure


def bars(parts: Sequence[Part]) -> go.Figure:
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
    figure.update_layout(**_layout(BARS_PADDING + BAR_HEIGHT * max(len(parts), 3)), showlegend=False)
    # Room at the right for the longest bar's number.
    figure.update_xaxes(visible=False, range=[0, max((part.n for part in parts), default=1) * 1.6], fixedrange=True)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True, fixedrange=True, ticksuffix="  ")
    return figure


def volume_alt(shown: Snapshot) -> str:
    """Return what the chart over time says, in a sentence."""
    buckets = shown.window.buckets
    sums = [sum(column) for column in zip(*(series.per_bucket for series in shown.volume), strict=True)]
    if not sums:
        return "Events over time: none."
    peak = max(range(len(sums)), key=sums.__getitem__)
    versions = ", ".join(f"{series.version} {words.number(sum(series.per_bucket))}" for series in shown.volume)
    return (
        f"Events over time: {words.number(shown.total)} in the {shown.chosen.words}, {versions}; most in the "
        f"{shown.chosen.bucket_words} from {buckets[peak]:%Y-%m-%d %H:%M} UTC, {words.number(sums[peak])}."
    )


def bars_alt(title: str, parts: Sequence[Part]) -> str:
    """Return what a chart of parts says, in a sentence."""
    told = ", ".join(f"{part.label} {words.part(part)}" for part in parts) or "none"
    return f"{title}: {told}."


def _volume_bars(series: Series, window: Window) -> go.Bar:
    buckets = window.buckets
    unfinished = len(buckets) - 1
    width_ms = window.width / MILLISECOND
    colour = labels.version_colour(series.version)
    return go.Bar(
        name=series.version,
        x=[_drawn(bucket) for bucket in buckets],
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
            [f"{bucket:%d %b %H:%M}", words.number(n), "" if i < unfinished else " so far"]
            for i, (bucket, n) in enumerate(zip(buckets, series.per_bucket, strict=True))
        ],
        hovertemplate="%{customdata[0]} UTC<br>%{fullData.name}: %{customdata[1]}%{customdata[2]}<extra></extra>",
    )


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


def _drawn(at: object) -> str:
    # Plotly ignores an offset and draws the digits that it gets: these are UTC's, and the axis says so.
    return f"{at:%Y-%m-%dT%H:%M:%S}"


def _short(label: str) -> str:
    return _plain(label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…")


def _plain(label: str) -> str:
    # Plotly reads some HTML in texts, and labels come from whoever sends events.
    return label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
