"""Fill a database with a history of events and rollups, with one process per core, and check that it is complete."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from pymongo.database import Database

from benchmarks import report
from benchmarks.history import PARTITIONS
from streamapp.connections import mongodb
from streamapp.errors import BackendError
from streamapp.local.process import Server
from streamapp.rollups.levels import LEVELS, Level

_LOOK_EVERY_SECONDS = 0.5
_TELL_EVERY_SECONDS = 10.0
_GIVE_UP_AFTER_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A database to fill, and its content."""

    #: A multiple of the number of partitions.
    events: int
    end: datetime
    uri: str
    folder: Path

    @property
    def name(self) -> str:
        """The name of the database."""
        return f"past-of-{self.events}"

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment variables with the addresses for a worker and the page."""
        return {"STREAMAPP_MONGO_URI": self.uri, "STREAMAPP_MONGO_DATABASE": self.name}

    def writer(self, what: str, partitions: Sequence[int]) -> Server:
        """The process that writes some of the partitions."""
        name = f"{what}-{self.name}-{partitions[0]}"
        command = [sys.executable, "-m", "benchmarks.writer", what, "--events", str(self.events)]
        command += ["--end", self.end.isoformat(), "--partitions", *map(str, partitions)]
        # durability is not needed here
        environ = {**self.environ, "STREAMAPP_MONGO_URI": f"{self.uri}&w=1"}
        return Server(
            name=name, command=command, log=self.folder / f"{name}.log", answers=lambda: True, environ=environ
        )


def end_of(folder: Path) -> datetime:
    """The end of the histories in a folder; now, for a folder without any."""
    file = folder / "end"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(datetime.now(UTC).isoformat())
    return datetime.fromisoformat(file.read_text())


def load(past: Past) -> None:
    """Write the history, or what is missing of it, print the progress, and compare the events with the rollups.

    Raises:
        BackendError: a process ended before it had finished.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        client = stack.enter_context(mongodb.client(past.uri))
        if client[past.name]["events"].estimated_document_count() >= past.events:
            return
        writers = [past.writer("load", partitions) for partitions in _shares(os.cpu_count() or 1)]
        for writer in writers:
            stack.callback(writer.stop)
            writer.launch()
        for elapsed in _until_ended(writers):
            report.progress(f"{client[past.name]['events'].estimated_document_count():,} events after {elapsed:.0f} s")
        took = time.monotonic() - began
        _check(client[past.name], past.events)
    report.progress(f"{past.events:,} events and their rollups: loaded in {took:.0f} s, and recounted")


def _shares(processes: int) -> list[list[int]]:
    numbers = [*range(PARTITIONS)]
    return [share for i in range(processes) if (share := numbers[i::processes])]


def _until_ended(writers: Sequence[Server]) -> Iterator[float]:
    began = pipeline_reading = time.monotonic()
    processes = [psutil.Process(writer.pid) for writer in writers]
    while any(map(_runs, processes)):
        time.sleep(_LOOK_EVERY_SECONDS)
        if time.monotonic() - pipeline_reading > _TELL_EVERY_SECONDS:
            pipeline_reading = time.monotonic()
            yield pipeline_reading - began
        if time.monotonic() - began > _GIVE_UP_AFTER_SECONDS:
            sys.exit(f"not loaded after {_GIVE_UP_AFTER_SECONDS:.0f} s: given up")


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _check(database: Database[dict[str, Any]], events: int) -> None:
    stored = database["events"].count_documents({})
    if stored != events:
        raise BackendError(f"{stored} of {events} events were loaded")
    for level in LEVELS:
        _check_level(database, level)


def _check_level(database: Database[dict[str, Any]], level: Level) -> None:
    """Check that the rollups of a level count every event since their first bucket."""
    group = {"$group": {"_id": None, "n": {"$sum": "$n"}, "since": {"$min": {"$toLong": "$bucket"}}}}
    (rolled_up,) = database[level.collection].aggregate([group])
    stored = database["events"].count_documents({"event_timestamp": {"$gte": rolled_up["since"]}})
    if stored != rolled_up["n"]:
        raise BackendError(f"{level.collection} holds {rolled_up['n']} events of {stored}")
