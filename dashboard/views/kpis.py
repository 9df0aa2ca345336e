"""The four numbers at the top of the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from dashboard.model import formatting
from streamapp.model.user_event import ADOPTED_VERSION, DIMENSIONS, MAIN_DIMENSION, MAIN_TITLE

if TYPE_CHECKING:
    from dashboard.data.feed import Reading
    from dashboard.model.snapshot import Overview, Snapshot
    from dashboard.model.time_window import Range

_COMPARED = " The change is against the period before, without the bucket that is still filling."
_MAIN = next(each for each in DIMENSIONS if each.plural == MAIN_DIMENSION)
_HELP = {
    "Total events": "Events in the chosen range, by event time; beside it, all events that are stored." + _COMPARED,
    "Unique users": "Different user ids among the events in the chosen range. Beyond some 190 it is an estimate by "
    "sketches, marked ~: within 4 %." + _COMPARED,
    f"V{ADOPTED_VERSION} adoption": f"Events written with the version of user_event_v{ADOPTED_VERSION}.avsc or a later "
    "one, among those whose version is registered under the subject." + _COMPARED,
    MAIN_TITLE: f"The most frequent {_MAIN.title.lower()} in the chosen range. The change is that of its share."
    + _COMPARED,
}
# Characters that st.metric shows unchanged; others could be read as Markdown.
_HARMLESS = re.compile(r"[^\W_](?:[\w.-]*[^\W_])?")


def show(reading: Reading, chosen: Range) -> None:
    """Show the four KPIs; a number that could not be read is shown as unknown, not as 0."""
    cards = _cards(reading, chosen)
    for column, (label, card) in zip(st.columns(4), cards.items(), strict=True):
        # texts, not numbers: the browser would format numbers in its own locale
        column.metric(label, card.value, help=_HELP[label], border=True, height="stretch", **_beside(card))


class _Card(NamedTuple):
    value: str
    beside: str
    change: str | None = None


def _beside(card: _Card) -> dict[str, Any]:
    # a constant series as a number, so that it is drawn as neither rising nor falling
    is_flat = card.change is not None and not any(digit in card.change for digit in "123456789")
    return {"delta": 0 if is_flat else card.change, "delta_description": card.beside}


def _cards(reading: Reading, chosen: Range) -> dict[str, _Card]:
    return dict(zip(_HELP, _in_order(reading, chosen), strict=True))


def _in_order(reading: Reading, chosen: Range) -> tuple[_Card, ...]:
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
        return _Card(formatting.NONE, "no registered version" if shown.total else "no events")
    part = shown.adoption
    mark = "~" if shown.possible else ""
    beside = f"{mark}{formatting.number(part.n)} of {mark}{formatting.number(part.of)}"
    return _Card(f"{mark}{formatting.percent(part.share)}", beside, formatting.points(shown.changes.adoption))


def _main_action(shown: Snapshot) -> _Card:
    part = shown.main_action
    if part is None:
        return _Card(formatting.NONE, "no events")
    beside = f"{formatting.share(part)} of events"
    if shown.is_main_action_sure:
        return _Card(_literal(part.label), beside, formatting.points(shown.changes.main_action))
    return _Card(f"~ {_literal(part.label)}", f"{beside}; another one can have more")


def _literal(text: str) -> str:
    if _HARMLESS.fullmatch(text):
        return text
    return re.sub(r"([^\w\s])|(_)", r"\\\1\2", text, flags=re.ASCII)
