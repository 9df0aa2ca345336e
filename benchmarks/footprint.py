"""Memory and CPU of the worker: idle, at a steady rate, during and after an outage of MongoDB, and while it drains."""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import psutil

from benchmarks import noise, report
from benchmarks.bench import Bench, opened
from benchmarks.figures import spread
from benchmarks.programs import OURS
from benchmarks.watching import cpu_seconds, memory, rolled_up, until
from streamapp.settings import Settings

NAME = "footprint"
_STEADY_RATE, _OUTAGE_RATE = 300, 2_000
_LOOK_EVERY_SECONDS = 0.1
#: Seconds from the first event until the worker has finished its start.
_SETTLE_SECONDS = 3.0
#: Seconds for which events arrive before a steady rate is measured, and afterwards.
_AROUND_SECONDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phase:
    """The resources that the worker and the servers used during one phase."""

    seconds: float
    memory_mb: Sequence[float]
    #: Percent of one core, of: the worker, mongod, Kafka.
    cpu: Sequence[float]


_COLUMNS: Mapping[str, tuple[Callable[[_Phase], float], str]] = {
    "seconds": (lambda phase: phase.seconds, ".0f"),
    "memory, MB": (lambda phase: statistics.median(phase.memory_mb), ".0f"),
    "peak memory, MB": (lambda phase: max(phase.memory_mb), ".0f"),
    "CPU, % of a core": (lambda phase: phase.cpu[0], ".1f"),
    "mongod's": (lambda phase: phase.cpu[1], ".1f"),
    "Kafka's": (lambda phase: phase.cpu[2], ".1f"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--events", type=int, default=2_000_000, help="number of waiting events for the drain (default 2,000,000)"
    )
    parser.add_argument(
        "--seconds", type=int, default=30, help="seconds of the idle phase and of the steady phase (default 30)"
    )
    parser.add_argument("--outage", type=int, default=60, help="seconds for which MongoDB is frozen (default 60)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")


def run(options: argparse.Namespace) -> None:
    """Run one worker through all phases and another one through a drain; print their resources and noise."""
    phases: dict[str, list[_Phase]] = {}
    with opened() as bench:
        waiting = Settings().topic
        bench.send(waiting, options.events)
        for number, _ in bench.turns([OURS.name], options.rounds):
            with _Life(bench, f"footprint-{number}", topic=f"footprint-{number}") as life:
                seen = _live(life, seconds=options.seconds, outage=options.outage)
            with _Life(bench, f"footprint-{number}-draining", topic=waiting) as life:
                seen |= {f"draining {options.events:,} events": life.drain(options.events)}
            for what, phase in seen.items():
                phases.setdefault(what, []).append(phase)
    rows = [
        [what, *(spread([figure(each) for each in of_one], form) for figure, form in _COLUMNS.values())]
        for what, of_one in phases.items()
    ]
    report.table(["the worker", *_COLUMNS], rows)
    report.say(noise.verdict(bench.calibrations))


def _live(life: _Life, *, seconds: int, outage: int) -> dict[str, _Phase]:
    """Run one worker through all phases except the drain."""
    life.send(1)
    life.catch_up()
    time.sleep(_SETTLE_SECONDS)
    return {
        "idle": life.during(lambda: time.sleep(seconds)),
        f"at {_STEADY_RATE} events/s": life.at(_STEADY_RATE, seconds),
        f"MongoDB frozen, {_OUTAGE_RATE:,} events/s": life.during(lambda: life.send_in_outage(_OUTAGE_RATE, outage)),
        "catching up after the outage": life.during(life.catch_up),
        "idle again": life.during(lambda: time.sleep(seconds)),
    }


class _Life:
    """One worker with a consumer group and a database of its own; a context manager that starts and ends it."""

    def __init__(self, bench: Bench, name: str, *, topic: str) -> None:
        self._bench = bench
        self._topic = topic
        self._name = name
        self._stack = ExitStack()
        #: Number of events that must be stored.
        self._sent = 0

    def __enter__(self) -> Self:
        environ = self._bench.environment(self._name, topic=self._topic)
        with ExitStack() as stack:
            self._database = stack.enter_context(self._bench.database(self._name))
            self._server = stack.enter_context(self._bench.running(self._name, OURS.command(), environ))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def during(self, what: Callable[[], object]) -> _Phase:
        """Run an action and measure the worker and the servers meanwhile."""
        backend, worker = self._bench.backend, psutil.Process(self._server.pid)
        watched = (worker, psutil.Process(backend.mongod.pid), psutil.Process(backend.kafka.pid))
        before, began, done = [cpu_seconds([each]) for each in watched], time.monotonic(), threading.Event()
        with ThreadPoolExecutor(1) as thread:
            looking = thread.submit(_look, worker, done)
            try:
                what()
            finally:
                done.set()
        seconds = time.monotonic() - began
        cpu = [(cpu_seconds([each]) - so_far) / seconds * 100 for each, so_far in zip(watched, before, strict=True)]
        return _Phase(seconds=seconds, memory_mb=looking.result(), cpu=cpu)

    def send(self, count: int, *options: str) -> None:
        """Send events."""
        self._bench.send(self._topic, count, *options)
        self._sent += count

    def at(self, rate: int, seconds: int) -> _Phase:
        """Measure while events arrive at a rate; the start and the end of the sender are not included."""
        count = rate * (seconds + _AROUND_SECONDS)
        with self._bench.sending(self._topic, count, "--rate", str(rate)):
            until(self._database["events"].estimated_document_count, self._sent + rate, self._server)
            phase = self.during(lambda: time.sleep(seconds))
        self._sent += count
        self.catch_up()
        return phase

    def send_in_outage(self, rate: int, seconds: int) -> None:
        """Send at a rate while MongoDB keeps its connections open and does not answer."""
        mongod = self._bench.backend.mongod
        mongod.pause()
        try:
            self.send(rate * seconds, "--rate", str(rate))
        finally:
            mongod.resume()

    def catch_up(self) -> None:
        """Wait until all sent events are stored once and counted."""
        until(self._database["events"].estimated_document_count, self._sent, self._server)
        until(lambda: rolled_up(self._database), self._sent, self._server)
        stored, counted = self._database["events"].count_documents({}), rolled_up(self._database)
        if (stored, counted) != (self._sent, self._sent):
            sys.exit(f"{stored} events were stored, {counted} counted, {self._sent} sent: the figures are not valid")

    def drain(self, events: int) -> _Phase:
        """Measure from the first event in MongoDB until all waiting events are stored and counted."""
        self._sent = events
        until(self._database["events"].estimated_document_count, 1, self._server)
        return self.during(self.catch_up)


def _look(worker: psutil.Process, done: threading.Event) -> Sequence[float]:
    """Read the worker's memory repeatedly."""
    seen = [memory([worker]) / 1e6]
    while not done.wait(_LOOK_EVERY_SECONDS):
        seen.append(memory([worker]) / 1e6)
    return seen
