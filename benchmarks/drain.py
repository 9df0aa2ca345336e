"""Events that wait in Kafka, until they are readable in MongoDB: by streamapp, and by its peers."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection

from benchmarks import chart, figures, noise, report, twin
from benchmarks.programs import OURS, PROGRAMS, WITHOUT_ROLLUPS, Program, named
from benchmarks.watching import GIVE_UP_AFTER_SECONDS, Round, Watch
from streamapp.local.backend import Backend
from streamapp.local.process import Server
from streamapp.settings import Settings

NAME = "drain"
_COMPARED = {"rollups": (OURS, WITHOUT_ROLLUPS)}
#: What each document has, whoever stored it.
_FIELDS = {"user_id", "event_type", "event_timestamp", "metadata", "browser", "schema_id"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--events", type=int, default=500_000, help="how many wait (default 500,000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each program drains them (default 5)")
    programs = parser.add_mutually_exclusive_group()
    names = ",".join(program.name for program in PROGRAMS)
    programs.add_argument(
        "--programs", type=named, default=PROGRAMS, metavar="NAME,…", help=f"which take turns (default {names})"
    )
    programs.add_argument("--compare", choices=_COMPARED, help="only ours, with rollups and without")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a chart of the speeds, as SVG")


def run(options: argparse.Namespace) -> None:
    """Send once, let the programs take turns in every round; print ratios, figures and how noisy it was."""
    if options.plot:
        chart.require()
    programs: Sequence[Program] = _COMPARED[options.compare] if options.compare else options.programs
    for program in programs:
        program.command()  # so that no round waits for a download
    with tempfile.TemporaryDirectory() as folder, Backend(Path(folder), Settings(), usual_ports=False) as backend:
        report.say(f"Before the start: {report.machine(backend.addresses.mongo_uri)}\n")
        bench = _Bench(backend, Path(folder), options.events)
        bench.fill(with_json=any(program.reads_json for program in programs))
        rounds = bench.rounds(programs, options.rounds)
    report.say("\n".join(f"- {program.name}: {program.made_of()}" for program in programs) + "\n")
    if len(programs) > 1 and OURS in programs:
        figures.print_ratios(OURS.name, rounds)
    figures.print_figures(rounds)
    report.say(noise.verdict(bench.calibrations))
    if options.plot:
        title = f"{options.events:,} events from Kafka into MongoDB"
        chart.draw(options.plot, rounds, ours=OURS.name, title=title)


class _Bench:
    """The servers, and the events that wait in them."""

    def __init__(self, backend: Backend, folder: Path, events: int) -> None:
        self._backend = backend
        self._folder = folder
        self._events = events
        self._topic = self._twin = Settings().topic
        self._environ = {
            **os.environ,
            **backend.addresses.environment(),
            "STREAMAPP_PRODUCE_INTERVAL_SECONDS": "0",
            "TMPDIR": str(folder),
        }
        #: Before each turn and after the last, how long some work took.
        self.calibrations: list[float] = []

    def fill(self, *, with_json: bool) -> None:
        """Send the events, compressed with lz4; again as JSON if somebody reads that."""
        command = [sys.executable, "-m", "streamapp", "send-sample", "--count", str(self._events), "--seed", "1"]
        # What it says is no result of ours.
        subprocess.run(command, env=self._environ, check=True, timeout=GIVE_UP_AFTER_SECONDS, stdout=sys.stderr)
        if with_json:
            report.progress("the same as JSON")
            addresses = self._backend.addresses
            self._twin = twin.write(
                self._topic,
                self._events,
                partitions=Settings().partitions,
                servers=addresses.kafka_bootstrap_servers,
                registry_url=addresses.schema_registry_url,
            )

    def rounds(self, programs: Sequence[Program], count: int) -> figures.Rounds:
        """Let the programs take turns, so often; each round begins with another one."""
        rounds: dict[str, list[Round]] = {program.name: [] for program in programs}
        for number in range(count):
            first = number % len(programs)
            for program in (*programs[first:], *programs[:first]):
                report.progress(f"round {number + 1} of {count}: {program.name}")
                self.calibrations.append(noise.calibrate())
                rounds[program.name].append(self._drain(program, f"drain-{number}-{program.name}"))
        self.calibrations.append(noise.calibrate())
        return rounds

    def _drain(self, program: Program, name: str) -> Round:
        """Start a program with a group and a database of its own; it must store every event that it has time for."""
        enough = min(program.enough or self._events, self._events)
        with closing(MongoClient[dict[str, Any]](self._backend.addresses.mongo_uri)) as client:
            command, began = program.command(), time.monotonic()
            with _running(name, command, self._environment(program, name), self._folder) as server:
                watch = Watch(server, began, self._backend, client[name])
                round_ = watch.until(enough, has_rollups=program.has_rollups)
            _check(client[name]["events"], self._events, enough)
            client.drop_database(name)
        return round_

    def _environment(self, program: Program, name: str) -> Mapping[str, str]:
        topic = self._twin if program.reads_json else self._topic
        return self._environ | {
            "STREAMAPP_APP_ID": name,
            "STREAMAPP_MONGO_DATABASE": name,
            "STREAMAPP_TOPIC": topic,
        }


@contextmanager
def _running(name: str, command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Generator[Server]:
    server = Server(name=name, command=command, log=folder / f"{name}.log", answers=lambda: True, environ=environ)
    server.launch()
    try:
        yield server
    finally:
        server.stop()


def _check(collection: Collection[dict[str, Any]], events: int, enough: int) -> None:
    """End, unless what was stored is what was sent, as far as the program was let."""
    stored = collection.count_documents({})
    if not enough <= stored <= events:
        sys.exit(f"{stored} of {events} events were stored: no figure counts")
    complete = collection.count_documents({name: {"$exists": True} for name in _FIELDS})
    if complete != stored:
        sys.exit(f"{stored - complete} of {stored} events were stored without some of their fields: no figure counts")
