"""The latest events as a table, and the whole document of the selected row."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import streamlit as st
from bson import json_util

from dashboard.model import formatting
from dashboard.model.errors import DashboardError
from dashboard.model.time_window import from_ms
from streamapp.model.user_event import LATEST_DIMENSIONS, TIME, USER
from streamapp.model.value_text import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from dashboard.data.pipeline import Pipeline
    from dashboard.model.health import Document

_TABLE, _ROWS = "latest", "latest_rows"


def show(pipeline: Pipeline, zone: tzinfo) -> None:
    """Show the latest events; the table does not change while a row is selected, or during an outage."""
    selected = _selected()
    if selected is None or _ROWS not in st.session_state:
        _read(pipeline)
    if _ROWS in st.session_state:
        _show_table(st.session_state[_ROWS], zone)
        if selected is not None:
            _show_document(pipeline, st.session_state[_ROWS], selected)


def _read(pipeline: Pipeline) -> None:
    try:
        st.session_state[_ROWS] = pipeline.latest()
    except DashboardError as error:
        st.warning(f"{error} Data below was read before." if _ROWS in st.session_state else str(error))


def _selected() -> int | None:
    rows = st.session_state.get(_TABLE, {}).get("selection", {}).get("rows", [])
    return rows[0] if rows else None


def _show_table(rows: Sequence[Document], zone: tzinfo) -> None:
    if not rows:
        st.info("No event has been stored yet.")
        return
    st.caption(
        f"The latest {len(rows)} events in the order in which they were stored; "
        f"times are {formatting.zone_name(zone)}. "
        "Select one to see all of it."
    )
    st.dataframe(
        [_row(found, zone) for found in rows],
        key=_TABLE,
        on_select="rerun",
        selection_mode="single-row",
        hide_index=True,
        width="stretch",
    )


def _show_document(pipeline: Pipeline, rows: Sequence[Document], selected: int) -> None:
    if selected >= len(rows):
        return
    try:
        document = pipeline.document(rows[selected]["_id"])
    except DashboardError as error:
        st.warning(str(error))
        return
    if document is None:
        st.info("This event has been deleted.")
    else:
        st.json(json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS))


def _row(found: Document, zone: tzinfo) -> dict[str, Any]:
    kafka, (main, *others) = found.get("kafka") or {}, LATEST_DIMENSIONS
    return {
        "received": _instant(found.get("received_at"), zone),
        "event time": _event_time(found.get(TIME), zone),
        str(main.column): _text(found.get(main.path)),
        "user": _text(found.get(USER)),
        **{str(each.column): _text(found.get(each.path)) for each in others},
        "partition:offset": f"{kafka.get('partition', '?')}:{kafka.get('offset', '?')}",
    }


def _instant(at: object, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}" if isinstance(at, datetime) else formatting.UNKNOWN


def _event_time(ms: object, zone: tzinfo) -> str:
    try:
        return _instant(from_ms(int(ms)), zone)  # pyright: ignore[reportArgumentType] - whatever is stored
    except (TypeError, ValueError, OverflowError):
        return formatting.UNKNOWN


def _text(value: object) -> str:
    text = text_of(value)
    return formatting.NONE if text is None else text
