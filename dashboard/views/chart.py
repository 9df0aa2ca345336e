"""A chart that changes in place: Streamlit's own chart is built again whenever its data changes.

`chart.js` draws it in the browser, with the part of plotly.js in `dashboard/static/`: no other server is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import streamlit as st
from streamlit.components.v2 import component

if TYPE_CHECKING:
    from dashboard.model.figures import Chart


class Picks(NamedTuple):
    """What a click chooses, and what then happens."""

    #: For each row of a bar chart what a click on it chooses, None: nothing; or the name of a trace, by its bars and
    #: its entry in the legend.
    offered: Sequence[str | None] | Literal["traces"]
    choose: Callable[[str], object]


def draw(
    figure: Chart,
    *,
    key: str,
    alt: str,
    on_select: Callable[[Sequence[str]], object] | None = None,
    picks: Picks | None = None,
) -> None:
    """Show a chart.

    Args:
        figure: the chart.
        key: its name; a chart that has the same name at the next refresh is the same element.
        alt: what it says, for screen readers.
        on_select: called with the two ends of a period that was selected by dragging.
        picks: what a click chooses; None: nothing.
    """

    def select() -> None:
        ends: Any = st.session_state[key].selected
        if on_select and ends:
            on_select(ends)

    def pick() -> None:
        picked: Any = st.session_state[key].picked
        if picks and isinstance(picked, str):
            picks.choose(picked)

    description = figure.to_dict()
    _component()(
        key=key,
        data={"figure": description, "alt": alt, "picks": picks.offered if picks else []},
        height=description["layout"]["height"],
        on_selected_change=select,
        on_picked_change=pick,
    )


@cache
def _component() -> Any:
    script = Path(__file__).with_name("chart.js").read_text(encoding="utf-8")
    return component("streamapp_chart", js=script, isolate_styles=False)
