"""The users: who does most, how many do several things in order, and how many are new each day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.data.newest import MOST_READ
from dashboard.model import alt_texts, figures, formatting, time_window, user_activity
from dashboard.model.errors import DashboardError
from dashboard.model.snapshot import USUAL_NUMBERS
from dashboard.model.user_activity import MOST_STEPS, WITHIN, ActivityQuery
from dashboard.views import address, chart, charts, choices, notices
from streamapp.model.user_event import FUNNEL, MAIN_DIMENSION

if TYPE_CHECKING:
    from datetime import tzinfo

    from dashboard.data.feed import Feed, Reading
    from dashboard.model.snapshot import Snapshot
    from dashboard.model.user_activity import Activity, Day
    from dashboard.views.controls import Choice

_KNOWN = "user_activity"
#: Parameters of the address.
STEP, WITHIN_KEY = "step", "within"
#: Days of the chart of new users.
DAYS = 30


def show(feed: Feed, choice: Choice) -> None:
    """Show what is known of the users; during an outage what was read before."""
    reading = feed.latest(choice.query)
    with st.container(key="users_notices"):
        notices.show(reading, choice, feed.now())
    steps, within = _show_controls(reading)
    window = time_window.window(choice.query.chosen, feed.now())
    query = ActivityQuery(window=window, filter=choice.query.filter, steps=steps, within=WITHIN[within])
    known = _read(feed, query, reading)
    if known is None:
        return
    found, days = known
    shown = reading.snapshot
    if shown is not None and found.counted:
        _show_activity(found, shown, steps, within, choice.zone)
    _show_days(days)


def _show_controls(reading: Reading) -> tuple[tuple[str, ...], str]:
    offered = reading.snapshot.found.counts.options.get(MAIN_DIMENSION, ()) if reading.snapshot else ()
    chosen = address.selected(STEP)[:MOST_STEPS] or [*FUNNEL]
    if address.is_kiosk():
        return tuple(chosen), address.one(WITHIN_KEY, [*WITHIN])
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    with left:
        st.session_state[STEP] = chosen
        st.multiselect(
            "Steps of the funnel, in their order",
            [*dict.fromkeys([*chosen, *offered])],
            key=STEP,
            max_selections=MOST_STEPS,
            on_change=lambda: address.select(STEP, st.session_state[STEP]),
        )
    with right:
        within = choices.pressed("From the first to the last step within", [*WITHIN], key=WITHIN_KEY)
    return tuple(chosen), within


def _read(feed: Feed, query: ActivityQuery, reading: Reading) -> tuple[Activity, tuple[Day, ...]] | None:
    numbers = reading.overview.numbers if reading.overview else USUAL_NUMBERS
    try:
        st.session_state[_KNOWN] = feed.pipeline.activity(query, numbers), feed.pipeline.days()
    except DashboardError as error:
        known = " Data below was read before." if _KNOWN in st.session_state else ""
        st.warning(f"{error}{known}")
    return st.session_state.get(_KNOWN)


def _show_activity(found: Activity, shown: Snapshot, steps: tuple[str, ...], within: str, zone: tzinfo) -> None:
    st.caption(_base(found, shown, zone))
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        parts = user_activity.top_users(found, shown.total)
        charts.heading("Top users", f"of {formatting.number(found.users)}, by events")
        chart.draw(figures.bars(parts), key="top_users", alt=alt_texts.bars("Top users", parts))
    with right.container(border=True, height="stretch"):
        charts.heading("Funnel", f"users that did these steps in order, within {within}")
        if len(steps) != len(found.reached) or len(steps) < 2:  # noqa: PLR2004 - a funnel has two steps
            st.caption("Choose two to five event types.")
            return
        parts = user_activity.steps_of(found, steps)
        chart.draw(figures.bars(parts), key="funnel", alt=alt_texts.bars("Funnel", parts))


def _base(found: Activity, shown: Snapshot, zone: tzinfo) -> str:
    """Say which events were counted."""
    n, words = formatting.number(found.counted), shown.query.chosen.words
    if found.counted_back_to is None:
        return f"Counted one by one: all {n} events of the {words}."
    at = formatting.instant(found.counted_back_to, today=shown.read_at, zone=zone)
    return (
        f"Counted one by one: {n} events of the {words}, those after {at}. At most {MOST_READ:,} events are read; "
        "a shorter range is counted whole."
    )


def _show_days(days: tuple[Day, ...]) -> None:
    shown = user_activity.new_users(days, DAYS)
    with st.container(border=True):
        charts.heading("New and returning users", f"per day (UTC), {DAYS} days until the newest event, without filters")
        if not shown:
            st.caption("none")
            return
        if any(day.least != day.most for day in shown):
            st.caption("Estimates by sketches; the bounds are in the tooltips.")
        chart.draw(user_activity.days_chart(shown, DAYS), key="new_users", alt=user_activity.days_text(shown))
