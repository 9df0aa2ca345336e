"""A Reader over plain documents, and documents to give to it; counts them one by one, without an aggregation."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from dashboard.model.snapshot import FILTERS, Counts, Filter, Overview, QueryResult
from dashboard.model.time_window import bucket_start, from_ms, to_ms
from streamapp.model.user_event import CHARTS, DIMENSIONS, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dashboard.model.errors import DashboardError
    from dashboard.model.time_window import Window

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)

_offsets = count()


def document(at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    """Return an event's document as the worker stores it, with what the test cares about changed."""
    offset = next(_offsets)
    v2 = {
        "_id": f"AAAAAAAAAAAAAAAAAAAAAA-0-{offset}",
        "user_id": "user-1",
        "event_type": "click",
        "event_timestamp": to_ms(at),
        "metadata": {"device": "mobile", "location": "DE"},
        "browser": "firefox",
        "schema_version": "v2",
        "schema_id": 2,
        "received_at": at,
        "kafka": {"topic": "user_events", "partition": 0, "offset": offset, "timestamp": at},
    }
    return {**v2, **changes}


def v1(at: datetime = NOON, **changes: Any) -> dict[str, Any]:
    """Return the document of an event with the schema that has no browser."""
    return document(at, **{"schema_version": "v1", "schema_id": 1, "browser": None, **changes})


class FakeReader:
    """A Reader that answers from a list, or with the error that it is given."""

    def __init__(self, documents: Iterable[dict[str, Any]] = (), *, numbers: Mapping[int, int] | None = None) -> None:
        self.documents = list(documents)
        self.numbers = {**{version: version for version in VERSIONS}, **(numbers or {})}
        self.first_seen: tuple[tuple[str, datetime], ...] = ()
        self.not_rolled_up = 0
        self.most_direct = 50_000
        #: Buckets whose rollups were lost, by their start.
        self.lost: set[datetime] = set()
        self.error: DashboardError | None = None
        self.error_of_counts: DashboardError | None = None
        self.reads = 0

    def overview(self) -> Overview | None:
        """Return what is known of the whole list."""
        if self.error:
            raise self.error
        if not self.documents:
            return None
        return Overview(
            stored=len(self.documents),
            rolled_up=len(self.documents) - self.not_rolled_up,
            last_received_at=self.documents[-1].get("received_at"),
            newest_event_at=from_ms(max(found["event_timestamp"] for found in self.documents)),
            numbers=self.numbers,
            first_seen=self.first_seen,
        )

    def found(self, window: Window, wanted: Filter, *, settled_at: datetime) -> QueryResult:
        """Return the documents of the window and of the period before it, counted."""
        self.reads += 1
        kept = [d for d in self.documents if _bucket(d, window) not in self.lost]
        counts = self._counted(kept, window, wanted, window.start, window.end)
        finished = self._counted(kept, window, wanted, window.start, window.finished_end)
        previous = self._counted(kept, window, wanted, window.previous_start, window.start)
        if wanted:
            users = counts.users if counts.total <= self.most_direct else None
            finished, previous = replace(finished, users=None), replace(previous, users=None)
            counts = replace(counts, users=users)
        lost = self._newest_lost(window, settled_at)
        return QueryResult(
            counts=counts,
            finished=finished,
            previous=None if lost else previous,
            users_are_counted=bool(wanted),
            is_incomplete=lost is not None and lost >= window.start,
        )

    def found_directly(self, window: Window, wanted: Filter) -> QueryResult:
        """Return the documents of the window, counted."""
        counts = self._counted(self.documents, window, wanted, window.start, window.end, counts_standalone=True)
        return QueryResult(
            counts=counts, is_direct=True, is_cut=counts.total >= self.most_direct, users_are_counted=True
        )

    def _newest_lost(self, window: Window, settled_at: datetime) -> datetime | None:
        lost = [d for d in self.documents if _bucket(d, window) in self.lost and d["received_at"] <= settled_at]
        times = [from_ms(found["event_timestamp"]) for found in lost]
        return max((at for at in times if window.previous_start <= at < window.end), default=None)

    def _counted(
        self,
        documents: Sequence[dict[str, Any]],
        window: Window,
        wanted: Filter,
        start: datetime,
        end: datetime,
        *,
        counts_standalone: bool = False,
    ) -> Counts:
        if self.error_of_counts:
            raise self.error_of_counts
        inside = [d for d in documents if to_ms(start) <= d["event_timestamp"] < to_ms(end)]
        passing = [d for d in inside if all(_passes(values(d)[name], wanted.selected(name)) for name in FILTERS)]
        offered = passing if counts_standalone else inside
        located = passing if counts_standalone or not wanted else []
        return Counts(
            by_bucket=Counter((_bucket(d, window), values(d)["versions"]) for d in passing),
            by_value={
                each.plural: Counter(values(d)[each.plural] for d in (passing if each.in_cells else located))
                for each in CHARTS
            },
            users=len({d.get("user_id") for d in passing}),
            options={
                name: tuple(sorted({*(values(d)[name] for d in offered), *wanted.selected(name)})) for name in FILTERS
            },
        )


def values(found: dict[str, Any]) -> dict[str, str]:
    """Return the labels under which a document is counted, by dimension."""
    labels = {each.plural: _value(found, each.path) or "not given" for each in DIMENSIONS}
    version = found.get("schema_version", "")
    return {**labels, "versions": version if version[:1] == "v" else "unregistered"}


def _value(found: Any, path: str) -> Any:
    for name in path.split("."):
        found = found.get(name, {})
    return found


def _passes(value: str, selected: Sequence[str]) -> bool:
    return not selected or value in selected


def _bucket(found: dict[str, Any], window: Window) -> datetime:
    return bucket_start(from_ms(found["event_timestamp"]), window.width)
