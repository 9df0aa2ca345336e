"""The four charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

    from dashboard.snapshot import Part, Snapshot

# No tool bar and no zoom: Streamlit builds a chart anew when its data changes, and would lose both.
_CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}


def show(shown: Snapshot) -> None:
    """Show the events over time, by type, by browser and by device."""
    with st.container(border=True):
        _heading("Events over time", _legend(shown))
        _draw(figures.volume(shown), key="volume", alt=figures.volume_alt(shown))
    charts = (("Event types", shown.types), ("Browsers", shown.browsers), ("Devices", shown.devices))
    for column, (title, parts) in zip(st.columns(3), charts, strict=True):
        with column.container(border=True, height="stretch"):
            _parts(title, parts)


def _legend(shown: Snapshot) -> str:
    return f"per {shown.chosen.bucket_words}, by schema version; the hatched bar is still filling"


def _parts(title: str, parts: Sequence[Part]) -> None:
    _heading(title)
    _draw(figures.bars(parts), key=title, alt=figures.bars_alt(title, parts))


def _heading(title: str, beside: str = "") -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(title, anchor=False, width="content")
        if beside:
            st.caption(beside, width="content")


def _draw(figure: go.Figure, *, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=key, alt=alt, config=_CONFIG)
