"""The whole page: the controls at the top, one live part below."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.data.connection import Connection
from dashboard.data.feed import Feed
from dashboard.data.pipeline import MongoPipeline
from dashboard.data.reader import MongoReader
from dashboard.model.signals import Threshold, Thresholds
from dashboard.views import controls, live
from streamapp import settings
from streamapp.connections import mongodb
from streamapp.errors import SettingsError

if TYPE_CHECKING:
    from streamapp.settings import Settings

# Streamlit reserves space for a tool bar, which this page does not have, and fades elements that wait for a refresh:
# a flicker every few seconds on a page that shows the age of its numbers anyway. On a phone, the numbers are in two
# columns, and the ranges in one row.
_STYLE = """<style>
.stMainBlockContainer { padding-top: 2.5rem; padding-bottom: 2.5rem; }
[data-stale="true"] { opacity: 1 !important; transition: none !important; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-inline: 1rem; }
  [data-testid="stColumn"]:has([data-testid="stMetric"]) { flex: 1 1 40% !important; min-width: 40% !important; }
  [data-testid="stButtonGroup"] button { min-width: 0; padding-inline: 0.4rem; }
}
</style>"""


def main() -> None:
    """Show the page for the MongoDB of the settings."""
    st.set_page_config(page_title="streamapp: user events", layout="wide")
    try:
        feed = _feed()
    except SettingsError as exc:
        st.error(f"A setting is wrong. {exc}")
    else:
        show(feed)


def show(feed: Feed) -> None:
    """Show the page for a feed."""
    st.html(_STYLE)
    choice = controls.show(feed)
    # One fragment, not nested: the browser's timer reruns it alone, and without a tab nothing runs.
    st.fragment(live.show, run_every=choice.interval, key="live")(feed, choice)


@st.cache_resource(show_spinner=False)
def _feed() -> Feed:
    known = settings.load()
    connection = Connection(uri=mongodb.dashboard_uri(known), database=known.mongo_database)
    return Feed(
        reader=MongoReader(connection, subject=known.subject),
        pipeline=MongoPipeline(connection, topic=known.topic, subject=known.subject),
        clock=lambda: datetime.now(UTC),
        keep=known.keep,
        thresholds=_thresholds(known),
    )


def _thresholds(known: Settings) -> Thresholds:
    return Thresholds(
        oldest_waiting_seconds=Threshold(
            warning=known.dashboard_waiting_warning_seconds, critical=known.dashboard_waiting_critical_seconds
        ),
        latency_p95_seconds=Threshold(
            warning=known.dashboard_latency_warning_seconds, critical=known.dashboard_latency_critical_seconds
        ),
        dead_letter_ratio=Threshold(
            warning=known.dashboard_dead_letters_warning_ratio, critical=known.dashboard_dead_letters_critical_ratio
        ),
    )
