"""The choices of a visitor as parameters of the page's address.

Controls are not bound to the address by Streamlit: each choice is one change of it, so one entry in the history of the
browser, whatever number of parameters changes.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from dashboard.model import time_window
from dashboard.model.snapshot import FILTERS, Filter
from dashboard.model.time_window import RANGES, Range, range_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RANGE, _FROM, _TO = "range", "from", "to"
RANGE_KEYS = [offered.key for offered in RANGES]
_LIVE: Sequence[tuple[str, list[str]]] = ((_FROM, []), (_TO, []))
#: Set when the live part has changed the address: the whole page must then run again.
_CHANGED = "address_changed"


def one(name: str, offered: Sequence[str]) -> str:
    """Return the choice of one of several; the first one is the default."""
    value = st.query_params.get(name)
    return next((other for other in offered if other == value), offered[0])


def is_on(name: str) -> bool:
    """Whether something is switched on."""
    return st.query_params.get(name) == "true"


def is_kiosk() -> bool:
    """Whether the page shows no controls."""
    return is_on("kiosk")


def change(parameters: Iterable[tuple[str, str | list[str]]]) -> None:
    """Set parameters, or remove those with an empty list, at once."""
    st.query_params.update(dict(parameters))
    st.session_state[_CHANGED] = True


def change_one(name: str, value: str, offered: Sequence[str]) -> None:
    """Set one of several; the default is not in the address."""
    change([(name, [] if value == offered[0] else value)])


def was_changed() -> bool:
    """Whether the address was changed since this was last asked."""
    return bool(st.session_state.pop(_CHANGED, False))


def chosen_range() -> Range:
    """Return the range of event time."""
    return chosen_period() or live_range()


def live_range() -> Range:
    """Return the range that ends now; during a fixed period the one before it."""
    return range_named(one(RANGE, RANGE_KEYS))


def chosen_period() -> Range | None:
    """Return the fixed period, None if the range ends now."""
    return time_window.custom(st.query_params.get(_FROM), st.query_params.get(_TO))


def choose_range(key: str) -> None:
    """Choose a range that ends now."""
    change([(RANGE, [] if key == RANGE_KEYS[0] else key), *_LIVE])


def choose_period(edges: Sequence[str], zone: tzinfo) -> bool:
    """Choose the period between two times of a zone, in any order; return whether it can be shown."""
    ends = time_window.drawn(edges, zone)
    if ends is None or time_window.custom(str(ends[0]), str(ends[1])) is None:
        return False
    change(zip((_FROM, _TO), map(str, ends), strict=True))
    return True


def back_to_live() -> None:
    """Let the range end now again."""
    if chosen_period():
        change(_LIVE)


def filtered() -> Filter:
    """Return the filter."""
    return Filter(**{name: tuple(sorted(selected(name))) for name in FILTERS})


def selected(name: str) -> Sequence[str]:
    """Return the labels of a dimension by which is filtered."""
    return list(dict.fromkeys(st.query_params.get_all(name)))


def select(name: str, chosen: Sequence[str]) -> None:
    """Filter by these labels of a dimension."""
    change([(name, list(chosen))])


def toggle(name: str, label: str) -> None:
    """Filter by one more label of a dimension, or no longer by it."""
    before = selected(name)
    select(name, [other for other in before if other != label] if label in before else [*before, label])


def clear_filters() -> None:
    """Remove all filters."""
    change((name, []) for name in FILTERS)


def zone(offered: Sequence[str]) -> tzinfo:
    """Return the time zone; the first one offered is that of the browser."""
    name = st.context.timezone if one("zone", offered) == offered[0] else None
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
