"""Make the charts of several lines, and of dead letters by reason; pure, and cached as the others."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dashboard.model import figures, formatting, labels
from dashboard.model.figures import Chart
from streamapp.model.user_event import SERIES_COLOURS

if TYPE_CHECKING:
    from datetime import timedelta, tzinfo

    from dashboard.model.pipeline_trends import Line

HEIGHT = 200
#: In this order, so that a reason has the same colour everywhere; the frequent ones come first and have no pattern.
#: See Reason in streamapp/model/record.py.
REASONS = (
    "undecodable",
    "unknown-schema-id",
    "empty",
    "truncated",
    "bad-magic-byte",
    "tombstone",
    "incompatible-schema",
    "timestamp-out-of-range",
    "refused-by-store",
)
_DASHES, _PATTERNS = ("solid", "dash", "dot"), ("", "x", ".")
_LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}


@lru_cache(64)
def lines(shown: tuple[Line, ...], unit: str, zone: tzinfo) -> Chart:
    """Return a line for each of several trends, on one axis; those of the same colour have another dash."""
    single = [figures.trend(line.points, unit, zone).to_dict() for line in shown]
    traces = [
        {**chart["data"][0], "name": line.name, "line": _line(number), "marker": {"size": 3, "color": _colour(number)}}
        for number, (line, chart) in enumerate(zip(shown, single, strict=True))
    ]
    for trace in traces:
        trace["hovertemplate"] = "%{customdata[0]}<br>%{fullData.name}: %{customdata[1]}<extra></extra>"
    widest = max(single, key=lambda chart: chart["layout"]["yaxis"]["range"][1])
    return Chart(traces, {**widest["layout"], "height": HEIGHT, "showlegend": True, "legend": _LEGEND})


@lru_cache(64)
def dead_letters(shown: tuple[Line, ...], step: timedelta, zone: tzinfo) -> Chart:
    """Return the number of dead letters in each step, stacked by reason."""
    single = [figures.trend(line.points, "", zone).to_dict() for line in shown]
    most = max(sum(values) for values in zip(*(chart["data"][0]["y"] for chart in single), strict=True))
    layout = single[0]["layout"]
    start, end = (line := shown[0].points)[0][0], line[-1][0] + step
    edges = figures.trend(((start, None), (end, None)), "", zone).to_dict()["layout"]["xaxis"]["range"]
    return Chart(
        [_bars(line, chart, step, zone) for line, chart in zip(shown, single, strict=True)],
        {
            **layout,
            "height": HEIGHT,
            "barmode": "stack",
            "showlegend": True,
            "legend": _LEGEND,
            "xaxis": {**layout["xaxis"], "range": edges},
            "yaxis": {**layout["yaxis"], "range": [0, max(most, 1) * 1.1], "tickformat": ",d"},
        },
    )


def _bars(line: Line, chart: dict[str, Any], step: timedelta, zone: tzinfo) -> dict[str, Any]:
    number = REASONS.index(line.name) if line.name in REASONS else None
    colour = labels.GREY if number is None else _colour(number)
    width_ms = step.total_seconds() * 1_000
    return {
        "type": "bar",
        "name": line.name,
        "x": chart["data"][0]["x"],
        "y": chart["data"][0]["y"],
        "width": width_ms * 0.86,
        "offset": width_ms * 0.07,
        "marker": {
            "color": colour,
            "line": {"width": 0},
            "pattern": {
                "shape": "" if number is None else _PATTERNS[number // len(SERIES_COLOURS)],
                "fillmode": "replace",
                "fgcolor": colour,
                "size": 6,
                "solidity": 0.5,
            },
        },
        "customdata": [[f"{at.astimezone(zone):%H:%M:%S}", formatting.number(int(n or 0))] for at, n in line.points],
        "hovertemplate": "%{customdata[0]}<br>%{fullData.name}: %{customdata[1]}<extra></extra>",
    }


def _line(number: int) -> dict[str, Any]:
    return {"color": _colour(number), "width": 2, "dash": _DASHES[number // len(SERIES_COLOURS)]}


def _colour(number: int) -> str:
    return SERIES_COLOURS[number % len(SERIES_COLOURS)]


def lines_text(title: str, shown: tuple[Line, ...], unit: str) -> str:
    """Return what the lines say, in a sentence, for screen readers."""
    last = {line.name: next((n for _, n in reversed(line.points) if n is not None), None) for line in shown}
    return f"{title}: {', '.join(f'{name} {formatting.amount(n, unit)}' for name, n in last.items()) or 'none'}."


def dead_letters_text(shown: tuple[Line, ...]) -> str:
    """Return what the bars say, in a sentence, for screen readers."""
    totals = {line.name: sum(int(n or 0) for _, n in line.points) for line in shown}
    return f"Dead letters: {', '.join(f'{name} {formatting.number(n)}' for name, n in totals.items()) or 'none'}."
