"""The choices of a visitor, which the page's address keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from dashboard.model import time_window
from dashboard.model.snapshot import FILTERS, Filter, Query
from dashboard.model.time_window import RANGES, Range, range_named
from streamapp.model.user_event import CELL_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dashboard.data.feed import Feed

EVENTS, PIPELINE, LATEST = VIEWS = ("Events", "Pipeline", "Latest")
INTERVALS: Mapping[str, int | None] = {"5 s": 5, "10 s": 10, "30 s": 30, "off": None}
LOCAL, _ = ZONES = ("local time", "UTC")
_FROM, _TO = "from", "to"
_LIVE: Mapping[str, list[str]] = {_FROM: [], _TO: []}
_RANGE_KEYS = [offered.key for offered in RANGES]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The choices of a visitor."""

    view: str
    query: Query
    interval: int | None
    """Seconds between two refreshes; None: no automatic refresh."""
    zone: tzinfo
    is_kiosk: bool


def show(feed: Feed) -> Choice:
    """Show the controls, unless the page runs as a kiosk; return the choices."""
    is_kiosk = st.query_params.get("kiosk") == "true"
    if is_kiosk:
        st.title("User events", anchor=False)
    else:
        _show_header()
        if _one("view", VIEWS) == EVENTS:
            _show_range(feed)
    view, chosen = _one("view", VIEWS), _range()
    stands_still = chosen.is_custom and view == EVENTS
    return Choice(
        view=view,
        query=Query(chosen=chosen, filter=_filter()),
        interval=None if stands_still else INTERVALS[_in_address("refresh", list(INTERVALS))],
        zone=_zone(),
        is_kiosk=is_kiosk,
    )


def choose(edges: Sequence[str], zone: tzinfo) -> None:
    """Make the period that was selected in a chart the page's range."""
    ends = time_window.drawn(edges, zone)
    if ends is not None:
        _change_address(zip((_FROM, _TO), map(str, ends), strict=True))


def back_to_live() -> None:
    """Let the range end now again."""
    if _custom():
        _change_address(_LIVE.items())


def clear_filters() -> None:
    """Remove all filters."""
    for name in FILTERS:
        st.session_state[name] = []


def _show_header() -> None:
    # A period is shown by the view of events only, and stands still.
    stands_still = _custom() is not None and _one("view", VIEWS) == EVENTS
    title, controls = st.columns([1, 2], vertical_alignment="bottom")
    title.title("User events", anchor=False)
    with controls.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.segmented_control(
            "View",
            VIEWS,
            default=EVENTS,
            key="view",
            bind="query-params",
            required=True,
            label_visibility="collapsed",
            width="content",
        )
        st.selectbox(
            "Time zone",
            ZONES,
            key="zone",
            icon=":material/schedule:",
            bind="query-params",
            width=155,
            label_visibility="collapsed",
        )
        _show_refresh(stands_still=stands_still)
        st.button("Refresh now", icon=":material/refresh:", width="content")


def _show_refresh(*, stands_still: bool) -> None:
    # A control of its own: a value that Streamlit has kept of the other one would be taken for a choice.
    key, offered = ("no_refresh", ["off"]) if stands_still else ("refresh", list(INTERVALS))
    st.session_state[key] = _in_address("refresh", offered)
    st.selectbox(
        "Auto refresh",
        offered,
        key=key,
        disabled=stands_still,
        help="A chosen period is not refreshed." if stands_still else None,
        on_change=None if stands_still else _choose_refresh,
        width=130,
        label_visibility="collapsed",
        icon=":material/autorenew:",
    )


def _show_range(feed: Feed) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        key = "range_after_period" if _custom() else "range"
        if not _custom():  # else none is pressed
            st.session_state[key] = _offered().key
        st.segmented_control(
            "Range of event time",
            _RANGE_KEYS,
            key=key,
            required=True,
            on_change=lambda: _choose_range(st.session_state[key]),
            label_visibility="collapsed",
            width="content",
        )
        if _custom():
            back = f"Back to the {_offered().words}"
            st.button(back, icon=":material/play_arrow:", on_click=back_to_live, width="content")
        selected = sum(len(_selected(name)) for name in FILTERS)
        with st.popover(f"Filters ({selected})" if selected else "Filters", icon=":material/filter_alt:"):
            _show_filters(feed)


def _choose_range(chosen: str) -> None:
    _change_address([("range", _unless_default(chosen, _RANGE_KEYS)), *_LIVE.items()])


def _choose_refresh() -> None:
    _change_address([("refresh", _unless_default(st.session_state["refresh"], list(INTERVALS)))])


def _show_filters(feed: Feed) -> None:
    snapshot = feed.latest(Query(chosen=_range())).snapshot
    options = snapshot.found.counts.options if snapshot else {}
    for name, title in ((each.plural, each.title) for each in CELL_DIMENSIONS):
        offered = sorted({*options.get(name, ()), *_selected(name)})
        st.multiselect(title, offered, key=name, bind="query-params", placeholder="any")
    st.button("Clear filters", on_click=clear_filters, disabled=not _filter(), key="clear")


def _filter() -> Filter:
    return Filter(**{name: tuple(sorted(_selected(name))) for name in FILTERS})


def _selected(name: str) -> Sequence[str]:
    # The address decides before the control exists, and where there is no control.
    return st.session_state[name] if name in st.session_state else st.query_params.get_all(name)


def _one(name: str, offered: Sequence[str]) -> str:
    value = st.session_state[name] if name in st.session_state else st.query_params.get(name)
    return next((other for other in offered if other == value), offered[0])


def _in_address(name: str, offered: Sequence[str]) -> str:
    """The choice of a control that is not bound to the address: then it can change with other parameters at once."""
    value = st.query_params.get(name)
    return next((other for other in offered if other == value), offered[0])


def _unless_default(value: str, offered: Sequence[str]) -> str | list[str]:
    return [] if value == offered[0] else value


def _change_address(parameters: Iterable[tuple[str, str | list[str]]]) -> None:
    """Set parameters, or remove those with an empty list, at once: it is one entry in the history of the browser."""
    st.query_params.update(dict(parameters))


def _range() -> Range:
    return _custom() or _offered()


def _offered() -> Range:
    return range_named(_in_address("range", _RANGE_KEYS))


def _custom() -> Range | None:
    return time_window.custom(st.query_params.get(_FROM), st.query_params.get(_TO))


def _zone() -> tzinfo:
    name = st.context.timezone if _one("zone", ZONES) == LOCAL else None
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
