"""A Reader over plain documents, and documents to give to it; counts them one by one, without an aggregation."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from dashboard.model.snapshot import FILTERS, USUAL_NUMBERS, Counts, Filter, Overview, QueryResult
from dashboard.model.time_window import bucket_start, from_ms, to_ms
from streamapp.model.user_event import CHARTS, DIMENSIONS, STANDALONE_DIMENSIONS, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dashboard.model.errors import DashboardError
    from dashboard.model.snapshot import VersionTime
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
        #: Instead of the times of the documents.
        self.version_times: tuple[VersionTime, ...] | None = None
        self.not_rolled_up = 0
        self.most_direct, self.most_by_value, self.most_for_users = 10_000, 20_000, 50_000
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
            version_times=self._version_times() if self.version_times is None else self.version_times,
        )

    def _version_times(self) -> tuple[VersionTime, ...]:
        times: dict[int, list[int]] = {}
        for found in self.documents:
            version = found.get("schema_version") or ""
            if version[:1] == "v":
                times.setdefault(int(version[1:]), []).append(found["event_timestamp"])
        return tuple((f"v{number}", from_ms(min(of)), from_ms(max(of))) for number, of in sorted(times.items()))

    def found(
        self,
        window: Window,
        wanted: Filter,
        numbers: Mapping[int, int] = USUAL_NUMBERS,
        *,
        settled_at: datetime,
    ) -> QueryResult:
        """Return the documents of the window and of the period before it, counted; the numbers are its own."""
        self.reads += 1
        kept = [d for d in self.documents if _bucket(d, window) not in self.lost]
        in_window = [d for d in kept if window.start <= _bucket(d, window) < window.end]
        is_direct = len(in_window) <= self.most_by_value
        # Under a filter, few events are counted one by one, those without rollups too.
        counted = self.documents if wanted and is_direct else kept
        counts = self._counted(counted, window, wanted, window.start, window.end, counts_standalone=is_direct)
        finished = self._counted(kept, window, wanted, window.start, window.finished_end)
        previous = self._counted(kept, window, wanted, window.previous_start, window.start)
        if wanted:
            users = counts.users if counts.total <= self.most_for_users else None
            finished, previous = (
                replace(each, users=None, options=_of_cells(each.options)) for each in (finished, previous)
            )
            counts = replace(counts, users=users, options=_of_cells(counts.options))
        lost = self._newest_lost(window, settled_at)
        return QueryResult(
            counts=counts,
            finished=finished,
            previous=None if lost else previous,
            users_are_counted=bool(wanted),
            is_incomplete=lost is not None and lost >= window.start,
        )

    def found_directly(
        self,
        window: Window,
        wanted: Filter,
        numbers: Mapping[int, int] = USUAL_NUMBERS,
    ) -> QueryResult:
        """Return the documents of the window, counted; the numbers are its own."""
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
        found = [(d, values(d, self.numbers)) for d in documents if to_ms(start) <= d["event_timestamp"] < to_ms(end)]
        passing = [(d, of) for d, of in found if all(_passes(of[name], wanted.selected(name)) for name in FILTERS)]
        located = passing if counts_standalone or not wanted else []
        return Counts(
            by_bucket=Counter((_bucket(d, window), of["versions"]) for d, of in passing),
            by_value={
                each.plural: Counter(of[each.plural] for _, of in (passing if each.in_cells else located))
                for each in CHARTS
            },
            users=len({d.get("user_id") for d, _ in passing}),
            options={name: tuple(sorted({*(of[name] for _, of in found), *wanted.selected(name)})) for name in FILTERS},
        )


def _of_cells(options: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """The labels that rollups tell under a filter."""
    return {**options, **{each.plural: () for each in STANDALONE_DIMENSIONS}}


def values(found: dict[str, Any], numbers: Mapping[int, int] = USUAL_NUMBERS) -> dict[str, str]:
    """Return the labels under which a document is counted, by dimension; written without the module of the labels."""
    version = found.get("schema_version") or ""
    number = int(version[1:]) if version[:1] == "v" else None
    labels = {each.plural: _label(_value(found, each.path)) for each in DIMENSIONS}
    if number is not None and number < numbers[2] and labels["browsers"] == "not given":
        labels["browsers"] = "n/a (v1)"
    return {**labels, "versions": "unregistered" if number is None else version}


def _label(value: str | None) -> str:
    if value is None:
        return "not given"
    text = value if len(value) <= 100 else value[:99] + "…"
    names = {"not given", "n/a (v1)", "all others", "not counted"}
    is_plain = text and text not in names and text == text.strip() and text[0] != '"'
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _value(found: Any, path: str) -> Any:
    for name in path.split("."):
        found = (found or {}).get(name)
    return found


def _passes(value: str, selected: Sequence[str]) -> bool:
    return not selected or value in selected


def _bucket(found: dict[str, Any], window: Window) -> datetime:
    return bucket_start(from_ms(found["event_timestamp"]), window.width)
