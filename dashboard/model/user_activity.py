"""What users do: who does most, how many do several things in order, and how many come for the first time; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from heapq import nsmallest
from typing import NamedTuple

from dashboard.model import figures, formatting, labels
from dashboard.model.compute import EXACT_USERS
from dashboard.model.figures import Chart
from dashboard.model.snapshot import Filter, Part
from dashboard.model.time_window import Window
from streamapp.model.user_event import SERIES_COLOURS
from streamapp.rollups.rollup import unique, unique_up_to

MOST_STEPS = 5
#: Users with a bar.
MOST_USERS = 8
#: By the key in the address.
WITHIN: Mapping[str, timedelta] = {
    "30 min": timedelta(minutes=30),
    "1 h": timedelta(hours=1),
    "24 h": timedelta(days=1),
    "7 d": timedelta(days=7),
}
#: An estimate of users is at most so far off, see streamapp.rollups.rollup.unique.
ERROR = 0.04
DAYS_HEIGHT = 220


class Act(NamedTuple):
    """An event, as far as it is of interest here."""

    user: str
    label: str
    """Of its event type."""
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityQuery:
    """What a visitor wants to know."""

    window: Window
    filter: Filter
    steps: tuple[str, ...]
    within: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What was counted in the newest events of a window."""

    counted: int
    """Events that pass the filter."""
    users: int
    top: tuple[tuple[str, int], ...]
    """Users with the most events, the first one has most."""
    reached: tuple[int, ...]
    """Users that reached each step of the funnel."""
    counted_back_to: datetime | None = None
    """Events of the window before it were not read; None: all were."""


class Day(NamedTuple):
    """The users of one day, which are estimates beyond EXACT_USERS."""

    start: datetime
    users: float
    so_far: float
    """Users of this day and all days before it."""


class NewUsers(NamedTuple):
    """The users of one day that came for the first time, with the bounds of the estimate, and all of the day."""

    start: datetime
    n: int
    least: int
    most: int
    of: int


def activity(acts: Iterable[Act], query: ActivityQuery, counted_back_to: datetime | None) -> Activity:
    """Count events, the newest first."""
    found, by_user = [*acts], dict[str, list[Act]]()
    counts = Counter([act.user for act in found])
    for act in found:
        if act.label in query.steps:
            by_user.setdefault(act.user, []).append(act)
    return Activity(
        counted=len(found),
        users=len(counts),
        top=tuple(nsmallest(MOST_USERS, counts.items(), key=lambda counted: (-counted[1], counted[0]))),
        reached=funnel(by_user.values(), query.steps, query.within),
        counted_back_to=counted_back_to,
    )


def funnel(of_users: Iterable[Iterable[Act]], steps: Sequence[str], within: timedelta) -> tuple[int, ...]:
    """Return how many users reached each step: events of these types in order, all of them within a time."""
    reached = Counter[int]()
    within_ms = within // timedelta(milliseconds=1)
    for of_user in of_users:
        reached.update(range(_furthest(sorted(of_user, key=lambda act: act.at_ms), steps, within_ms)))
    return tuple(reached[step] for step in range(len(steps)))


def _furthest(acts: Sequence[Act], steps: Sequence[str], within_ms: int) -> int:
    """How many steps one user did."""
    # Of all ways to a step, the one that began last leaves the most time for the next steps.
    began: list[int | None] = [None] * len(steps)
    furthest = 0
    for act in acts:
        # From the last step back, so that one event is one step only.
        for step in reversed(range(len(steps))):
            if act.label != steps[step]:
                continue
            start = act.at_ms if step == 0 else began[step - 1]
            if start is not None and act.at_ms - start <= within_ms:
                began[step], furthest = start, max(furthest, step + 1)
    return furthest


def top_users(found: Activity, total: int) -> tuple[Part, ...]:
    """Return the bars of the users with the most events; the rest of the total may be of any of them."""
    rest = max(0, total - found.counted) if found.counted_back_to else 0
    return tuple(Part(label=labels.value(user), n=n, of=found.counted, error=rest) for user, n in found.top)


def steps_of(found: Activity, steps: Sequence[str]) -> tuple[Part, ...]:
    """Return the bars of the funnel: of the users that did the first step."""
    return tuple(
        Part(label=f"{number}. {step}", n=n, of=max(found.reached[0], 1))
        for number, (step, n) in enumerate(zip(steps, found.reached, strict=True), 1)
    )


def days(sketches: Iterable[tuple[datetime, Sequence[bytes]]]) -> tuple[Day, ...]:
    """Return the users of each day, given the days in their order with the sketches of all their rollups."""
    known = [*sketches]
    so_far = unique_up_to([of_day for _, of_day in known])
    return tuple(Day(start, unique(of_day), n) for (start, of_day), n in zip(known, so_far, strict=True))


def new_users(found: Sequence[Day], last: int) -> tuple[NewUsers, ...]:
    """Return the new users of the days with events among the last days until the newest one."""
    before = [0.0, *(day.so_far for day in found)]
    return tuple(
        _new(day, n)
        for day, n in zip(found, before, strict=False)
        if day.start > found[-1].start - timedelta(days=last)
    )


def _new(day: Day, before: float) -> NewUsers:
    of = round(day.users)

    def limited(n: float) -> int:
        return min(max(round(n), 0), of)

    error = 0.0 if day.so_far <= EXACT_USERS else ERROR * (before + day.so_far)
    grown = day.so_far - before
    return NewUsers(day.start, limited(grown), limited(grown - error), limited(grown + error), of)


@lru_cache(64)
def days_chart(shown: tuple[NewUsers, ...], last: int) -> Chart:
    """Return the users of each of the last days, stacked by new and returning ones."""
    end = shown[-1].start + timedelta(days=1)
    width_ms = 86_400_000
    amounts = {"New": [day.n for day in shown], "Returning": [day.of - day.n for day in shown]}
    bars = [
        {
            "type": "bar",
            "name": name,
            "x": [figures.drawn(day.start, UTC) for day in shown],
            "y": values,
            "width": width_ms * 0.8,
            "offset": width_ms * 0.1,
            "marker": {"color": colour, "line": {"width": 0}},
            "customdata": [[f"{day.start:%d %b %Y}", new_text(day), formatting.number(day.of)] for day in shown],
            "hovertemplate": "%{customdata[0]}<br>new: %{customdata[1]}<br>all: %{customdata[2]}<extra></extra>",
        }
        for (name, values), colour in zip(amounts.items(), SERIES_COLOURS, strict=False)
    ]
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}
    numbers = {"title": {"text": "Users"}, "rangemode": "tozero", "tickformat": ",d", "nticks": 5, "fixedrange": True}
    edges = [figures.drawn(at, UTC) for at in (end - timedelta(days=last), end)]
    times = {"type": "date", "range": edges, "tickformat": "%d %b", "nticks": 8, "fixedrange": True}
    layout = {**figures.layout(DAYS_HEIGHT), "barmode": "stack", "showlegend": True, "legend": legend}
    return Chart(bars, {**layout, "xaxis": {**times, **figures.SPACE_BELOW}, "yaxis": numbers})


def new_text(day: NewUsers) -> str:
    """Return the new users of a day, with the bounds where they are an estimate."""
    if day.least == day.most:
        return formatting.number(day.n)
    return f"~{formatting.number(day.n)} ({formatting.between(day.least, day.most)})"


def days_text(shown: Sequence[NewUsers]) -> str:
    """Return what the chart of the days says, in a sentence."""
    if not shown:
        return "New and returning users: none."
    last = shown[-1]
    return f"Users of {last.start:%d %b %Y}: {formatting.number(last.of)}, of whom new {new_text(last)}."
