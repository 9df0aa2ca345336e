"""Controls whose choice the page's address keeps; a kiosk does not show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.views import address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def pressed(label: str, offered: Sequence[str], *, key: str, has_label: bool = True) -> str:
    """Show a button for each choice, of which the first one is the default; return the one that is pressed."""
    chosen = address.one(key, offered)
    if not address.is_kiosk():
        st.session_state[key] = chosen
        st.segmented_control(
            label,
            offered,
            key=key,
            required=True,
            on_change=_keep(key, offered),
            label_visibility="visible" if has_label else "collapsed",
            width="content",
        )
    return chosen


def selected(label: str, offered: Sequence[str], *, key: str) -> str:
    """Show a list of choices, of which the first one is the default; return the one that is selected."""
    chosen = address.one(key, offered)
    if not address.is_kiosk():
        st.session_state[key] = chosen
        st.selectbox(label, offered, key=key, on_change=_keep(key, offered))
    return chosen


def _keep(key: str, offered: Sequence[str]) -> Callable[[], None]:
    return lambda: address.change_one(key, st.session_state[key], offered)
