"""The charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.model import alt_texts, bursts, figures
from dashboard.views import chart, controls
from streamapp.model.user_event import ADOPTED_VERSION, CHARTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from dashboard.model.snapshot import Snapshot
    from streamapp.model.user_event import Dimension

#: Set when a visitor has selected a period in a chart: the whole page must then run again.
BRUSHED = "brushed"
#: Charts beside each other.
_IN_ROW = 3


def show(shown: Snapshot, zone: tzinfo, *, is_kiosk: bool) -> None:
    """Show the events over time, then by each dimension, and the adoption of the newer schema."""
    zone = figures.axis_zone(shown.window, zone)
    with st.container(border=True):
        heading("Events over time", _legend(shown, is_kiosk=is_kiosk))
        _volume(shown, zone, is_kiosk=is_kiosk)
    _row(CHARTS[:_IN_ROW], shown)
    over_time, beside = st.columns([2, 1])
    with over_time.container(border=True, height="stretch"):
        heading(f"V{ADOPTED_VERSION} adoption over time", f"share of events per {shown.window.bucket_words}")
        figure = figures.adoption(shown.adopted, shown.window, zone)
        chart.draw(figure, key="adoption", alt=alt_texts.adoption(shown))
    for dimension in CHARTS[_IN_ROW : _IN_ROW + 1]:
        with beside.container(border=True, height="stretch"):
            _bars(dimension, shown)
    for start in range(_IN_ROW + 1, len(CHARTS), _IN_ROW):
        _row(CHARTS[start : start + _IN_ROW], shown)


def _row(dimensions: Sequence[Dimension], shown: Snapshot) -> None:
    for column, dimension in zip(st.columns(_IN_ROW), dimensions, strict=False):
        with column.container(border=True, height="stretch"):
            _bars(dimension, shown)


def _volume(shown: Snapshot, zone: tzinfo, *, is_kiosk: bool) -> None:
    figure = figures.volume(shown.volume, shown.window, shown.marks, zone, can_select=not is_kiosk)
    # In a kiosk, nobody could go back to the live range.
    on_select = None if is_kiosk else lambda ends: _select(ends, zone)
    chart.draw(figure, key="volume", alt=alt_texts.volume(shown, zone), on_select=on_select)


def _select(ends: Sequence[str], zone: tzinfo) -> None:
    controls.choose(ends, zone)
    st.session_state[BRUSHED] = True


def _legend(shown: Snapshot, *, is_kiosk: bool) -> str:
    hatched = "; the hatched bar is still filling" if shown.window.is_running else ""
    zoom = "" if is_kiosk else "; drag to zoom"
    cut = "; ▲ a bar beyond the axis" if bursts.axis(shown.volume) else ""
    return f"per {shown.window.bucket_words}, by schema version{hatched}{cut}{zoom}"


def _bars(dimension: Dimension, shown: Snapshot) -> None:
    title, parts = str(dimension.chart), shown.parts[dimension.plural]
    heading(title, "≥ at least; more than 100 values" if any(part.error for part in parts) else "")
    if parts or dimension.in_cells:
        chart.draw(figures.bars(parts), key=title, alt=alt_texts.bars(title, parts))
    else:
        st.caption("Not available while filtering")


def heading(title: str, beside: str = "") -> None:
    """Show a heading, and beside it the subject of the chart."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(title, anchor=False, width="content")
        if beside:
            st.caption(beside, width="content")
