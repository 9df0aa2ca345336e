"""The four numbers at the top of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from dashboard.model import formatting, labels
from streamapp.model.user_event import KPIS

if TYPE_CHECKING:
    from dashboard.data.feed import Reading
    from dashboard.model.snapshot import Overview, Snapshot
    from dashboard.model.time_window import Range
    from streamapp.model.user_event import Kpi

_COMPARED = " The change is against the period before, without the bucket that is still filling."


def show(reading: Reading, chosen: Range) -> None:
    """Show the four KPIs; a number that could not be read is shown as unknown, not as 0."""
    for column, kpi, card in zip(st.columns(len(KPIS)), KPIS, _cards(reading, chosen), strict=True):
        # texts, not numbers: the browser would format numbers in its own locale
        column.metric(
            kpi.title, card.value, help=kpi.help + _COMPARED, border=True, height="stretch", **_beside(card, kpi)
        )


class _Card(NamedTuple):
    value: str
    beside: str
    change: str | None = None


def _beside(card: _Card, kpi: Kpi) -> dict[str, Any]:
    # a constant series as a number, so that it is drawn as neither rising nor falling
    has_digits = card.change is not None and any(digit.isdigit() for digit in card.change)
    is_flat = has_digits and not any(digit in str(card.change) for digit in "123456789")
    return {
        "delta": 0 if is_flat else card.change,
        "delta_description": card.beside,
        "delta_color": "normal" if kpi.more_is_better else "off",
        "delta_arrow": "auto" if has_digits or card.change is None else "off",
    }


def _cards(reading: Reading, chosen: Range) -> tuple[_Card, ...]:
    if reading.is_empty:
        none = _Card(formatting.NONE, "no events")
        return _Card("0", formatting.all_time(0, is_exact=True)), _Card("0", f"in the {chosen.words}"), none, none
    shown = reading.snapshot
    if shown is None:
        unknown = _Card(formatting.UNKNOWN, "not read")
        return _Card(formatting.UNKNOWN, _all_time(reading.overview)), unknown, unknown, unknown
    total = _Card(
        formatting.count(shown.total, shown.total + shown.possible),
        _all_time(shown.overview, shown.total),
        formatting.change(shown.changes.total),
    )
    return total, _users(shown), _adoption(shown), _main_action(shown)


def _all_time(overview: Overview | None, shown: int = 0) -> str:
    if overview is None:
        return f"all time {formatting.UNKNOWN}"
    # Rollups are exact. Where they lack events, MongoDB's own count is closer; the shown number may be newer.
    return formatting.all_time(max(overview.rolled_up, overview.stored, shown), is_exact=overview.is_exact)


def _users(shown: Snapshot) -> _Card:
    if shown.users is None:
        return _Card("n/a", "not available while filtering")
    return _Card(
        formatting.users(shown.users), f"in the {shown.query.chosen.words}", formatting.change(shown.changes.users)
    )


def _adoption(shown: Snapshot) -> _Card:
    if shown.adoption is None:
        # By a filter of which only the total is known.
        is_known = not any(series.version == labels.NOT_COUNTED for series in shown.volume)
        why = "no registered version" if is_known else "not available while filtering"
        return _Card(formatting.NONE, why if shown.total else "no events")
    part = shown.adoption
    mark = "~" if shown.possible else ""
    beside = f"{mark}{formatting.number(part.n)} of {mark}{formatting.number(part.of)}"
    return _Card(f"{mark}{formatting.percent(part.share)}", beside, formatting.points(shown.changes.adoption))


def _main_action(shown: Snapshot) -> _Card:
    part = shown.main_action
    if part is None:
        return _Card(formatting.NONE, "not available while filtering" if shown.total else "no events")
    beside = f"{formatting.share(part)} of events"
    if shown.is_main_action_sure:
        return _Card(formatting.literal(part.label), beside, formatting.points(shown.changes.main_action))
    return _Card(f"~ {formatting.literal(part.label)}", f"{beside}; another one can have more")
