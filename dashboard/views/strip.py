"""The strip at the top of every view: whether the pipeline works, what is wrong, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import streamlit as st

from dashboard.model import formatting
from dashboard.model.health import Status
from dashboard.model.signals import Severity, signals

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, tzinfo

    from dashboard.data.feed import PipelineReading
    from dashboard.model.signals import Thresholds

_COLOURS: Mapping[Severity, Literal["green", "gray", "orange", "red"]] = {
    Severity.GOOD: "green",
    Severity.UNKNOWN: "gray",
    Severity.WARNING: "orange",
    Severity.CRITICAL: "red",
}


def show(reading: PipelineReading, thresholds: Thresholds, zone: tzinfo, now: datetime) -> None:
    """Show the signals, each with a colour and a text; below, what is wrong and what to do."""
    found = signals(reading.health, thresholds)
    with st.container(horizontal=True, vertical_alignment="center", key="status"):
        for signal in found:
            # In an outage, the values are no longer those of the present.
            colour = _COLOURS[Severity.UNKNOWN if reading.error else signal.severity]
            st.badge(signal.text, color=colour, help=signal.advice or signal.meaning)
        st.caption(_last_event(reading, zone, now), width="content")
    # Always present, so that advice that appears does not rebuild what is below it.
    with st.container(key="advice"):
        for signal in found:
            if signal.advice and not reading.error:
                st.markdown(f":{_COLOURS[signal.severity]}[**{signal.severity.capitalize()}:**] {signal.advice}")


def _last_event(reading: PipelineReading, zone: tzinfo, now: datetime) -> str:
    health = reading.health
    if reading.error:
        if reading.read_at is None:
            return "last event unknown"
        return f"as of {formatting.instant(reading.read_at, today=now, zone=zone)}"
    # that nothing is stored is known, not unknown
    if health.status is Status.WAITING:
        return "no event yet"
    age = formatting.UNKNOWN if health.last_event_age is None else formatting.age(health.last_event_age)
    return f"last event {age}"
