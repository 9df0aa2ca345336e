"""The whole page: the controls at the top, one live part below."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
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
from streamapp.model.user_event import PAGE_TITLE

if TYPE_CHECKING:
    from streamapp.settings import Settings

# `streamapp dashboard` has it in its HTML already: see dashboard/serve.py.
_STYLE = Path(__file__).with_name("style.css")


def main() -> None:
    """Show the page for the MongoDB of the settings."""
    st.set_page_config(page_title=f"streamapp: {PAGE_TITLE.lower()}", layout="wide")
    try:
        feed = _feed()
    except SettingsError as exc:
        st.error(f"A setting is wrong. {exc}")
    else:
        show(feed)
        _exempt_from_gc()


def show(feed: Feed) -> None:
    """Show the page for a feed."""
    st.html(_STYLE)
    choice = controls.show(feed)
    # One fragment, not nested: the browser's timer reruns it alone, and without a tab nothing runs.
    st.fragment(live.show, run_every=choice.interval, key="live")(feed, choice)


@cache
def _exempt_from_gc() -> None:
    """Exclude what exists after the first visit, mostly objects of libraries, from garbage collection.

    A collection of all objects stops every visitor's refresh, and would take longer than a refresh.
    """
    gc.freeze()


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
