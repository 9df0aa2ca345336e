"""Make the charts; pure, and cached: equal data give the same chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from plotly.basedatatypes import BaseFigure

from dashboard.model import formatting, labels
from dashboard.model.snapshot import Part
from dashboard.model.time_window import Window
from streamapp.model.user_event import ADOPTED_VERSION, VALUE_COLOUR

if TYPE_CHECKING:
    from dashboard.model.health import Point

Description = Mapping[str, Any]

ADOPTION_HEIGHT, TREND_HEIGHT = 208, 130
BAR_HEIGHT, BARS_PADDING = 24, 16
#: Number of bars for which a chart has space: two sizes only, so that the page does not jump when a value is added.
ROOM = (6, 8)
#: In characters of a usual width.
LONGEST_LABEL = 20
#: Width of a character of the numbers beside bars.
_CHARACTER = 5.5
#: Charts that are cached, for all visitors.
MAX_CACHED = 256
#: Ticks that nobody sees keep labels away from their axis.
_SPACE: Description = {"ticks": "outside", "tickcolor": "rgba(0, 0, 0, 0)"}
#: The first label of an axis of times is then not over the 0 of the other axis.
SPACE_BELOW: Description = {**_SPACE, "ticklen": 5}

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


@lru_cache(MAX_CACHED)
def adoption(adopted: tuple[float | None, ...], window: Window, zone: tzinfo) -> Chart:
    """Return the adoption in each bucket, as a line with gaps where there are no events."""
    line = {
        "type": "scatter",
        "x": [drawn(bucket + window.width / 2, zone) for bucket in window.buckets],
        "y": list(adopted),
        "mode": "lines+markers",
        "line": {"color": labels.version_colour(f"v{ADOPTED_VERSION}"), "width": 2},
        "marker": {"size": 4},
        "customdata": [
            [described(bucket, zone), "" if share is None else formatting.percent(share)]
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
    arranged = {**layout(ADOPTION_HEIGHT), "showlegend": False, "xaxis": time_axis(window, zone), "yaxis": shares}
    return Chart([line], arranged)


@lru_cache(MAX_CACHED)
def bars(parts: tuple[Part, ...]) -> Chart:
    """Return one horizontal bar per part, the largest on top, with its number in a column at the right."""
    room = next(room for room in ROOM if len(parts) <= room)
    bar = {
        "type": "bar",
        "orientation": "h",
        # Placed by number: two long labels may be cut to the same text.
        "y": list(range(len(parts))),
        "x": [part.n for part in parts],
        "customdata": [[plain(part.label), formatting.part_bounds(part)] for part in parts],
        "hovertemplate": "%{customdata[0]}: %{customdata[1]}<extra></extra>",
        "marker": {"color": [labels.bar_colour(part.label) for part in parts]},
        "width": 0.7,
    }
    numbers = [formatting.part(part) for part in parts]
    longest = max((part.n for part in parts), default=1)
    names = {
        "range": [room - 0.5, -0.5],
        "tickvals": bar["y"],
        "ticktext": [short(part.label) for part in parts],
        "showgrid": False,
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
        **_SPACE,
        "ticklen": 6,
    }
    arranged = {
        **layout(_bars_height(room)),
        "margin": {"l": 8, "r": 8 + _CHARACTER * max(map(len, numbers), default=0), "t": 8, "b": 8},
        "showlegend": False,
        "xaxis": {"visible": False, "range": [0, longest], "fixedrange": True},
        "yaxis": names,
        "annotations": [_beside(row, number) for row, number in enumerate(numbers)],
    }
    return Chart([bar], arranged)


@lru_cache(MAX_CACHED)
def trend(points: tuple[Point, ...], unit: str, zone: tzinfo) -> Chart:
    """Return a small line over time that begins at 0, with gaps where nothing is known."""
    known = [value for _, value in points if value is not None]
    line = {
        "type": "scatter",
        "x": [drawn(at, zone) for at, _ in points],
        "y": [value for _, value in points],
        "mode": "lines+markers",
        "line": {"color": VALUE_COLOUR, "width": 2},
        "marker": {"size": 3},
        "customdata": [[f"{at.astimezone(zone):%H:%M:%S}", formatting.amount(value, unit)] for at, value in points],
        "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
    }
    amounts = {"range": [0, max([1.0, *known]) * 1.1], "tickformat": ",~r", "nticks": 4, "fixedrange": True}
    times = {
        "type": "date",
        "range": [drawn(points[0][0], zone), drawn(points[-1][0], zone)] if points else None,
        "tickformat": "%H:%M",
        "nticks": 6,
        "fixedrange": True,
        **SPACE_BELOW,
    }
    return Chart([line], {**layout(TREND_HEIGHT), "showlegend": False, "xaxis": times, "yaxis": amounts})


def axis_zone(window: Window, zone: tzinfo) -> tzinfo:
    """Return the zone in which a window is drawn.

    It is UTC where the zone's own digits would mislead: for buckets that are days of UTC, and when its clocks are
    changed in between, so that an hour comes twice or not at all.
    """
    offsets = {at.astimezone(zone).utcoffset() for at in (window.start, window.end)}
    return UTC if window.width >= A_DAY or len(offsets) > 1 else zone


def time_axis(window: Window, zone: tzinfo) -> Description:
    """Return the axis of the window."""
    return {
        "type": "date",
        "range": [drawn(window.start, zone), drawn(window.end, zone)],
        "title": {"text": f"Event time ({formatting.zone_name(zone)})"},
        "tickformatstops": _TICKS,
        "nticks": 9,
        "fixedrange": True,
        **SPACE_BELOW,
    }


def _beside(row: int, number: str) -> Description:
    place = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 6, "y": row, "yanchor": "middle"}
    return {**place, "showarrow": False, "text": number}


def layout(height: int) -> dict[str, Any]:
    """Return what is the same for all charts."""
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "dragmode": False,
        "separators": ".,",
        "bargap": 0.25,
        # Margins give way to nothing: they hold names and numbers.
        "minreducedwidth": 8,
        # Plotly keeps its own state of the chart as long as this stays the same.
        "uirevision": "streamapp",
    }


def _bars_height(room: int) -> int:
    return BARS_PADDING + BAR_HEIGHT * room


def drawn(at: datetime, zone: tzinfo) -> str:
    """Return an instant for Plotly."""
    # Plotly ignores an offset and draws the digits that it gets: these are the zone's, and the axis says so.
    return f"{at.astimezone(zone):%Y-%m-%dT%H:%M:%S}"


def described(at: datetime, zone: tzinfo) -> str:
    """Return an instant for a tooltip."""
    return f"{at.astimezone(zone):%d %b %H:%M} {formatting.zone_name(zone)}"


def short(label: str) -> str:
    """Return the text that Plotly shows as this label, cut if it is too wide."""
    fitting = sum(width <= LONGEST_LABEL for width in accumulate(map(_width, label)))
    return plain(label if fitting == len(label) else f"{label[: fitting - 1]}…")


def _width(character: str) -> float:
    """Return how wide a character is, as a multiple of the usual width."""
    if east_asian_width(character) in "WF":
        return 2
    return 1.5 if character.isupper() or character in "mw@%" else 1


def plain(label: str) -> str:
    """Return the text that Plotly shows as this label."""
    # Plotly reads some HTML in texts, and any client may send labels.
    return label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
