"""The part of the page that is refreshed: the status, and the chosen view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import streamlit as st

from dashboard.model import export, formatting
from dashboard.model.health import Status
from dashboard.views import charts, controls, kpis, latest, notices, pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dashboard.data.feed import Feed, Reading
    from dashboard.model.snapshot import Snapshot
    from dashboard.views.controls import Choice

_COLOURS: Mapping[Status, Literal["green", "red", "orange"]] = {
    Status.LIVE: "green",
    Status.STALLED: "red",
    Status.WAITING: "orange",
}


def show(feed: Feed, choice: Choice) -> None:
    """Show the newest reading of what was chosen."""
    if st.session_state.pop(charts.BRUSHED, False):
        st.rerun()
    if choice.view == controls.PIPELINE:
        _show_status(feed)
        pipeline.show(feed.told(), choice.zone)
    elif choice.view == controls.LATEST:
        _show_status(feed)
        latest.show(feed.pipeline, choice.zone)
    else:
        _show_events(feed, choice)


def _show_events(feed: Feed, choice: Choice) -> None:
    reading = feed.latest(choice.query)
    # Always there, so that a notice that comes or goes does not shift, and so rebuild, what is below it.
    with st.container(key="notices"):
        notices.show(reading, choice, feed.now())
    with st.container(key="kpis"):
        kpis.show(reading, choice.query.chosen)
    _show_status(feed, _span(feed, reading, choice), None if choice.is_kiosk else reading.snapshot)
    with st.container(key="charts"):
        if reading.snapshot and reading.snapshot.total:
            charts.show(reading.snapshot, choice.zone)


def _show_status(feed: Feed, beside: str = "", exported: Snapshot | None = None) -> None:
    told = feed.told().health
    age = formatting.age(told.last_event_age) if told.last_event_age is not None else formatting.UNKNOWN
    # Nothing stored is known, not unknown.
    last = "no event yet" if told.status is Status.WAITING else f"last event {age}"
    with st.container(horizontal=True, vertical_alignment="center", key="status"):
        st.badge(f"Pipeline {told.status}", color=_COLOURS.get(told.status, "gray"), help=told.why)
        st.caption(f"{last}{beside}", width="stretch")
        if exported is not None:
            _show_export(exported)


def _show_export(shown: Snapshot) -> None:
    with st.popover("Export", icon=":material/download:"):
        for label, name, of, mime in (
            ("CSV", "csv", export.as_csv, "text/csv"),
            ("Parquet", "parquet", export.as_parquet, "application/vnd.apache.parquet"),
        ):
            # Made only when somebody asks for it.
            st.download_button(
                label,
                data=lambda of=of: of(shown),
                file_name=f"user-events-{shown.read_at:%Y%m%d-%H%M%S}.{name}",
                mime=mime,
                key=f"export_{name}",
                on_click="ignore",
            )


def _span(feed: Feed, reading: Reading, choice: Choice) -> str:
    shown, chosen = reading.snapshot, choice.query.chosen
    if shown is None:
        return f" · the {chosen.words}, by event time"
    read_at = formatting.instant(shown.read_at, today=feed.now(), zone=choice.zone)
    if reading.trouble is not None:
        # Nothing is known of what came since, so "now" cannot be said.
        return f" · the {chosen.words} by event time, as of {read_at}"
    return f" · the {chosen.words} by event time, {formatting.window(shown.window, choice.zone)} · read at {read_at}"
