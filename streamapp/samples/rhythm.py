"""Event times that fill a span with a daily and a weekly rhythm, as events of users have."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from math import cos, tau

_STEP = timedelta(minutes=15)
#: The hour of UTC with the most events; the hour twelve hours later has a fifth of them.
_BUSIEST_HOUR = 15.0
_QUIETEST = 0.2
#: Events of a Saturday or a Sunday, as a fraction of those of another day.
_WEEKEND = 0.6
_SATURDAY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span of event time."""

    start: datetime
    end: datetime


class Rhythm:
    """The event times of a number of events, which only increase; the same arguments give the same times."""

    def __init__(self, span: Span, count: int) -> None:
        self._span = span
        self._count = count
        steps = -(-(span.end - span.start) // _STEP)
        self._edges = [min(span.start + step * _STEP, span.end) for step in range(steps + 1)]
        widths = [later - earlier for earlier, later in zip(self._edges, self._edges[1:], strict=False)]
        weights = [_weight(at) * (width / _STEP) for at, width in zip(self._edges, widths, strict=False)]
        #: The sum of the weights before each edge.
        self._sums = [0.0, *accumulate(weights)]

    def event_time(self, index: int) -> int:
        """Return the event time of the event number `index`, in milliseconds since the epoch."""
        position = (index + 0.5) / self._count * self._sums[-1]
        step = min(bisect_right(self._sums, position), len(self._sums) - 1) - 1
        within = (position - self._sums[step]) / (self._sums[step + 1] - self._sums[step])
        at = self._edges[step] + within * (self._edges[step + 1] - self._edges[step])
        return int(at.timestamp() * 1000)


def _weight(at: datetime) -> float:
    at = at.astimezone(UTC)
    hour = at.hour + at.minute / 60
    of_day = (1 + cos((hour - _BUSIEST_HOUR) / 24 * tau)) / 2
    return (_QUIETEST + (1 - _QUIETEST) * of_day) * (_WEEKEND if at.weekday() >= _SATURDAY else 1.0)
