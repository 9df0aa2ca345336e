"""The four numbers at the top."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import words

if TYPE_CHECKING:
    from dashboard.feed import Reading
    from dashboard.snapshot import Snapshot
    from dashboard.timeplan import Range

_HELP = {
    "Total events": "Events in the chosen range, by event time; beside it, all events that are stored.",
    "Unique users": "Different user ids among the events in the chosen range.",
    "V2 adoption": "Events written with the version of user_event_v2.avsc or a later one, among those whose version is "
    "registered under the subject.",
    "Main action": "The most frequent event type in the chosen range.",
}
# What st.metric shows as it is; anything else could be read as Markdown.
_HARMLESS = re.compile(r"[^\W_](?:[\w.-]*[^\W_])?")


def show(reading: Reading, chosen: Range) -> None:
    """Show the four KPIs; what was not read is unknown, which is not 0."""
    cards = _cards(reading, chosen)
    for column, (label, (value, beside)) in zip(st.columns(4), cards.items(), strict=True):
        # Texts, not numbers: the browser would write numbers in its own locale.
        column.metric(
            label,
            value,
            delta=beside,
            delta_color="off",
            delta_arrow="off",
            help=_HELP[label],
            border=True,
            height="stretch",
        )


def _cards(reading: Reading, chosen: Range) -> dict[str, tuple[str, str]]:
    beside_total = _all_time(reading)
    if reading.is_empty:
        return _in_order(("0", beside_total), ("0", f"in the {chosen.words}"), (words.NONE, "no events"), None)
    shown = reading.snapshot
    if shown is None:
        unknown = (words.UNKNOWN, "not read")
        return _in_order((words.UNKNOWN, beside_total), unknown, unknown, unknown)
    users = (words.number(shown.users), f"in the {chosen.words}")
    return _in_order((words.number(shown.total), beside_total), users, _adoption(shown), _main_action(shown))


def _in_order(
    total: tuple[str, str], users: tuple[str, str], adoption: tuple[str, str], action: tuple[str, str] | None
) -> dict[str, tuple[str, str]]:
    return dict(zip(_HELP, (total, users, adoption, action or (words.NONE, "no events")), strict=True))


def _all_time(reading: Reading) -> str:
    if reading.is_empty:
        return words.all_time(0, is_exact=True)
    if reading.overview is None:
        return f"all time {words.UNKNOWN}"
    return words.all_time(reading.overview.all_time, is_exact=reading.overview.all_time_is_exact)


def _adoption(shown: Snapshot) -> tuple[str, str]:
    if shown.adoption is None:
        return words.NONE, "no registered version" if shown.total else "no events"
    part = shown.adoption
    return words.percent(part.share), f"{words.number(part.n)} of {words.number(part.of)}"


def _main_action(shown: Snapshot) -> tuple[str, str] | None:
    part = shown.main_action
    return (_literal(part.label), f"{words.percent(part.share)} of events") if part else None


def _literal(text: str) -> str:
    if _HARMLESS.fullmatch(text):
        return text
    return re.sub(r"([^\w\s])|(_)", r"\\\1\2", text, flags=re.ASCII)
