"""`python -m benchmarks drain`: waiting events, until readable in MongoDB."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pymongo import MongoClient

from streamapp.local import ports
from streamapp.local.backend import Backend
from streamapp.settings import Settings

_GIVE_UP_AFTER_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One worker that found everything waiting."""

    #: From the first event in MongoDB to the last.
    events_per_second: float
    #: The worker's, in the same time.
    cpu_micros_per_event: float
    peak_memory_mb: float
    #: From the start of the process to the first event in MongoDB.
    seconds_to_first: float


def main() -> None:
    """Parse, run, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmark", choices=["drain"])
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Backend(Path(folder), Settings(), usual_ports=False) as backend:
        environ = os.environ | backend.addresses.environment() | {"STREAMAPP_PRODUCE_INTERVAL_SECONDS": "0"}
        _streamapp("send-sample", "--count", str(options.events), "--seed", "1", environ=environ).wait()
        rounds = [drain(options.events, number, environ, Path(folder)) for number in range(options.rounds)]
    for name in Round.__dataclass_fields__:
        values = [getattr(each, name) for each in rounds]
        label, median = name.replace("_", " "), statistics.median(values)
        print(f"{label:<22} {median:>10,.1f}  ({min(values):,.1f}–{max(values):,.1f})")  # noqa: T201 - the result


def drain(events: int, number: int, environ: dict[str, str], folder: Path) -> Round:
    """Start a worker with a group and a database of its own; it must store every event."""
    name = f"drain-{number}"
    environ = environ | {"STREAMAPP_APP_ID": name, "STREAMAPP_MONGO_DATABASE": name}
    began = time.monotonic()
    worker = _streamapp("worker", "--web-port", str(ports.choose()), environ=environ, log=folder / f"{name}.log")
    client: MongoClient[Any] = MongoClient(environ["STREAMAPP_MONGO_URI"])
    try:
        return _watch(psutil.Process(worker.pid), client[name]["events"].estimated_document_count, events, began)
    finally:
        worker.terminate()
        worker.wait()
        stored = client[name]["events"].count_documents({})
        client.drop_database(name)
        client.close()
        if stored != events:
            sys.exit(f"{stored} of {events} events were stored: no figure counts")


def _watch(worker: psutil.Process, count: Callable[[], int], events: int, began: float) -> Round:
    peak = 0
    first: tuple[float, int, float] | None = None
    while True:
        stored, now = count(), time.monotonic()
        peak = max(peak, worker.memory_info().rss)
        if stored and first is None:
            first = (now, stored, _cpu(worker))
        if first is not None and stored >= events:
            break
        if now - began > _GIVE_UP_AFTER_SECONDS:
            sys.exit(f"{stored} of {events} events after {now - began:.0f} s: given up")
        time.sleep(0.02)
    counted = events - first[1]
    return Round(
        events_per_second=counted / (now - first[0]),
        cpu_micros_per_event=(_cpu(worker) - first[2]) / counted * 1e6,
        peak_memory_mb=peak / 1e6,
        seconds_to_first=first[0] - began,
    )


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _streamapp(*arguments: str, environ: dict[str, str], log: Path | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "streamapp", *arguments]
    if log is None:
        return subprocess.Popen(command, env=environ)
    with log.open("wb") as out:
        return subprocess.Popen(command, env=environ, stdout=out, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    main()
