"""The part of the page that refreshes: the status, and the selected view."""

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
    """Show the newest reading for the choices."""
    if st.session_state.pop(charts.BRUSHED, False):
        st.rerun()
    if choice.view == controls.PIPELINE:
        _show_status(feed)
        pipeline.show(feed.pipeline_reading(), choice.zone)
    elif choice.view == controls.LATEST:
        _show_status(feed)
        latest.show(feed.pipeline, choice.zone)
    else:
        _show_events(feed, choice)


def _show_events(feed: Feed, choice: Choice) -> None:
    reading = feed.latest(choice.query)
    # Always present, so that a notice that appears or disappears does not move, and so rebuild, what is below it.
    with st.container(key="notices"):
        notices.show(reading, choice, feed.now())
    with st.container(key="kpis"):
        kpis.show(reading, choice.query.chosen)
    _show_status(feed, _span(feed, reading, choice), None if choice.is_kiosk else reading.snapshot)
    with st.container(key="charts"):
        if reading.snapshot and reading.snapshot.total:
            charts.show(reading.snapshot, choice.zone)


def _show_status(feed: Feed, beside: str = "", exported: Snapshot | None = None) -> None:
    pipeline_reading = feed.pipeline_reading().health
    age = (
        formatting.age(pipeline_reading.last_event_age)
        if pipeline_reading.last_event_age is not None
        else formatting.UNKNOWN
    )
    # that nothing is stored is known, not unknown
    last = "no event yet" if pipeline_reading.status is Status.WAITING else f"last event {age}"
    with st.container(horizontal=True, vertical_alignment="center", key="status"):
        st.badge(
            f"Pipeline {pipeline_reading.status}",
            color=_COLOURS.get(pipeline_reading.status, "gray"),
            help=pipeline_reading.why,
        )
        st.caption(f"{last}{beside}", width="stretch")
        if exported is not None:
            _show_export(exported)


def _show_export(shown: Snapshot) -> None:
    with st.popover("Export", icon=":material/download:"):
        for label, name, of, mime in (
            ("CSV", "csv", export.as_csv, "text/csv"),
            ("Parquet", "parquet", export.as_parquet, "application/vnd.apache.parquet"),
        ):
            # built on request only
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
    if reading.error is not None:
        # events since then are not known, so the range does not end now
        return f" · the {chosen.words} by event time, as of {read_at}"
    return f" · the {chosen.words} by event time, {formatting.window(shown.window, choice.zone)} · read at {read_at}"
