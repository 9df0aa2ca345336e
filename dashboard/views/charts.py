"""The charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.model import alt_texts, bursts, figures, labels, volume_chart
from dashboard.model.volume_chart import Volume
from dashboard.views import address, chart
from dashboard.views.chart import Picks
from streamapp.model.user_event import ADOPTED_VERSION, CHARTS, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from dashboard.model.snapshot import Part, Snapshot
    from dashboard.views.controls import Choice
    from streamapp.model.user_event import Dimension

#: Charts beside each other.
_IN_ROW = 3


def show(shown: Snapshot, choice: Choice) -> None:
    """Show the events over time, then by each dimension, and the adoption of the newer schema."""
    zone, can_pick = figures.axis_zone(shown.window, choice.zone), not choice.is_kiosk
    with st.container(border=True):
        heading("Events over time", _legend(shown, choice))
        _volume(shown, zone, choice)
    _row(CHARTS[:_IN_ROW], shown, can_pick=can_pick)
    over_time, beside = st.columns([2, 1])
    with over_time.container(border=True, height="stretch"):
        heading(f"V{ADOPTED_VERSION} adoption over time", f"share of events per {shown.window.bucket_words}")
        figure = figures.adoption(shown.adopted, shown.window, zone)
        chart.draw(figure, key="adoption", alt=alt_texts.adoption(shown))
    for dimension in CHARTS[_IN_ROW : _IN_ROW + 1]:
        with beside.container(border=True, height="stretch"):
            _bars(dimension, shown, can_pick=can_pick)
    for start in range(_IN_ROW + 1, len(CHARTS), _IN_ROW):
        _row(CHARTS[start : start + _IN_ROW], shown, can_pick=can_pick)


def _row(dimensions: Sequence[Dimension], shown: Snapshot, *, can_pick: bool) -> None:
    for column, dimension in zip(st.columns(_IN_ROW), dimensions, strict=False):
        with column.container(border=True, height="stretch"):
            _bars(dimension, shown, can_pick=can_pick)


def _volume(shown: Snapshot, zone: tzinfo, choice: Choice) -> None:
    volume = Volume(shown.volume, shown.marks, shown.before if choice.compares else ())
    # In a kiosk, nobody could go back to the live range, or remove a filter.
    can_choose = not choice.is_kiosk
    chart.draw(
        volume_chart.chart(volume, shown.window, zone, can_select=can_choose),
        key="volume",
        alt=alt_texts.volume(shown, zone, compares=choice.compares),
        on_select=(lambda ends: address.choose_period(ends, zone)) if can_choose else None,
        picks=Picks("traces", _toggle_version) if can_choose else None,
    )


def _toggle_version(label: str) -> None:
    if label not in labels.NO_VALUES:
        address.toggle(SCHEMA_VERSION.plural, label)


def _legend(shown: Snapshot, choice: Choice) -> str:
    hatched = "; the hatched bar is still filling" if shown.window.is_running else ""
    zoom = "" if choice.is_kiosk else "; drag to zoom, click to filter"
    cut = "; ▲ a bar beyond the axis" if bursts.axis(shown.volume, shown.before if choice.compares else ()) else ""
    before = "; the period before is not comparable" if choice.compares and not shown.before else ""
    return f"per {shown.window.bucket_words}, by schema version{hatched}{cut}{before}{zoom}"


def _bars(dimension: Dimension, shown: Snapshot, *, can_pick: bool) -> None:
    title, name = str(dimension.chart), dimension.plural
    parts = shown.parts[name]
    heading(title, _beside(dimension, parts))
    if parts:
        offered = [None if part.label in labels.NO_VALUES else part.label for part in parts]
        picks = Picks(offered, lambda label: address.toggle(name, label)) if can_pick else None
        chart.draw(figures.bars(parts), key=title, alt=alt_texts.bars(title, parts), picks=picks)
    else:
        st.caption("Not available while filtering")


def _beside(dimension: Dimension, parts: Sequence[Part]) -> str:
    """Say what the marks and the labels mean that do not explain themselves."""
    absent = dimension.absent_label if dimension.is_optional else None
    return "; ".join(
        [
            *(["≥ at least; more than 100 values"] if any(part.error for part in parts) else []),
            *([f"{absent}: its schema has no {dimension.name}"] if absent in {part.label for part in parts} else []),
        ]
    )


def heading(title: str, beside: str = "") -> None:
    """Show a heading, and beside it the subject of the chart."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(title, anchor=False, width="content")
        if beside:
            st.caption(beside, width="content")
