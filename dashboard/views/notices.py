"""What a visitor must know before reading the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import words
from dashboard.trouble import Disconnected, TooSlow, Trouble

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.feed import Reading
    from dashboard.snapshot import Overview
    from dashboard.timeplan import Range

SEND = "streamapp send-sample --count 100"


def show(reading: Reading, chosen: Range, now: datetime) -> None:
    """Say why there are no numbers, or why they are not new."""
    if reading.trouble is not None:
        _trouble(reading.trouble, reading, now)
    elif reading.overview is None:
        _no_events()
    elif reading.snapshot is not None and not reading.snapshot.total:
        _none_in_range(reading.overview, chosen, now)


def _trouble(trouble: Trouble, reading: Reading, now: datetime) -> None:
    kind = "Too slow" if isinstance(trouble, TooSlow) else "Disconnected"
    text = f"**{kind}.** {trouble} {_as_of(reading, now)} {_what_to_do(trouble)}"
    if isinstance(trouble, TooSlow):
        st.warning(text)
    else:
        st.error(text)


def _as_of(reading: Reading, now: datetime) -> str:
    if reading.snapshot is None:
        return "Nothing is known of this range yet."
    read_at = reading.snapshot.read_at
    return f"What stands below is as of **{words.instant(read_at, today=now)}**, {words.age(now - read_at)}."


def _what_to_do(trouble: Trouble) -> str:
    if isinstance(trouble, TooSlow):
        return "Choose a shorter range."
    if isinstance(trouble, Disconnected):
        return "Every refresh tries again. Is `STREAMAPP_MONGO_URI` right? A local MongoDB starts with `streamapp up`."
    return "Every refresh tries again."


def _no_events() -> None:
    st.info("**No events yet.** They appear here once a worker (`streamapp worker`) has stored them. Send some with:")
    st.code(SEND, language="bash")


def _none_in_range(overview: Overview, chosen: Range, now: datetime) -> None:
    st.info(f"**No events in the {chosen.words}.** {_newest(overview, now)} Send new ones with:")
    st.code(SEND, language="bash")


def _newest(overview: Overview, now: datetime) -> str:
    newest = overview.newest_event_at
    if newest is None:
        return "No stored event has a time."
    if newest > now:
        return f"The newest event is of {words.instant(newest, today=now)}, ahead of this clock."
    return f"The newest event is of {words.instant(newest, today=now)}, {words.age(now - newest)}."
