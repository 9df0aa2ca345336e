"""What a visitor must know before reading the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.data.reader import MOST_DIRECT
from dashboard.model import formatting
from dashboard.model.errors import DashboardError, DisconnectedError, TooSlowError
from dashboard.views import address

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from dashboard.data.feed import Reading
    from dashboard.model.snapshot import Overview, Snapshot
    from dashboard.views.controls import Choice

SEND = "streamapp send-sample --count 100"


def show(reading: Reading, choice: Choice, now: datetime) -> None:
    """Say why there are no numbers, or why they are not current or not complete."""
    if reading.error is not None:
        _error(reading, choice.zone, now)
    elif reading.overview is None:
        _no_events()
    elif reading.snapshot is not None:
        _limits(reading.snapshot, choice, now)


def _limits(shown: Snapshot, choice: Choice, now: datetime) -> None:
    if shown.found.is_direct:
        _counted_directly(shown)
    if shown.possible:
        _bounds(shown)
    elif shown.total:
        return
    elif choice.query.filter:
        _none_by_filter(choice)
    else:
        _none_in_range(shown.overview, choice, now)


def _counted_directly(shown: Snapshot) -> None:
    all_of_them = "All events of the range are"
    which = f"Only the newest {MOST_DIRECT:,} events of the range are" if shown.found.is_cut else all_of_them
    st.warning(
        f"**Rollups are behind or missing.** {which} counted one by one, without the previous period. "
        "If this persists: `streamapp rollups rebuild`"
    )


def _bounds(shown: Snapshot) -> None:
    matching = formatting.between(shown.total, shown.total + shown.possible)
    why = (
        "Some values are not counted by themselves, because there are more than 100 of them."
        if shown.query.filter.is_in_cells
        else "Rollups do not count the filtered fields together."
    )
    st.info(
        f"**{matching} events match these filters.** {why} Charts show the events that match for certain; a shorter "
        f"range is counted exactly."
    )


def _none_by_filter(choice: Choice) -> None:
    st.info(f"**No events match these filters** in the {choice.query.chosen.words}.")
    st.button("Clear filters", key="clear_here", on_click=address.clear_filters)


def _error(reading: Reading, zone: tzinfo, now: datetime) -> None:
    if reading.error is not None:
        show_error(reading.error, reading.snapshot and reading.snapshot.read_at, zone, now)


def show_error(error: DashboardError, read_at: datetime | None, zone: tzinfo, now: datetime) -> None:
    """Say why there is no newer data, of when the data below is, and what to do."""
    kind = "Too slow" if isinstance(error, TooSlowError) else "Disconnected"
    text = f"**{kind}.** {error} {_as_of(read_at, zone, now)} {_what_to_do(error)}"
    if isinstance(error, TooSlowError):
        st.warning(text)
    else:
        st.error(text)


def _as_of(read_at: datetime | None, zone: tzinfo, now: datetime) -> str:
    if read_at is None:
        return "Nothing has been read yet."
    at = formatting.instant(read_at, today=now, zone=zone)
    return f"Data below is from **{at}**, {formatting.age(now - read_at)}."


def _what_to_do(error: DashboardError) -> str:
    if isinstance(error, TooSlowError):
        return "Choose a shorter range."
    if isinstance(error, DisconnectedError):
        return (
            "The page tries again at every refresh. Check `STREAMAPP_MONGO_URI`; `streamapp up` starts a local MongoDB."
        )
    return "The page tries again at every refresh."


def _no_events() -> None:
    st.info("**No events yet.** They appear here after a worker (`streamapp worker`) has stored them. Send some with:")
    st.code(SEND, language="bash")


def _none_in_range(overview: Overview, choice: Choice, now: datetime) -> None:
    st.info(
        f"**No events in the {choice.query.chosen.words}.** {_newest(overview, choice.zone, now)} Send new ones with:"
    )
    st.code(SEND, language="bash")


def _newest(overview: Overview, zone: tzinfo, now: datetime) -> str:
    newest = overview.newest_event_at
    if newest is None:
        return "No stored event has a time."
    if newest > now:
        return f"The newest event is from {formatting.instant(newest, today=now, zone=zone)}, ahead of this clock."
    return (
        f"The newest event is from {formatting.instant(newest, today=now, zone=zone)}, {formatting.age(now - newest)}."
    )
