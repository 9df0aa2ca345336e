"""Measure how fast waiting events get from Kafka into MongoDB: streamapp and comparable programs."""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

from pymongo.collection import Collection

from benchmarks import chart, figures, noise, page, report, secured, sent, spread, stages, twin
from benchmarks.bench import Bench, opened
from benchmarks.programs import (
    AS_WRITTEN,
    OURS,
    PROFILED,
    PROGRAMS,
    WITHOUT_KERNEL,
    WITHOUT_METRICS,
    WITHOUT_ROLLUPS,
    Program,
    named,
    ready,
)
from benchmarks.sent import SentEvents
from benchmarks.spread import IN_ORDER, Spread
from benchmarks.watching import Round, Watch
from streamapp.model import event
from streamapp.model.user_event import VERSIONS
from streamapp.settings import Settings

NAME = "drain"
#: Events that are spread over a week do not leave the retention of the rollups per minute while they are measured.
_KEEP_MINUTES = {"STREAMAPP_ROLLUPS_1M_RETENTION_DAYS": "0"}
_COMPARED = {
    "rollups": (OURS, WITHOUT_ROLLUPS),
    "metrics": (OURS, WITHOUT_METRICS),
    "canonical": (OURS, AS_WRITTEN),
    "kernel": (OURS, WITHOUT_KERNEL),
}
#: Fields of a version that no event is written with, so that the canonical shape adds them to each document.
_LATER_FIELDS = (
    {"name": "referrer", "type": ["null", "string"], "default": None},
    {"name": "plan", "type": "string", "default": "free"},
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--events", type=int, default=500_000, help="number of waiting events (default 500,000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    programs = parser.add_mutually_exclusive_group()
    names = ",".join(program.name for program in PROGRAMS)
    programs.add_argument(
        "--programs",
        type=named,
        default=PROGRAMS,
        metavar="NAME,…",
        help=f"programs, or other checkouts by folder, that run in turns (default {names})",
    )
    programs.add_argument(
        "--compare",
        choices=_COMPARED,
        help="compare streamapp with streamapp without this part; canonical: each document gets two fields of a version"
        " that is registered after the events were sent",
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="measure which stages of streamapp use the CPU: streamapp in turns with itself under a profiler",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="renew the tables of the documents and the chart; with --profile the table of stages",
    )
    parser.add_argument(
        "--spread",
        type=spread.parsed,
        default=(IN_ORDER,),
        metavar="SPAN,…",
        help="spread the event times at random within these spans before the sending, for example 0,1h,1d,7d;"
        " 0: events in the order of their times (default 0)",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a chart of the speeds, as SVG")
    secured.add_option(parser)


def run(options: argparse.Namespace) -> None:
    """Send the events once, run the programs in turns in every round; print ratios, figures and noise."""
    programs = _ready(options)
    if options.plot:
        chart.require()
    runs = [_Run(program, each) for each in options.spread for program in programs]
    with opened(secure=options.secure) as bench:
        drain = _Drain(bench, options.events)
        for each in options.spread:
            drain.fill(each, with_json=any(program.reads_json for program in programs))
        if options.compare == "canonical":
            drain.register_later_version()
        rounds = drain.rounds(runs, options.rounds)
    report.say("\n".join(f"- {program.name}: {program.made_of()}" for program in programs) + "\n")
    first = options.spread[0]
    if len(programs) > 1 and OURS in programs:
        figures.print_ratios(
            first.label(OURS.name), {run.name: rounds[run.name] for run in runs if run.spread == first}
        )
    if len(options.spread) > 1 and IN_ORDER in options.spread:
        figures.print_ratios_to({run.name: run.program.name for run in runs if run.spread.seconds}, rounds)
    figures.print_figures(rounds)
    verdict = noise.verdict(bench.calibrations)
    tables = {name: stages.table(micros, rounds[name]) for name, micros in drain.stages.items()}
    for name, table in tables.items():
        report.say("\n".join([f"Stages of {name}:\n", *table, ""]))
    report.say(verdict)
    if options.publish and tables:
        head = f"{options.events:,} events, {options.rounds} rounds; median and range."
        page.write({"stages": [head, verdict, "", *tables[first.label(PROFILED.name)]]})
    elif options.publish:
        page.write(page.drain(rounds, events=options.events, verdict=verdict))
    if options.plot:
        title = f"{options.events:,} events from Kafka into MongoDB"
        chart.draw(options.plot, rounds, ours=OURS.name, title=title)


def _ready(options: argparse.Namespace) -> Sequence[Program]:
    if (options.profile or options.publish) and (options.programs is not PROGRAMS or options.compare or options.plot):
        sys.exit("--profile and --publish have programs and a chart of their own")
    if options.profile:
        chosen: Sequence[Program] = OURS, PROFILED
    elif options.publish:
        chosen = named(",".join((OURS.name, *page.COMPARED)))
        options.plot = page.CHART
    else:
        chosen = _COMPARED[options.compare] if options.compare else options.programs
    secured.check(options, chosen)
    programs = ready(chosen)
    if options.publish and len(programs) < len(chosen):
        sys.exit("--publish needs all programs of the tables")
    return programs


class _Run(NamedTuple):
    """A program, and the events that it stores."""

    program: Program
    spread: Spread

    @property
    def name(self) -> str:
        """The name of its rounds."""
        return self.spread.label(self.program.name)


class _Drain:
    """The waiting events, and the programs that store them."""

    def __init__(self, bench: Bench, events: int) -> None:
        self._bench = bench
        self._events = events
        self._topics: dict[Spread, str] = {}
        self._twins: dict[Spread, str] = {}
        self._sent: dict[Spread, SentEvents] = {}
        #: CPU µs per event of each stage, in each round with the profiler.
        self.stages: dict[str, list[Mapping[str, float]]] = defaultdict(list)
        #: Fields that the canonical shape adds to each document.
        self._added = set[str]()

    def fill(self, events: Spread, *, with_json: bool) -> None:
        """Send the events; send them again as JSON if a program reads JSON."""
        self._topics[events] = topic = f"{Settings().topic}.{events.name}" if events.seconds else Settings().topic
        if events.seconds:
            self._bench.send_with(topic, spread.command(self._events, events))
        else:
            self._bench.send(topic, self._events)
        reading = {"group.id": "sent", "enable.auto.commit": False}
        self._sent[events] = sent.read(
            topic,
            self._events,
            partitions=Settings().partitions,
            consumer=self._bench.kafka().consumer(reading),
            registry_url=self._bench.registry_url,
        )
        if with_json:
            report.progress("sending the same events as JSON")
            addresses = self._bench.backend.addresses
            self._twins[events] = twin.write(
                topic,
                self._events,
                partitions=Settings().partitions,
                servers=addresses.kafka_bootstrap_servers,
                registry_url=addresses.schema_registry_url,
            )

    def register_later_version(self) -> None:
        """Register a version with further fields, each with a default."""
        latest = event.schema(VERSIONS[-1])
        self._bench.register({**latest, "fields": [*latest["fields"], *_LATER_FIELDS]})
        self._added = {str(field["name"]) for field in _LATER_FIELDS}

    def rounds(self, runs: Sequence[_Run], count: int) -> figures.Rounds:
        """Let each program drain its topic `count` times."""
        by_name = {run.name: run for run in runs}
        rounds: dict[str, list[Round]] = {name: [] for name in by_name}
        for number, name in self._bench.turns([*by_name], count):
            run = by_name[name]
            rounds[name].append(self._drain(run, f"drain-{number}-{run.program.name}-{run.spread.name}"))
        return rounds

    def _drain(self, run: _Run, name: str) -> Round:
        """Run a program with its own consumer group and database until it has stored the events it must store."""
        program, topics = run.program, self._twins if run.program.reads_json else self._topics
        enough = min(program.enough or self._events, self._events)
        profile = self._bench.file(f"{name}.profile")
        environ = {
            **self._bench.environment(name, topic=topics[run.spread]),
            **_KEEP_MINUTES,
            stages.FILE: str(profile),
        }
        with self._bench.database(name) as database:
            command, began = program.command(), time.monotonic()
            with self._bench.running(name, command, environ) as server:
                watch = Watch(server, began, self._bench.backend, database)
                round_ = watch.until(enough, has_rollups=program.has_rollups)
            if program is PROFILED:
                self.stages[run.name].append(stages.per_event(profile, began, round_))
            added = self._added if program is OURS else set[str]()
            _check(database["events"], self._events, enough, added)
            sent.check(self._sent[run.spread], database["events"], with_place=program.tells_stamp)
        report.progress(
            f"  {round_.events_per_second:,.0f} events/s, CPU µs per event: {round_.cpu_micros_per_event:.1f}, mongod's"
            f" {round_.mongod_cpu_micros_per_event:.1f}; {round_.peak_memory_mb:.0f} MB"
        )
        return round_


def _check(collection: Collection[dict[str, Any]], events: int, enough: int, added: AbstractSet[str]) -> None:
    """Exit unless as many events are stored as the program had to store, each with the fields that were added."""
    stored = collection.count_documents({})
    if not enough <= stored <= events:
        sys.exit(f"{stored} of {events} events were stored: the figures are not valid")
    complete = collection.count_documents({name: {"$exists": True} for name in added})
    if complete != stored:
        sys.exit(f"{stored - complete} of {stored} events lack some of their fields: the figures are not valid")
