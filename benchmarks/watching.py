"""Measure one program while it stores waiting events: its speed, and the cost for it and the servers."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil
from pymongo.database import Database

from streamapp.local.backend import Backend
from streamapp.local.process import Server
from streamapp.rollups.levels import LEVELS

GIVE_UP_AFTER_SECONDS = 900.0
_LOOK_EVERY_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One run of a program for which all events were waiting."""

    #: From the first event in MongoDB to the last. Programs that read before they write gain: Quix, 5 s.
    events_per_second: float
    #: CPU of the program with its children, from the first event in MongoDB until the last one is counted.
    cpu_micros_per_event: float
    #: CPU of the servers, likewise.
    mongod_cpu_micros_per_event: float
    kafka_cpu_micros_per_event: float
    peak_memory_mb: float
    #: From the start of the process to the first event in MongoDB.
    seconds_to_first: float
    #: From the start of the process to the last event in MongoDB.
    seconds_to_last: float
    #: From the last event in MongoDB until the rollups count it; 0 without rollups.
    seconds_to_rollups: float

    @property
    def all_cpu_micros_per_event(self) -> float:
        """CPU of the program and the servers."""
        return self.cpu_micros_per_event + self.mongod_cpu_micros_per_event + self.kafka_cpu_micros_per_event


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The state at one instant."""

    at: float
    stored: int
    #: CPU seconds so far: of the program, of mongod, of Kafka.
    cpu: tuple[float, float, float]


class Watch:
    """Measures one program and the servers that it uses.

    Args:
        server: the program, just started.
        began: when it was started.
        backend: the servers.
        database: where it stores.
        others: processes that share the work, and are measured with it.
    """

    def __init__(
        self,
        server: Server,
        began: float,
        backend: Backend,
        database: Database[dict[str, Any]],
        others: Sequence[Server] = (),
    ) -> None:
        self._server = server
        self._began = began
        self._database = database
        self._processes = [psutil.Process(each.pid) for each in (server, *others)]
        self._mongod, self._kafka = psutil.Process(backend.mongod.pid), psutil.Process(backend.kafka.pid)
        self._peak = 0

    def until(self, events: int, *, has_rollups: bool) -> Round:
        """Wait until `least` events are stored, and counted if the program counts."""
        count = self._database["events"].estimated_document_count
        first = self._until(count, 1)
        self._processes += self._processes[0].children(recursive=True)
        last = self._until(count, events)
        return self._round(first, last, self._until(lambda: rolled_up(self._database), events) if has_rollups else last)

    def up_to(self, events: int, *, last: int) -> Round:
        """Wait until `least` events are stored; only the last `count` of them are measured."""
        count = self._database["events"].estimated_document_count
        before, after = self._until(count, max(1, events - last)), self._until(count, events)
        return self._round(before, after, after)

    def _round(self, first: _Seen, last: _Seen, counted: _Seen) -> Round:
        if not (n := last.stored - first.stored):
            sys.exit(f"{first.stored} events were there at the first look: too few are left to measure")
        cpu = [(after - before) / n * 1e6 for before, after in zip(first.cpu, counted.cpu, strict=True)]
        return Round(
            events_per_second=n / (last.at - first.at),
            cpu_micros_per_event=cpu[0],
            mongod_cpu_micros_per_event=cpu[1],
            kafka_cpu_micros_per_event=cpu[2],
            peak_memory_mb=self._peak / 1e6,
            seconds_to_first=first.at - self._began,
            seconds_to_last=last.at - self._began,
            seconds_to_rollups=counted.at - last.at,
        )

    def _until(self, count: Callable[[], int], least: int) -> _Seen:
        stored, at = until(count, least, self._server, look=self._look)
        return _Seen(stored=stored, at=at, cpu=self._cpu())

    def _look(self) -> None:
        self._peak = max(self._peak, memory(self._processes))

    def _cpu(self) -> tuple[float, float, float]:
        return cpu_seconds(self._processes), cpu_seconds([self._mongod]), cpu_seconds([self._kafka])


def rolled_up(database: Database[dict[str, Any]]) -> int:
    """Number of events that the rollups count."""
    # The finest level is written last.
    found = database[LEVELS[0].collection].aggregate([{"$group": {"_id": None, "n": {"$sum": "$n"}}}])
    return next((group["n"] for group in found), 0)


def until(
    count: Callable[[], int], least: int, server: Server, *, look: Callable[[], None] = lambda: None
) -> tuple[int, float]:
    """Count repeatedly until there are at least so many; return the count and its time.

    Args:
        count: returns the present count.
        least: the count to wait for.
        server: the process that produces them; it must not end meanwhile.
        look: called at each attempt.
    """
    give_up_at = time.monotonic() + GIVE_UP_AFTER_SECONDS
    while True:
        n, now = count(), time.monotonic()
        look()
        if n >= least:
            return n, now
        server.check()
        if now > give_up_at:
            sys.exit(f"{n} of {least} events after {GIVE_UP_AFTER_SECONDS:.0f} s: given up")
        time.sleep(_LOOK_EVERY_SECONDS)


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """CPU seconds of the processes so far."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def cpu_seconds_of_ended() -> float:
    """CPU seconds of the ended child processes of this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory(processes: Iterable[psutil.Process]) -> int:
    """Resident memory in bytes; shared pages count once per process."""
    return sum(process.memory_info().rss for process in processes)
