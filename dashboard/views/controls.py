"""What a visitor can choose; kept in the page's address."""

from __future__ import annotations

import streamlit as st

from dashboard.timeplan import DEFAULT, RANGES, Range, range_named

REFRESH_SECONDS = 5


def show() -> tuple[Range, int | None]:
    """Show the controls; return the range, and the seconds between refreshes or None."""
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        key = st.segmented_control(
            "Range of event time",
            [offered.key for offered in RANGES],
            default=DEFAULT.key,
            key="range",
            bind="query-params",
            required=True,
            label_visibility="collapsed",
        )
        is_refreshing = st.toggle(
            f"Auto refresh ({REFRESH_SECONDS} s)", value=True, key="refresh", bind="query-params", width="content"
        )
    return range_named(key), REFRESH_SECONDS if is_refreshing else None
