"""A chart that changes in place: Streamlit's own chart is built again whenever its data changes.

`chart.js` draws it in the browser, with the part of plotly.js in `dashboard/static/`: no other server is asked.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.components.v2 import component

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dashboard.model.figures import Chart


def draw(figure: Chart, *, key: str, alt: str, on_select: Callable[[Sequence[str]], None] | None = None) -> None:
    """Show a chart.

    Args:
        figure: the chart.
        key: its name; a chart that has the same name at the next refresh is the same element.
        alt: what it says, for screen readers.
        on_select: called with the two ends of a period that was selected by dragging.
    """

    def select() -> None:
        ends: Any = st.session_state[key].selected
        if on_select and ends:
            on_select(ends)

    _component()(key=key, data={"figure": figure.to_dict(), "alt": alt}, on_selected_change=select)


@cache
def _component() -> Any:
    script = Path(__file__).with_name("chart.js").read_text(encoding="utf-8")
    return component("streamapp_chart", js=script, isolate_styles=False)
