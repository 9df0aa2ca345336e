"""The controls above every view; the page's address keeps what is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING

import streamlit as st

from dashboard.model import formatting
from dashboard.model.pipeline_trends import SPANS
from dashboard.model.snapshot import FILTERS, Query
from dashboard.model.time_window import window
from dashboard.views import address, choices
from streamapp.model.user_event import DIMENSIONS, PAGE_TITLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from dashboard.data.feed import Feed

EVENTS, USERS, SCHEMAS, PIPELINE, LATEST = VIEWS = ("Events", "Users", "Schemas", "Pipeline", "Latest")
#: Views of a range of event time.
RANGED = (EVENTS, USERS, SCHEMAS, LATEST)
INTERVALS: Mapping[str, int | None] = {"5 s": 5, "10 s": 10, "30 s": 30, "off": None}
#: Seconds for which a kiosk shows each view.
ROTATIONS: Mapping[str, int | None] = {"off": None, "15 s": 15, "30 s": 30, "60 s": 60}
#: Seconds between two refreshes while views are shown in turn; shorter than each of them.
_TURN_INTERVAL = 5
ZONES = ("local time", "UTC")
#: The parameter of the address for the time that the view of the pipeline shows.
SPAN = "span"
_FROM, _TO = "period_from", "period_to"
_TITLES = {each.plural: each.title for each in DIMENSIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The choices of a visitor."""

    view: str
    query: Query
    interval: int | None
    """Seconds between two refreshes; None: no automatic refresh."""
    zone: tzinfo
    is_kiosk: bool
    compares: bool = False
    """Whether the chart over time has the period before."""
    rotation: int | None = None
    """Seconds for which each view is shown; None: always the same view."""
    in_turn: tuple[str, ...] = VIEWS
    """Views that are shown in turn."""

    def view_at(self, now: datetime) -> str:
        """Return the view that is shown at an instant."""
        if not self.rotation:
            return self.view
        return self.in_turn[int(now.timestamp()) // self.rotation % len(self.in_turn)]


def show(feed: Feed) -> Choice:
    """Show the controls, unless the page runs as a kiosk; return the choices."""
    # Whatever has changed: this run shows it.
    address.was_changed()
    choice = _choice()
    if choice.is_kiosk:
        with st.container(key="kiosk"):
            st.title(PAGE_TITLE, anchor=False)
    else:
        # Two groups: beside each other where there is space for both.
        key = "top" if choice.view in RANGED else "top_without_ranges"
        with st.container(horizontal=True, vertical_alignment="center", key=key):
            _show_views(choice)
            _show_row(feed, choice)
        _show_chips()
    return choice


def _choice() -> Choice:
    view, chosen, is_kiosk = address.one("view", VIEWS), address.chosen_range(), address.is_kiosk()
    rotation = ROTATIONS[address.one("rotate", list(ROTATIONS))] if is_kiosk else None
    # A period is shown by some views only, and stands still.
    stands_still = chosen.is_custom and view in RANGED
    interval = None if stands_still else INTERVALS[address.one("refresh", list(INTERVALS))]
    return Choice(
        view=view,
        query=Query(chosen=chosen, filter=address.filtered()),
        # A refresh also shows the next view.
        interval=_TURN_INTERVAL if rotation else interval,
        zone=address.zone(ZONES),
        is_kiosk=is_kiosk,
        compares=address.is_on("compare"),
        rotation=rotation,
        in_turn=tuple(each for each in address.selected("view") if each in VIEWS) or VIEWS,
    )


def _show_views(choice: Choice) -> None:
    with st.container(horizontal=True, vertical_alignment="center", width="content", key="header"):
        st.title(PAGE_TITLE, anchor=False, width="content")
        st.session_state["view"] = choice.view
        st.segmented_control(
            "View",
            VIEWS,
            key="view",
            required=True,
            on_change=_on_change("view", VIEWS),
            label_visibility="collapsed",
            width="content",
        )


def _show_row(feed: Feed, choice: Choice) -> None:
    with st.container(horizontal=True, vertical_alignment="center", width="content", key="controls"):
        if choice.view in RANGED:
            _show_range()
        else:
            choices.pressed("Time shown", [span.key for span in SPANS], key=SPAN, has_label=False)
        with st.popover("Time", icon=":material/date_range:"):
            _show_time(feed, choice)
        if choice.view in RANGED:
            selected = sum(len(address.selected(name)) for name in FILTERS)
            with st.popover(f"Filters ({selected})" if selected else "Filters", icon=":material/filter_alt:"):
                _show_filters(feed)
        _show_refresh(stands_still=choice.query.chosen.is_custom and choice.view in RANGED)
        # An icon for the eye; screen readers have the text.
        st.button("Refresh now", icon=":material/refresh:", help="Refresh now", width="content", key="refresh_now")


def _show_range() -> None:
    # A control of its own during a period, in which none is pressed: Streamlit keeps the value of the other one.
    key = "range_after_period" if address.chosen_period() else "range"
    if not address.chosen_period():
        st.session_state[key] = address.live_range().key
    st.segmented_control(
        "Range of event time",
        address.RANGE_KEYS,
        key=key,
        required=True,
        on_change=lambda: address.choose_range(st.session_state[key]),
        label_visibility="collapsed",
        width="content",
    )
    if address.chosen_period():
        back = f"Back to the {address.live_range().words}"
        st.button(back, icon=":material/play_arrow:", on_click=address.back_to_live, width="content")


def _show_time(feed: Feed, choice: Choice) -> None:
    if choice.view in RANGED:
        _show_period(feed, choice)
        st.session_state["compare"] = choice.compares
        st.toggle("Compare with the period before", key="compare", on_change=_toggle_compare)
    st.session_state["zone"] = address.one("zone", ZONES)
    st.selectbox("Time zone", ZONES, key="zone", icon=":material/schedule:", on_change=_on_change("zone", ZONES))


def _show_period(feed: Feed, choice: Choice) -> None:
    shown = window(choice.query.chosen, feed.now())
    ends = (shown.start, shown.end) if choice.query.chosen.is_custom else (shown.start, feed.now())
    zone = choice.zone
    with st.form("period", border=False):
        for key, label, at in zip((_FROM, _TO), ("From", "To"), ends, strict=True):
            st.session_state[key] = at.astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
            title = f"{label} ({formatting.zone_name(zone)})"
            st.datetime_input(title, key=key, format="YYYY-MM-DD", step=timedelta(minutes=1), required=True)
        st.form_submit_button("Show this period", on_click=lambda: _choose_period(zone))


def _choose_period(zone: tzinfo) -> None:
    edges = [st.session_state[key].isoformat() for key in (_FROM, _TO)]
    if not address.choose_period(edges, zone):
        st.toast("A period is from 1 minute to 400 days long, from 1970 on.", icon=":material/error:")


def _toggle_compare() -> None:
    address.change([("compare", "true" if st.session_state["compare"] else [])])


def _show_filters(feed: Feed) -> None:
    snapshot = feed.latest(Query(chosen=address.chosen_range())).snapshot
    options = snapshot.found.counts.options if snapshot else {}
    for name, title in _TITLES.items():
        st.session_state[name] = address.selected(name)
        offered = sorted({*options.get(name, ()), *address.selected(name)})
        st.multiselect(title, offered, key=name, on_change=_select, args=(name,), placeholder="any")
    st.button("Clear filters", on_click=address.clear_filters, disabled=not address.filtered(), key="clear")


def _select(name: str) -> None:
    address.select(name, st.session_state[name])


def _show_chips() -> None:
    chosen = [(name, label) for name in FILTERS for label in address.selected(name)]
    # Always present, so that the first filter does not rebuild what is below it.
    with st.container(horizontal=True, vertical_alignment="center", key="chips"):
        if chosen:
            st.caption("Filtered by (× removes)", width="content")
        for name, label in chosen:
            st.button(
                f"{_TITLES[name]}: {formatting.literal(label)}",
                key=f"chip {name} {label}",
                icon=":material/close:",
                on_click=address.toggle,
                args=(name, label),
                width="content",
            )


def _show_refresh(*, stands_still: bool) -> None:
    # A control of its own: a value that Streamlit has kept of the other one would be taken for a choice.
    key, offered = ("no_refresh", ["off"]) if stands_still else ("refresh", list(INTERVALS))
    st.session_state[key] = address.one("refresh", offered)
    st.selectbox(
        "Auto refresh",
        offered,
        key=key,
        disabled=stands_still,
        help="A chosen period is not refreshed." if stands_still else None,
        on_change=None if stands_still else _on_change("refresh", offered),
        width=112,
        label_visibility="collapsed",
        icon=":material/autorenew:",
    )


def _on_change(name: str, offered: Sequence[str]) -> Callable[[], None]:
    return lambda: address.change_one(name, st.session_state[name], offered)
