"""Events that wait in Kafka, until they are readable in MongoDB."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient
from pymongo.database import Database

from benchmarks import report
from streamapp.levels import LEVELS
from streamapp.local import ports
from streamapp.local.backend import Backend
from streamapp.local.process import Server
from streamapp.settings import Settings

NAME = "drain"
_GIVE_UP_AFTER_SECONDS = 300.0
#: The modules that a worker is run by. What else a worker does is the same.
_WITH, _WITHOUT = WORKERS = ("streamapp", "benchmarks.without_rollups")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One worker that found everything waiting."""

    #: From the first event in MongoDB to the last.
    events_per_second: float
    #: The worker's, from the first event in MongoDB until the last one is counted.
    cpu_micros_per_event: float
    peak_memory_mb: float
    #: From the start of the process to the first event in MongoDB.
    seconds_to_first: float
    #: From the last event in MongoDB until the rollups hold it; 0 without rollups.
    seconds_to_rollups: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What was seen of a worker at one instant."""

    at: float
    stored: int
    cpu: float


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--events", type=int, default=300_000, help="how many wait (default 300,000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often they are drained (default 3)")
    parser.add_argument(
        "--compare", choices=["rollups"], help="take turns with a worker that keeps no rollups, and print the ratio"
    )


def run(options: argparse.Namespace) -> None:
    """Send once, drain in every round; print a table for each kind of worker."""
    workers = WORKERS if options.compare else WORKERS[:1]
    rounds: dict[str, list[Round]] = {worker: [] for worker in workers}
    with tempfile.TemporaryDirectory() as folder, Backend(Path(folder), Settings(), usual_ports=False) as backend:
        report.say(f"Before the start: {report.machine(backend.addresses.mongo_uri)}\n")
        environ = backend.addresses.environment() | {"STREAMAPP_PRODUCE_INTERVAL_SECONDS": "0"}
        _send(options.events, environ)
        for number in range(options.rounds):
            # Neither always comes first, or second.
            for worker in workers if number % 2 == 0 else workers[::-1]:
                report.progress(f"round {number + 1} of {options.rounds}: {worker}")
                rounds[worker].append(_drain(worker, options.events, f"drain-{number}", environ, Path(folder)))
    _print(rounds)


def _print(rounds: Mapping[str, Sequence[Round]]) -> None:
    for worker, of_worker in rounds.items():
        title = "" if len(rounds) == 1 else ("with rollups" if worker == _WITH else "without rollups")
        report.table([title, "median", "range"], [_row(name, of_worker) for name in Round.__dataclass_fields__])
    if _WITHOUT in rounds:
        ratios = [
            with_.events_per_second / without.events_per_second
            for with_, without in zip(rounds[_WITH], rounds[_WITHOUT], strict=True)
        ]
        report.say(
            "events per second with rollups to without, round by round:"
            f" {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        )


def _row(name: str, rounds: Sequence[Round]) -> list[str]:
    values = [getattr(each, name) for each in rounds]
    return [name.replace("_", " "), f"{statistics.median(values):,.1f}", f"{min(values):,.1f}–{max(values):,.1f}"]


def _send(events: int, environ: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "streamapp", "send-sample", "--count", str(events), "--seed", "1"]
    environ = {**os.environ, **environ}
    # What it says is no result of ours.
    subprocess.run(command, env=environ, check=True, timeout=_GIVE_UP_AFTER_SECONDS, stdout=sys.stderr)


def _drain(worker: str, events: int, name: str, environ: Mapping[str, str], folder: Path) -> Round:
    """Start a worker with a group and a database of its own; it must store every event, and count it if it counts."""
    name = f"{name}-{worker.rpartition('.')[2]}"
    environ = {**environ, "STREAMAPP_APP_ID": name, "STREAMAPP_MONGO_DATABASE": name}
    command = [sys.executable, "-m", worker, "worker", "--web-port", str(ports.choose())]
    with closing(MongoClient[dict[str, Any]](environ["STREAMAPP_MONGO_URI"])) as client:
        began = time.monotonic()
        with _running(name, command, environ, folder) as server:
            round_ = _watch(server, client[name], events, began, has_rollups=worker == _WITH)
        stored = client[name]["events"].count_documents({})
        client.drop_database(name)
    if stored != events:
        sys.exit(f"{stored} of {events} events were stored: no figure counts")
    return round_


@contextmanager
def _running(name: str, command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Generator[Server]:
    server = Server(name=name, command=command, log=folder / f"{name}.log", answers=lambda: True, environ=environ)
    server.launch()
    try:
        yield server
    finally:
        server.stop()


def _watch(
    server: Server, database: Database[dict[str, Any]], events: int, began: float, *, has_rollups: bool
) -> Round:
    process = psutil.Process(server.pid)
    peak = 0

    def until(count: Callable[[], int], least: int) -> _Seen:
        nonlocal peak
        while True:
            n, now = count(), time.monotonic()
            peak = max(peak, process.memory_info().rss)
            if n >= least:
                return _Seen(at=now, stored=n, cpu=_cpu(process))
            server.check()
            if now - began > _GIVE_UP_AFTER_SECONDS:
                sys.exit(f"{n} of {least} events after {now - began:.0f} s: given up")
            time.sleep(0.02)

    count = database["events"].estimated_document_count
    first, last = until(count, 1), until(count, events)
    counted = until(lambda: _rolled_up(database), events) if has_rollups else last
    return Round(
        events_per_second=(events - first.stored) / (last.at - first.at),
        cpu_micros_per_event=(counted.cpu - first.cpu) / (events - first.stored) * 1e6,
        peak_memory_mb=peak / 1e6,
        seconds_to_first=first.at - began,
        seconds_to_rollups=counted.at - last.at,
    )


def _rolled_up(database: Database[dict[str, Any]]) -> int:
    # The finest level is the last to be written.
    found = database[LEVELS[0].collection].aggregate([{"$group": {"_id": None, "n": {"$sum": "$n"}}}])
    return next((group["n"] for group in found), 0)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
