"""The newest snapshot of each query, shared by all visitors, kept during an outage and marked with its age."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING

from dashboard.model import compute, health
from dashboard.model.errors import DashboardError
from dashboard.model.signals import Thresholds
from dashboard.model.time_window import window
from streamapp.rollups.levels import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.data.pipeline import Pipeline
    from dashboard.data.reader import Reader
    from dashboard.model.snapshot import Overview, Query, Snapshot
    from streamapp.rollups.levels import Keep

#: A reading younger than this is not read again: many visitors cost as much as one.
FRESH_FOR = timedelta(seconds=2)
#: The same for what all queries share.
OVERVIEW_FRESH_FOR = timedelta(seconds=1)
#: After this time, a stored event is counted in the rollups.
ROLLED_UP_WITHIN = timedelta(seconds=5)
#: Number of queries whose last reading is kept.
MOST_QUERIES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The last result of a query; `error` says why it is not newer."""

    at: datetime
    snapshot: Snapshot | None = None
    overview: Overview | None = None
    error: DashboardError | None = None

    @property
    def is_empty(self) -> bool:
        """MongoDB answered, and holds no event at all."""
        return self.error is None and self.overview is None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineReading:
    """The last state of the pipeline; `error` says why it is not newer."""

    at: datetime
    """Of the last attempt to read it."""
    health: health.Health
    """In an outage, its numbers are those of the last good reading, and its status is unknown."""
    state: health.PipelineState | None = None
    """None: there was no answer yet."""
    read_at: datetime | None = None
    """Of the last good reading."""
    error: DashboardError | None = None


@dataclass(slots=True)
class _Slot:
    lock: Lock = field(default_factory=Lock)
    reading: Reading | None = None


class Feed:
    """Asks the reader at most once per query and interval, for any number of visitors."""

    def __init__(
        self,
        *,
        reader: Reader,
        pipeline: Pipeline,
        clock: Callable[[], datetime],
        keep: Keep | None = None,
        thresholds: Thresholds | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.thresholds = thresholds or Thresholds()
        self._reader = reader
        self._clock = clock
        self._keep = keep
        self._slots: OrderedDict[Query, _Slot] = OrderedDict()
        self._lock = Lock()
        self._stored: deque[tuple[datetime, int]] = deque(maxlen=100)
        self._overview_lock = Lock()
        self._overview_read: tuple[datetime, Overview | DashboardError | None] | None = None
        self._pipeline_lock = Lock()
        self._pipeline_reading: PipelineReading | None = None

    def latest(self, query: Query) -> Reading:
        """Return the newest reading of the query; an error of MongoDB is part of it, and not raised."""
        slot = self._slot(query)
        with slot.lock:
            if slot.reading is None or self._clock() >= _stale_at(slot.reading):
                slot.reading = self._read(query, slot.reading)
            return slot.reading

    def pipeline_reading(self) -> PipelineReading:
        """Return the workers' own reports and the health that follows from them; the last ones during an outage."""
        with self._pipeline_lock:
            now = self._clock()
            if self._pipeline_reading is None or now - self._pipeline_reading.at >= FRESH_FOR:
                self._pipeline_reading = self._read_pipeline(now)
            return self._pipeline_reading

    def now(self) -> datetime:
        """Return the present time by the feed's clock."""
        return self._clock()

    def _read_pipeline(self, now: datetime) -> PipelineReading:
        try:
            state = self.pipeline.state()
        except DashboardError as error:
            # without its traceback, which would keep this frame alive
            error = error.with_traceback(None)
            before = self._pipeline_reading or PipelineReading(at=now, health=health.unknown(""))
            known = replace(before.health, status=health.Status.UNKNOWN, why=str(error))
            return replace(before, at=now, health=known, error=error)
        return PipelineReading(at=now, health=health.health(state, now), state=state, read_at=now)

    def _slot(self, query: Query) -> _Slot:
        with self._lock:
            slot = self._slots.setdefault(query, _Slot())
            self._slots.move_to_end(query)
            if len(self._slots) > MOST_QUERIES:
                self._slots.popitem(last=False)
            return slot

    def _read(self, query: Query, before: Reading | None) -> Reading:
        overview = before.overview if before else None
        try:
            overview = self._overview()
            snapshot = None if overview is None else self._snapshot(query, overview)
        except DashboardError as error:
            last_good = before.snapshot if before else None
            # without its traceback, which would keep this frame, and so every previous reading, alive
            error = error.with_traceback(None)
            return Reading(at=self._clock(), snapshot=last_good, overview=overview, error=error)
        return Reading(at=self._clock(), snapshot=snapshot, overview=overview)

    def _overview(self) -> Overview | None:
        with self._overview_lock:
            if self._overview_read is None or self._clock() - self._overview_read[0] >= OVERVIEW_FRESH_FOR:
                read = self._read_overview()
                # The time is that of the answer: visitors that waited for it use it too, and do not wait again.
                self._overview_read = self._clock(), read
            read = self._overview_read[1]
        if isinstance(read, DashboardError):
            raise read
        return read

    def _read_overview(self) -> Overview | DashboardError | None:
        try:
            return self._reader.overview()
        except DashboardError as error:
            return error

    def _snapshot(self, query: Query, overview: Overview) -> Snapshot:
        now = self._clock()
        shown = window(query.chosen, now, self._keep)
        found = self._reader.found(shown, query.filter, overview.numbers, settled_at=now - ROLLED_UP_WITHIN)
        if found.is_incomplete or self._is_behind(overview, now):
            found = self._reader.found_directly(shown, query.filter, overview.numbers)
        return compute.snapshot(query=query, window=shown, read_at=now, overview=overview, found=found)

    def _is_behind(self, overview: Overview, now: datetime) -> bool:
        """Whether rollups lack events, other than those that were stored a moment ago."""
        if (self._keep or {}).get(LEVELS[-1]) is not None:
            # Rollups also lack the days that were deleted after their retention.
            return False
        with self._lock:
            if not self._stored or now - self._stored[-1][0] >= timedelta(seconds=1):
                self._stored.append((now, overview.stored))
            settled = [stored for at, stored in self._stored if now - at >= ROLLED_UP_WITHIN]
        received_at = overview.last_received_at
        if received_at is None or now - received_at > ROLLED_UP_WITHIN:
            settled.append(overview.stored)
        return bool(settled) and min(settled[-1], overview.stored) > overview.rolled_up


def _stale_at(reading: Reading) -> datetime:
    if reading.error is None:
        return reading.at + FRESH_FOR
    return reading.at + timedelta(seconds=reading.error.retry_after_seconds)
