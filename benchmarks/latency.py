"""Latency from the broker's timestamp of an event until the event is readable in MongoDB, at several rates."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from benchmarks import noise, report, secured
from benchmarks.arrivals import Arrival, Arrivals
from benchmarks.bench import Bench, opened
from benchmarks.figures import spread
from benchmarks.programs import LOOP, OURS, Program, named, ready
from benchmarks.watching import until
from streamapp.local.process import Server
from streamapp.settings import Settings

NAME = "latency"
_RATES = (100, 1_000, 5_000, 20_000)
#: Maximum number of noted events per second; at higher rates, every n-th event is noted.
_NOTED_PER_SECOND = 1_000
_HOW = """\
From the broker's stamp (LogAppendTime) until a change stream on majority reads brings the document; in ms.
Before the stamp, `send-sample` gathers what is due every 5 ms for up to 20 ms: events come in small heaps.
Above {noted:,} events/s, every n-th offset is looked at, {noted:,} events/s in all.
The last two columns are what the change stream takes itself, from MongoDB's acknowledgement of another document on.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One program at one rate, after the warm-up."""

    events_per_second: float
    latencies_ms: Sequence[float]
    #: Latencies of the change stream itself.
    own_ms: Sequence[float]


_COLUMNS: Mapping[str, tuple[Callable[[_Run], float], str]] = {
    "events/s that came": (lambda run: run.events_per_second, ",.0f"),
    "p50": (lambda run: report.percentile(run.latencies_ms, 0.5), ",.1f"),
    "p95": (lambda run: report.percentile(run.latencies_ms, 0.95), ",.1f"),
    "p99": (lambda run: report.percentile(run.latencies_ms, 0.99), ",.1f"),
    "max": (lambda run: max(run.latencies_ms), ",.0f"),
    "reader's p50": (lambda run: statistics.median(run.own_ms), ".1f"),
    "reader's p95": (lambda run: report.percentile(run.own_ms, 0.95), ".1f"),
}
#: Those of which a ratio is printed.
_RATIOS = ("p50", "p95", "p99")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    rates = ",".join(map(str, _RATES))
    parser.add_argument("--rates", type=_rates, default=_RATES, metavar="N,…", help=f"events/s (default {rates})")
    parser.add_argument("--seconds", type=int, default=15, help="seconds of each measurement (default 15)")
    parser.add_argument("--warm-up", type=int, default=5, help="seconds of warm-up before each measurement (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument(
        "--programs",
        type=_stamping,
        default=(OURS, LOOP),
        metavar="NAME,…",
        help="programs, or other checkouts by folder, that run in turns; their documents must hold the broker's"
        " timestamp (default streamapp,loop)",
    )
    secured.add_option(parser)


def run(options: argparse.Namespace) -> None:
    """Run the programs in turns, each at all rates; print percentiles, ratios and the machine's noise."""
    secured.check(options, options.programs)
    programs = {program.name: program for program in ready(options.programs)}
    runs: dict[tuple[int, str], list[_Run]] = {(rate, name): [] for rate in options.rates for name in programs}
    with opened(secure=options.secure) as bench:
        for number, name in bench.turns([*programs], options.rounds):
            turn = _Turn(bench, f"latency-{number}-{name}", warm_up=options.warm_up, seconds=options.seconds)
            for rate, measured in turn.measure(programs[name], options.rates).items():
                runs[rate, name].append(measured)
    report.say(_HOW.format(noted=_NOTED_PER_SECOND))
    report.table(["events/s", "program", *_COLUMNS], [_row(rate, name, runs[rate, name]) for rate, name in runs])
    first, *others = programs
    if others:
        report.say(f"\n{first} divided by each of the others, round by round; median (range):\n")
        rows = [
            _ratio_row(rate, other, runs[rate, first], runs[rate, other]) for other in others for rate in options.rates
        ]
        report.table(["events/s", f"{first} to", *_RATIOS], rows)
    report.say(noise.verdict(bench.calibrations))


def _rates(text: str) -> Sequence[int]:
    if min(rates := [int(rate) for rate in text.split(",")]) < 1:
        raise argparse.ArgumentTypeError("a rate must be 1 or higher")
    return rates


def _stamping(text: str) -> Sequence[Program]:
    programs = named(text)
    if silent := [program.name for program in programs if not program.tells_stamp]:
        raise argparse.ArgumentTypeError(
            f"the documents of these programs do not hold the broker's timestamp: {', '.join(silent)}"
        )
    return programs


def _row(rate: int, name: str, runs: Sequence[_Run]) -> Sequence[str]:
    return [f"{rate:,}", name, *(spread([figure(run) for run in runs], form) for figure, form in _COLUMNS.values())]


def _ratio_row(rate: int, other: str, ours: Sequence[_Run], others: Sequence[_Run]) -> Sequence[str]:
    figures = [_COLUMNS[name][0] for name in _RATIOS]
    pairs = [*zip(ours, others, strict=True)]
    return [f"{rate:,}", other, *(spread([figure(a) / figure(b) for a, b in pairs], ".2f") for figure in figures)]


class _Turn:
    """One run of a program with a topic, consumer group and database of its own."""

    def __init__(self, bench: Bench, name: str, *, warm_up: int, seconds: int) -> None:
        self._bench = bench
        self._name = name
        self._warm_up = warm_up
        self._seconds = seconds
        #: Number of events that must be stored.
        self._sent = 0

    def measure(self, program: Program, rates: Sequence[int]) -> Mapping[int, _Run]:
        """Start the program; after it has stored its first events, send at one rate after the other."""
        stamping = {"message.timestamp.type": "LogAppendTime"}
        self._bench.make_topic(self._name, partitions=Settings().partitions, **stamping)
        environ = self._bench.environment(self._name, topic=self._name)
        with (
            self._bench.database(self._name) as database,
            self._bench.running(self._name, program.command(), environ) as server,
        ):
            self._send(1, database, server)
            return {rate: self._at(rate, database, server) for rate in rates}

    def _at(self, rate: int, database: Database[dict[str, Any]], server: Server) -> _Run:
        report.progress(f"{rate:,} events/s")
        every = max(1, rate // _NOTED_PER_SECOND)
        before = _noted(database, every)
        with Arrivals(self._bench.mongo_uri, self._name, every=every) as arrivals:
            self._send(rate * (self._warm_up + self._seconds), database, server, "--rate", str(rate))
        events = arrivals.events()
        if (there := _noted(database, every) - before) != len(events):
            sys.exit(f"{len(events)} of {there} events were noted: the figures are not valid")
        return self._run(events, every, arrivals.own_ms())

    def _run(self, events: Sequence[Arrival], every: int, own_ms: Sequence[float]) -> _Run:
        began = min(event.stamped_ms for event in events) + self._warm_up * 1000
        measured = [event for event in events if event.stamped_ms >= began]
        took_ms = max(event.stamped_ms for event in measured) - began
        return _Run(
            events_per_second=len(measured) * every / took_ms * 1000,
            latencies_ms=[event.latency_ms for event in measured],
            own_ms=own_ms,
        )

    def _send(self, count: int, database: Database[dict[str, Any]], server: Server, *options: str) -> None:
        """Send, and wait until all events are stored once."""
        self._bench.send(self._name, count, *options)
        self._sent += count
        stored, _ = until(database["events"].estimated_document_count, self._sent, server)
        if stored != self._sent:
            sys.exit(f"{stored} events were stored, and {self._sent} sent: the figures are not valid")


def _noted(database: Database[dict[str, Any]], every: int) -> int:
    """Count the stored events at the noted offsets."""
    return database["events"].count_documents({"kafka.offset": {"$mod": [every, 0]}})
