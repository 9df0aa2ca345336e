"""Histories of a partition's lag in steps of a minute and of ten minutes, for the last hour and the last day.

An entry of a history is {at, lag, lag_seconds_at_most, rate}: the start of the step, the greatest lag and the greatest
upper bound of the age that the heartbeats of the step had, and the mean of their rates. What no heartbeat of the step
knew is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

#: An entry of `recent`, or of a history.
Entry = Mapping[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HistoryLevel(NamedTuple):
    """A field of a partition's document, the width of its steps, and the number of entries that are kept."""

    name: str
    step: timedelta
    entries: int

    def start_of(self, at: datetime) -> datetime:
        """The start of the step that holds the instant."""
        return _EPOCH + (at - _EPOCH) // self.step * self.step


HOUR = HistoryLevel("last_hour", timedelta(minutes=1), 60)
DAY = HistoryLevel("last_day", timedelta(minutes=10), 144)
LEVELS = (HOUR, DAY)


@dataclass(slots=True)
class LagHistory:
    """Collects the entries of one partition, and returns those of the histories."""

    _open: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])

    def add(self, entry: Entry) -> Mapping[HistoryLevel, Entry]:
        """Add an entry of `recent`; return the entry of each step that has ended before it."""
        ended: dict[HistoryLevel, Entry] = {}
        for level in LEVELS:
            collected = self._open.setdefault(level.name, [])
            start = level.start_of(collected[0]["at"]) if collected else None
            if start is not None and start != level.start_of(entry["at"]):
                ended[level] = _summary(collected, start)
                collected.clear()
            collected.append(entry)
        return ended


def _summary(entries: Sequence[Entry], start: datetime) -> Entry:
    rates = [each["rate"] for each in entries if each["rate"] is not None]
    return {
        "at": start,
        "lag": _greatest(each["lag"] for each in entries),
        "lag_seconds_at_most": _greatest(
            each["lag_seconds_at_most"] if each["lag_seconds"] is None else each["lag_seconds"] for each in entries
        ),
        "rate": round(sum(rates) / len(rates), 3) if rates else None,
    }


def _greatest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
