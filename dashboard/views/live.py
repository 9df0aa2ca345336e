"""The part of the page that refreshes: the signals of the pipeline, and the selected view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.model import export, formatting
from dashboard.views import address, charts, controls, kpis, latest, notices, pipeline, schemas, strip, users
from streamapp.model.user_event import DIMENSIONS, PAGE_TITLE

if TYPE_CHECKING:
    from dashboard.data.feed import Feed, Reading
    from dashboard.model.snapshot import Snapshot
    from dashboard.views.controls import Choice

#: The begin of the names of exported files.
_FILE = PAGE_TITLE.lower().replace(" ", "-")


def show(feed: Feed, choice: Choice) -> None:
    """Show the newest reading for the choices."""
    if address.was_changed():
        st.rerun()
    strip.show(feed.pipeline_reading(), feed.thresholds, choice.zone, feed.now())
    view = choice.view_at(feed.now())
    if view == controls.PIPELINE:
        pipeline.show(feed.pipeline_reading(), feed, choice.zone)
    elif view == controls.USERS:
        users.show(feed, choice)
    elif view == controls.SCHEMAS:
        schemas.show(feed, choice)
    elif view == controls.LATEST:
        latest.show(feed, choice)
    else:
        _show_events(feed, choice)


def _show_events(feed: Feed, choice: Choice) -> None:
    reading = feed.latest(choice.query)
    # Always present, so that a notice that appears or disappears does not move, and so rebuild, what is below it.
    with st.container(key="notices"):
        notices.show(reading, choice, feed.now())
    with st.container(key="kpis"):
        kpis.show(reading, choice.query.chosen)
    with st.container(horizontal=True, vertical_alignment="center", key="summary"):
        st.caption(_span(feed, reading, choice) + _filter(choice), width="stretch")
        if reading.snapshot is not None and not choice.is_kiosk:
            _show_export(reading.snapshot)
    with st.container(key="charts"):
        if reading.snapshot and reading.snapshot.total:
            charts.show(reading.snapshot, choice)


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
                file_name=f"{_FILE}-{shown.read_at:%Y%m%d-%H%M%S}.{name}",
                mime=mime,
                key=f"export_{name}",
                on_click="ignore",
            )


def _filter(choice: Choice) -> str:
    """The filter, where no control shows it."""
    wanted = choice.query.filter
    if not choice.is_kiosk or not wanted:
        return ""
    titles = {each.plural: each.title for each in DIMENSIONS}
    selected = "; ".join(
        f"{titles[name]} {' or '.join(map(formatting.literal, wanted.selected(name)))}" for name in wanted.names
    )
    return f" · only {selected}"


def _span(feed: Feed, reading: Reading, choice: Choice) -> str:
    shown, chosen = reading.snapshot, choice.query.chosen
    if shown is None:
        return f"The {chosen.words}, by event time"
    if reading.error is not None:
        read_at = formatting.instant(shown.read_at, today=feed.now(), zone=choice.zone)
        # events since then are not known, so the range does not end now
        return f"The {chosen.words} by event time, as of {read_at}"
    compared = "" if shown.changes.total is None else " · changes are against the period before"
    read_at = formatting.clock(shown.read_at, today=feed.now(), zone=choice.zone)
    window = formatting.window(shown.window, choice.zone)
    return f"The {chosen.words} by event time, {window} · read at {read_at}{compared}"
