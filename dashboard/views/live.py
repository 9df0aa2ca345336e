"""The part of the page that is refreshed: notices, KPIs, charts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import words
from dashboard.views import charts, kpis, notices

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.feed import Feed, Reading
    from dashboard.timeplan import Range


def show(feed: Feed, chosen: Range) -> None:
    """Show the newest reading of the range."""
    reading = feed.latest(chosen)
    # Always there, so that a notice that comes or goes does not shift, and so rebuild, what is below it.
    with st.container(key="notices"):
        notices.show(reading, chosen, feed.now())
    with st.container(key="kpis"):
        kpis.show(reading, chosen)
    with st.container(key="status"):
        st.caption(_status(reading, chosen, feed.now()))
    with st.container(key="charts"):
        if reading.snapshot and reading.snapshot.total:
            charts.show(reading.snapshot)


def _status(reading: Reading, chosen: Range, now: datetime) -> str:
    shown = reading.snapshot
    if shown is None:
        return f"The {chosen.words}, by event time."
    read_at = words.instant(shown.read_at, today=now)
    if reading.trouble is not None:
        # Nothing is known of what came since, so neither "now" nor "last" can be said.
        return f"The {chosen.words} by event time, as of {read_at}."
    span = f"The {chosen.words} by event time, {words.window(shown.window)}"
    return f"{span} · {words.freshness(shown, now)} · read at {read_at}"
