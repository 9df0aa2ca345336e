"""The charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.model import figures
from dashboard.views import controls

if TYPE_CHECKING:
    from datetime import tzinfo

    from dashboard.model.snapshot import Part, Snapshot

# No tool bar and no zoom: Streamlit builds a chart again when its data changes, and both would be lost.
_CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}
#: Set when a visitor has selected a period in a chart: the whole page must then run again.
BRUSHED = "brushed"


def show(shown: Snapshot, zone: tzinfo) -> None:
    """Show the events over time, then by type, browser, device and location, and the adoption of V2."""
    zone = figures.axis_zone(shown.window, zone)
    with st.container(border=True):
        heading("Events over time", _legend(shown))
        _volume(shown, zone)
    charts = (("Event types", shown.types), ("Browsers", shown.browsers), ("Devices", shown.devices))
    for column, (title, parts) in zip(st.columns(3), charts, strict=True):
        with column.container(border=True, height="stretch"):
            _parts(title, parts)
    over_time, locations = st.columns([2, 1])
    with over_time.container(border=True, height="stretch"):
        heading("V2 adoption over time", f"share of events per {shown.window.bucket_words}")
        figure = figures.adoption(shown.adopted, shown.window, zone)
        draw(figure, key="adoption", alt=figures.adoption_alt(shown))
    with locations.container(border=True, height="stretch"):
        _locations(shown)


def _volume(shown: Snapshot, zone: tzinfo) -> None:
    # A new chart for a new range: a selection in the chart of the previous range must not stay.
    key = f"volume {shown.query.chosen.key}"
    st.plotly_chart(
        figures.volume(shown.volume, shown.window, shown.marks, zone),
        key=key,
        alt=figures.volume_alt(shown, zone),
        config=_CONFIG,
        on_select=lambda: _brush(key, zone),
        selection_mode="box",
    )


def _brush(key: str, zone: tzinfo) -> None:
    for box in st.session_state[key]["selection"]["box"]:
        controls.choose(box["x"], zone)
        st.session_state[BRUSHED] = True


def _legend(shown: Snapshot) -> str:
    hatched = "; the hatched bar is still filling" if shown.window.is_running else ""
    return f"per {shown.window.bucket_words}, by schema version{hatched}; draw a box to zoom in"


def _locations(shown: Snapshot) -> None:
    if shown.locations:
        _parts("Locations", shown.locations)
    else:
        heading("Locations")
        st.caption("Locations are not counted by filter.")


def _parts(title: str, parts: tuple[Part, ...]) -> None:
    heading(title)
    draw(figures.bars(parts), key=title, alt=figures.bars_alt(title, parts))


def heading(title: str, beside: str = "") -> None:
    """Show a heading, and beside it the subject of the chart."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(title, anchor=False, width="content")
        if beside:
            st.caption(beside, width="content")


def draw(figure: figures.Chart, *, key: str, alt: str) -> None:
    """Show a chart without tools."""
    st.plotly_chart(figure, key=key, alt=alt, config=_CONFIG)
