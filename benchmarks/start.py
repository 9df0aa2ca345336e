"""Time from the start of a process to its first event in MongoDB, by step."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from pymongo.database import Database

from benchmarks import figures, noise, report
from benchmarks.bench import Bench, opened
from benchmarks.programs import LOOP, OURS
from benchmarks.watching import cpu_seconds, cpu_seconds_of_ended
from streamapp import net
from streamapp.local.process import Server
from streamapp.settings import Settings

NAME = "start"
_FAUST = str(Path(sys.executable).with_name("faust"))
#: Commands that end by themselves, and are timed as a whole.
_PARTS: Mapping[str, Sequence[str]] = {
    "python, nothing imported": [sys.executable, "-c", "pass"],
    "import streamapp.worker.app": [sys.executable, "-c", "import streamapp.worker.app"],
    "streamapp --help": [sys.executable, "-m", "streamapp", "--help"],
    "faust -A streamapp --help": [_FAUST, "-A", "streamapp", "--help"],
    "faust -A streamapp worker --help": [_FAUST, "-A", "streamapp", "worker", "--help"],
}
_PROGRAMS: Mapping[str, Sequence[str]] = {OURS.name: [_FAUST, "-A", "streamapp", "worker"], LOOP.name: LOOP.command()}
_GIVE_UP_AFTER_SECONDS = 120.0
_LOOK_EVERY_SECONDS = 0.01
#: Seconds after which an endpoint of a busy, starting worker is requested again.
_ANSWER_WITHIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Took:
    """Wall time since the start of the process, and the CPU that the process had used by then."""

    seconds: float
    cpu_seconds: float


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--checkout", metavar="DIR", help="start also streamapp of this other checkout")


def run(options: argparse.Namespace) -> None:
    """Start each program once to fill the caches, then all of them in turns; print the times."""
    found: dict[str, list[_Took]] = {}
    with opened() as bench:
        starts = _Starts(bench, options.checkout)
        for program in starts.programs:
            starts.start(program, "first")
        for number, name in bench.turns([*starts.parts, *starts.programs], options.rounds):
            for what, took in starts.start(name, str(number)).items():
                found.setdefault(what, []).append(took)
    report.table(
        ["", "seconds", "CPU seconds"],
        [
            [
                what,
                figures.spread([t.seconds for t in took], ".2f"),
                figures.spread([t.cpu_seconds for t in took], ".2f"),
            ]
            for what, took in found.items()
        ],
    )
    report.say(noise.verdict(bench.calibrations))


class _Starts:
    """The servers, with one waiting event."""

    def __init__(self, bench: Bench, other_checkout: str | None) -> None:
        self.parts, self.programs = dict(_PARTS), dict(_PROGRAMS)
        if other_checkout:
            # Not `faust -A streamapp`, which imports the package of the working directory.
            command = str(Path(other_checkout, ".venv", "bin", "streamapp"))
            self.parts[f"{other_checkout}: streamapp --help"] = [command, "--help"]
            self.programs[other_checkout] = [command, "worker"]
        self._bench = bench
        bench.send(Settings().topic, 1)

    def start(self, name: str, turn: str) -> Mapping[str, _Took]:
        """Start the program with this name, and return the times."""
        if name in self.parts:
            return {name: _whole(self.parts[name])}
        with self._bench.database(f"start-{Path(name).name}", drop=False) as database:
            seen = self._first_event(name, turn, database)
            _empty(database)
        return seen

    def _first_event(self, name: str, turn: str, database: Database[dict[str, Any]]) -> Mapping[str, _Took]:
        """Start a program with a consumer group of its own; collections and indexes exist."""
        group, port = f"{database.name}-{turn}", net.choose_port()
        environ = {**self._bench.environment(database.name, topic=Settings().topic), "STREAMAPP_APP_ID": group}
        is_worker = name != LOOP.name
        command = [*self.programs[name], "--web-port", str(port)] if is_worker else LOOP.command()
        with httpx.Client(base_url=f"http://{net.HOST}:{port}", timeout=_ANSWER_WITHIN_SECONDS) as pages:
            facts = {f"{name}: the first event is readable": lambda: bool(database["events"].find_one())}
            if is_worker:
                facts |= {f"{name}: {page} is 200": _answering(pages, page) for page in ("/healthz", "/readyz")}
            began = time.monotonic()
            with self._bench.running(group, command, environ) as server:
                seen = _watch(facts, server, began)
        if (stored := database["events"].count_documents({})) != 1:
            sys.exit(f"{stored} events were stored, and one was sent: the figures are not valid")
        return dict(sorted(seen.items(), key=lambda one: one[1].seconds))


def _whole(command: Sequence[str]) -> _Took:
    before, began = cpu_seconds_of_ended(), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=_GIVE_UP_AFTER_SECONDS)
    return _Took(seconds=time.monotonic() - began, cpu_seconds=cpu_seconds_of_ended() - before)


def _answering(pages: httpx.Client, page: str) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            return pages.get(page).is_success
        except httpx.TransportError:
            return False

    return answers


def _watch(facts: Mapping[str, Callable[[], bool]], server: Server, began: float) -> Mapping[str, _Took]:
    """Check repeatedly until all conditions hold."""
    seen: dict[str, _Took] = {}
    process = psutil.Process(server.pid)
    while len(seen) < len(facts):
        for what in [what for what, is_so in facts.items() if what not in seen and is_so()]:
            seen[what] = _Took(seconds=time.monotonic() - began, cpu_seconds=cpu_seconds([process]))
        server.check()
        if time.monotonic() - began > _GIVE_UP_AFTER_SECONDS:
            sys.exit(f"after {_GIVE_UP_AFTER_SECONDS:.0f} s only: {', '.join(seen) or 'nothing'}; given up")
        time.sleep(_LOOK_EVERY_SECONDS)
    return seen


def _empty(database: Database[dict[str, Any]]) -> None:
    """Delete all documents, and keep collections and indexes."""
    for name in database.list_collection_names():
        database[name].delete_many({})
