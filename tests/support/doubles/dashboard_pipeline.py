"""Documents as workers write them about themselves, and a Pipeline that answers with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any

from dashboard.data.newest import MOST_READ
from dashboard.data.pipeline import LATEST
from dashboard.data.search import MOST_FOUND, MOST_SEARCHED
from dashboard.model.clients import Client, clients, headers_of
from dashboard.model.explorer import COLUMNS, Search, SearchResult
from dashboard.model.health import PipelineState
from dashboard.model.pipeline_trends import PipelineHistory, Span
from dashboard.model.schema_versions import SchemaState
from dashboard.model.snapshot import Sample
from dashboard.model.time_window import bucket_start, from_ms, to_ms
from dashboard.model.user_activity import Activity, ActivityQuery, Day
from streamapp.monitoring.latency import BOUNDS_MS
from tests.support.doubles.dashboard_reader import NOON, FakeReader, values

if TYPE_CHECKING:
    from dashboard.model.errors import DashboardError
    from dashboard.model.snapshot import Filter
    from dashboard.model.time_window import Window


def seconds(ago: float) -> datetime:
    """Return the instant so long ago."""
    return NOON - timedelta(seconds=ago)


def points(lag: int, *, rate: float | None) -> list[dict[str, Any]]:
    """Return a minute of the same lag and rate."""
    return [{"at": seconds(ago), "lag": lag, "lag_seconds": None, "rate": rate} for ago in range(60, 0, -5)]


def partition(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a partition of which all is settled, with what the test cares about changed."""
    whole = {
        "kind": "partition",
        "topic": "user_events",
        "partition": number,
        "incarnation": "A" * 22,
        "at": seconds(2),
        "settled": 100,
        "end": 100,
        "lag": 0,
        "lag_seconds": 0.0,
        "rate": 0.0,
        "recent": points(0, rate=0),
    }
    return {**whole, **changes}


def worker(name: str = "host-1-ab", *, duplicates: int = 0, counts: Sequence[float] = (), **changes: Any) -> Any:
    """Return a worker with a fresh heartbeat, with what the test cares about changed."""
    whole = {
        "_id": f"worker:{name}",
        "kind": "worker",
        "at": seconds(2),
        "partitions": 3,
        "rate": None,
        "fates": {"stored": 10, "duplicates": duplicates, "dead_lettered": 0},
        "latency": {"bounds_ms": list(BOUNDS_MS), "counts": list(counts) or [0.0] * (len(BOUNDS_MS) + 1)},
    }
    return {**whole, **changes}


class FakePipeline:
    """A Pipeline that answers with what it is given, or with an error."""

    def __init__(self, state: PipelineState | None = None, events: Sequence[dict[str, Any]] = ()) -> None:
        self._written = state or PipelineState()
        self.schema_state = SchemaState(stored={})
        #: By reason and minute, epoch ms.
        self.dead_letters: Mapping[str, Mapping[int, int]] = {}
        self.most_searched, self.most_read = MOST_SEARCHED, MOST_READ
        self.events = [*events]
        self.error: DashboardError | None = None

    def state(self) -> PipelineState:
        """Return what the workers wrote."""
        self._raise()
        return self._written

    def history(self, span: Span, now: datetime) -> PipelineHistory:
        """Return what the workers wrote, and the dead letters that it is given."""
        self._raise()
        since = to_ms(now - span.length)
        counted = {reason: {at: n for at, n in of.items() if at >= since} for reason, of in self.dead_letters.items()}
        return PipelineHistory(span=span, partitions=self._written.partitions, dead_letters=counted)

    def schemas(self) -> SchemaState:
        """Return what is known of the versions; the events of all time are those that it holds."""
        self._raise()
        return replace(self.schema_state, stored=Counter(values(event)["versions"] for event in self.events))

    def sample(self, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sample:
        """Return the newest events of the window that pass the filter, counted."""
        self._raise()
        inside = [event for event in self.events if window.start <= from_ms(event["event_timestamp"]) < window.end]
        newest = sorted(inside, key=lambda event: event["event_timestamp"], reverse=True)[: self.most_read]
        counts = FakeReader(newest, numbers=numbers).found_directly(window, wanted, numbers).counts
        return Sample(counts=replace(counts, users=None), read=len(newest), is_cut=len(inside) > self.most_read)

    def clients(self, window: Window, wanted: Filter, numbers: Mapping[int, int]) -> Sequence[Client]:
        """Return who sent the newest events of the window that pass the filter."""
        self._raise()
        inside = [event for event in self.events if window.start <= from_ms(event["event_timestamp"]) < window.end]
        newest = sorted(inside, key=lambda event: event["event_timestamp"], reverse=True)[: self.most_read]
        passing = [event for event in newest if _passes(event, wanted, numbers)]
        return clients((headers_of(event), event["event_timestamp"]) for event in passing)

    def activity(self, query: ActivityQuery, numbers: Mapping[int, int]) -> Activity:
        """Return what the users did, each found out by trying all ways through the steps."""
        self._raise()
        window, most = query.window, self.most_read
        inside = [event for event in self.events if window.start <= from_ms(event["event_timestamp"]) < window.end]
        newest = sorted(inside, key=lambda event: event["event_timestamp"], reverse=True)
        passing = [event for event in newest[:most] if _passes(event, query.filter, numbers)]
        counts = Counter(event["user_id"] for event in passing)
        furthest = [_furthest([e for e in passing if e["user_id"] == user], query) for user in counts]
        return Activity(
            counted=len(passing),
            users=len(counts),
            top=tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:8]),
            reached=tuple(sum(each > step for each in furthest) for step in range(len(query.steps))),
            counted_back_to=from_ms(newest[most]["event_timestamp"]) if len(newest) > most else None,
        )

    def days(self) -> tuple[Day, ...]:
        """Return the users of each day, counted."""
        self._raise()
        seen, found = set[str](), list[Day]()
        by_day = {bucket_start(from_ms(event["event_timestamp"]), timedelta(days=1)) for event in self.events}
        for day in sorted(by_day):
            users = {
                e["user_id"] for e in self.events if day <= from_ms(e["event_timestamp"]) < day + timedelta(days=1)
            }
            seen |= users
            found.append(Day(day, len(users), len(seen)))
        return tuple(found)

    def search(self, wanted: Search, numbers: Mapping[int, int]) -> SearchResult:
        """Return the newest events that match, of those that may be searched."""
        self._raise()
        window, most = wanted.window, self.most_searched
        inside = [event for event in self.events if window.start <= from_ms(event["event_timestamp"]) < window.end]
        newest = sorted(inside, key=lambda event: event["event_timestamp"], reverse=True)
        rows = [
            event
            for event in newest[:most]
            if wanted.user in {None, event["user_id"]} and _passes(event, wanted.filter, numbers)
        ][:MOST_FOUND]
        is_cut = len(rows) >= MOST_FOUND
        rest = None if is_cut or len(newest) <= most else from_ms(newest[most]["event_timestamp"])
        return SearchResult(rows=[_columns(event) for event in rows], is_cut=is_cut, searched_back_to=rest)

    def latest(self) -> Sequence[Mapping[str, Any]]:
        """Return the columns of the latest events, the newest first."""
        self._raise()
        latest = self.events[: -LATEST - 1 : -1]
        return [_columns(event) for event in latest]

    def document(self, name: str) -> Mapping[str, Any] | None:
        """Return an event."""
        self._raise()
        return next((found for found in self.events if found["_id"] == name), None)

    def _raise(self) -> None:
        if self.error:
            raise self.error


def _columns(event: Mapping[str, Any]) -> Mapping[str, Any]:
    names = {"_id", *(name.partition(".")[0] for name in COLUMNS)}
    return {name: value for name, value in event.items() if name in names}


def _passes(event: dict[str, Any], wanted: Filter, numbers: Mapping[int, int]) -> bool:
    return all(values(event, numbers)[name] in wanted.selected(name) for name in wanted.names)


def _furthest(events: Sequence[dict[str, Any]], query: ActivityQuery) -> int:
    """Return the number of steps that one user did."""
    in_order = sorted(events, key=lambda event: event["event_timestamp"])
    for length in range(len(query.steps), 0, -1):
        for chosen in combinations(in_order, length):
            times = [event["event_timestamp"] for event in chosen]
            is_in_time = times[-1] - times[0] <= query.within // timedelta(milliseconds=1)
            if is_in_time and query.steps[:length] == tuple(values(event)["types"] for event in chosen):
                return length
    return 0
