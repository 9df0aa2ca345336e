"""Controls inside of the live part whose choice the page's address keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard.views import address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def pressed(label: str, offered: Sequence[str], *, key: str) -> str:
    """Show a button for each choice, of which the first one is the default; return the one that is pressed."""
    st.session_state[key] = chosen = address.one(key, offered)
    st.segmented_control(label, offered, key=key, required=True, on_change=_keep(key, offered), width="content")
    return chosen


def selected(label: str, offered: Sequence[str], *, key: str) -> str:
    """Show a list of choices, of which the first one is the default; return the one that is selected."""
    st.session_state[key] = chosen = address.one(key, offered)
    st.selectbox(label, offered, key=key, on_change=_keep(key, offered))
    return chosen


def _keep(key: str, offered: Sequence[str]) -> Callable[[], None]:
    return lambda: address.change_one(key, st.session_state[key], offered)
