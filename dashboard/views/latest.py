"""The events of the range that match, or those that were stored last, with the document of the selected one beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st
from bson import json_util

from dashboard.data.pipeline import LATEST
from dashboard.data.search import MOST_FOUND, MOST_SEARCHED
from dashboard.model import explorer, figures, formatting, time_window
from dashboard.model.errors import DashboardError
from dashboard.model.explorer import Search, SearchResult
from dashboard.model.snapshot import USUAL_NUMBERS, Query
from dashboard.model.time_window import to_ms
from dashboard.views import address, chart, charts, choices, tables
from streamapp.model.user_event import DIMENSIONS, MAIN_DIMENSION, SCHEMA_VERSION, USER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, tzinfo

    from dashboard.data.feed import Feed
    from dashboard.data.pipeline import Pipeline
    from dashboard.model.health import Document
    from dashboard.views.controls import Choice

_TABLE, _ASKED, _FOUND = "latest_table", "latest_asked", "latest_found"
#: Parameters of the address.
ORDER, BY_USER, EVENT = "order", "user", "event"
BY_TIME, _ = ORDERS = ("by event time", "as stored")
_AS_STORED = (
    f"The latest events in the order in which they were stored, at most {LATEST}; the range and the filters do not "
    "apply."
)
#: Rows that are shown without scrolling.
_MOST_ROWS, _MOST_IN_KIOSK = 17, 25
_MAIN_PATH = next(each.path for each in DIMENSIONS if each.plural == MAIN_DIMENSION)


def show(feed: Feed, choice: Choice) -> None:
    """Show the events; the table does not change while a row is selected, or during an outage."""
    is_by_time = _show_controls()
    asked = (is_by_time, choice.query, _user())
    if not _selected_rows() or st.session_state.get(_ASKED) != asked:
        _read(feed, choice, asked)
    found: SearchResult | None = st.session_state.get(_FOUND)
    if found is None:
        return
    if is_by_time and (user := _user()):
        _show_timeline(found.rows, user, feed, choice)
    with st.container(key="events_found"):
        table, beside = st.columns([3, 2])
    with table:
        _show_table(found, feed, choice, is_by_time=is_by_time)
    with beside:
        # Without a document, the style gives its space to the table, which stays the same element.
        if (name := st.query_params.get(EVENT)) is not None:
            _show_document(feed.pipeline, name)


def _show_controls() -> bool:
    """Show the order and the user; return whether the order is that of the event time."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="search"):
        is_by_time = choices.pressed("Newest events", ORDERS, key=ORDER) == BY_TIME
        if is_by_time and not address.is_kiosk():
            st.session_state[BY_USER] = _user() or ""
            st.text_input("User", key=BY_USER, placeholder="any", on_change=_search_user, width=240)
    return is_by_time


def _user() -> str | None:
    return st.query_params.get(BY_USER) or None


def _search_user() -> None:
    address.change([(BY_USER, st.session_state[BY_USER] or [])])


def _read(feed: Feed, choice: Choice, asked: tuple[bool, Query, str | None]) -> None:
    is_by_time, *_ = asked
    try:
        found = _search(feed, choice) if is_by_time else SearchResult(rows=feed.pipeline.latest())
    except DashboardError as error:
        known = " Data below was read before." if _FOUND in st.session_state else ""
        st.warning(f"{error}{known}")
        return
    if st.session_state.get(_ASKED) != asked:
        # Another table: what is selected in this one are the numbers of its rows.
        st.session_state[_ASKED], st.session_state[_TABLE] = asked, _table() + 1
    st.session_state[_FOUND] = found


def _table() -> int:
    """Return the number of the table that is shown."""
    return st.session_state.get(_TABLE, 0)


def _search(feed: Feed, choice: Choice) -> SearchResult:
    overview = feed.latest(choice.query).overview
    window = time_window.window(choice.query.chosen, feed.now())
    wanted = Search(window=window, filter=choice.query.filter, user=_user())
    return feed.pipeline.search(wanted, overview.numbers if overview else USUAL_NUMBERS)


def _selected_rows() -> Sequence[int]:
    """Return the row of the selected cell."""
    cells = st.session_state.get(f"latest {_table()}", {}).get("selection", {}).get("cells", [])
    return [row for row, _ in cells]


def _show_table(found: SearchResult, feed: Feed, choice: Choice, *, is_by_time: bool) -> None:
    rows = found.rows
    if not rows:
        st.info(_none(feed, choice, is_by_time=is_by_time))
    else:
        which = _which(found, choice) if is_by_time else _AS_STORED
        select = "" if choice.is_kiosk else " Select an event to see all of it; the table then stands still."
        st.caption(f"{which} Times are {formatting.zone_name(choice.zone)}.{select}")
        cells = [explorer.row(each, choice.zone, feed.now()) for each in rows]
        st.dataframe(
            cells,
            column_config=tables.widths(cells),
            key=f"latest {_table()}",
            # In a kiosk, nobody could go back to the newest events.
            on_select="ignore" if choice.is_kiosk else _choose,
            # A click anywhere in a row, or an arrow key.
            selection_mode="single-cell",
            hide_index=True,
            width="stretch",
            height=tables.height(cells, _MOST_IN_KIOSK if choice.is_kiosk else _MOST_ROWS),
        )
    if found.searched_back_to is not None:
        _show_limit(found.searched_back_to, feed, choice)


def _which(found: SearchResult, choice: Choice) -> str:
    most = f"the newest {MOST_FOUND} of them" if found.is_cut else f"{formatting.number(len(found.rows))} events"
    return f"The {choice.query.chosen.words}, by event time: {most}."


def _none(feed: Feed, choice: Choice, *, is_by_time: bool) -> str:
    if not is_by_time or feed.latest(choice.query).is_empty:
        return "No event has been stored yet."
    return f"No event of the {choice.query.chosen.words} matches."


def _show_limit(back_to: datetime, feed: Feed, choice: Choice) -> None:
    """Say how far was searched, and let the visitor search the rest."""
    window = time_window.window(choice.query.chosen, feed.now())
    at = formatting.instant(back_to, today=feed.now(), zone=choice.zone)
    st.info(f"Only the events after {at} were searched: a search reads {MOST_SEARCHED:,} events.")
    ends = ("from", str(to_ms(window.start))), ("to", str(to_ms(back_to) + 1))
    st.button("Search the events before", key="search_before", on_click=lambda: address.change(ends))


def _choose() -> None:
    found: SearchResult = st.session_state[_FOUND]
    chosen = [found.rows[row]["_id"] for row in _selected_rows() if row < len(found.rows)]
    address.change([(EVENT, chosen[0] if chosen else [])])


def _show_document(pipeline: Pipeline, name: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header("Event", anchor=False, width="stretch")
        if not address.is_kiosk():
            st.button("Close", icon=":material/close:", key="close_event", on_click=_close)
    try:
        document = pipeline.document(name)
    except DashboardError as error:
        st.warning(str(error))
        return
    if document is None:
        st.info("This event is not stored: it has been deleted, or the address is wrong.")
        return
    _show_added(pipeline, document)
    if (user := document.get(USER)) is not None:
        st.button("Events of this user", icon=":material/person_search:", on_click=_show_user, args=(str(user),))
    # Not as st.json: the contrast of its colours is too low.
    st.code(
        json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS, indent=2, ensure_ascii=False),
        language=None,
        wrap_lines=True,
    )


def _close() -> None:
    # Another table, in which nothing is selected.
    st.session_state[_TABLE] = _table() + 1
    address.change([(EVENT, [])])


def _show_user(user: str) -> None:
    address.change([(BY_USER, user), (ORDER, [])])


def _show_added(pipeline: Pipeline, document: Document) -> None:
    try:
        added = explorer.added(document, pipeline.schemas())
    except DashboardError:
        return
    version = formatting.literal(explorer.text(document.get(SCHEMA_VERSION.path)))
    for path, value in added:
        st.markdown(f":green[\\+ **{formatting.literal(path)}** = {formatting.literal(value)}], added by {version}")


def _show_timeline(rows: Sequence[Document], user: str, feed: Feed, choice: Choice) -> None:
    times: Any = explorer.times_by_value(rows, _MAIN_PATH)
    if not times:
        return
    window = time_window.window(choice.query.chosen, feed.now())
    zone: tzinfo = figures.axis_zone(window, choice.zone)
    with st.container(border=True):
        charts.heading("Timeline", "the events below, by event type")
        text = explorer.timeline_text(user, times)
        chart.draw(explorer.timeline(times, window, zone), key="timeline", alt=text)
