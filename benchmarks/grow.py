"""What an event costs the more are stored, and the more partitions there are."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

from benchmarks import noise, report
from benchmarks.bench import Bench, opened
from benchmarks.figures import spread
from benchmarks.programs import OURS
from benchmarks.watching import Round, Watch
from streamapp.settings import Settings

NAME = "grow"
#: Of all events, so many parts are looked at: those behind which this many parts are stored.
_PARTS, _LOOKED_AT = 20, (1, 2, 5, 10, 20)

_COLUMNS: Mapping[str, tuple[Callable[[Round], float], str]] = {
    "events/s": (lambda each: each.events_per_second, ",.0f"),
    "CPU µs per event": (lambda each: each.cpu_micros_per_event, ".1f"),
    "mongod's": (lambda each: each.mongod_cpu_micros_per_event, ".1f"),
    "Kafka's": (lambda each: each.kafka_cpu_micros_per_event, ".1f"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--events", type=int, default=10_000_000, help="how many get stored (default 10,000,000)")
    parser.add_argument("--partitions", type=_counts, default=(4, 1, 16, 64), metavar="N,…", help="default 4,1,16,64")
    parser.add_argument("--drained", type=int, default=300_000, help="events in each of those (default 300,000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each of those is drained (default 3)")


def run(options: argparse.Namespace) -> None:
    """Drain many once, then topics with few and many partitions in turns; print what an event cost."""
    with opened() as bench:
        past = _past(bench, options.events)
        widths = _widths(bench, options.partitions, options.drained, options.rounds)
    _print("events stored", {f"{stored:,}": [each] for stored, each in past.items()})
    _print("partitions", {str(count): rounds for count, rounds in widths.items()})
    report.say(noise.verdict(bench.calibrations))


def _counts(text: str) -> Sequence[int]:
    return [int(count) for count in text.split(",")]


def _past(bench: Bench, events: int) -> Mapping[int, Round]:
    """Let one worker drain all of it, and watch some parts."""
    report.progress(f"{events:,} events")
    bench.send(Settings().topic, events)
    part = events // _PARTS
    with _draining(bench, "grow", topic=Settings().topic) as watch:
        return {part * number: watch.up_to(part * number, last=part) for number in _LOOKED_AT}


def _widths(bench: Bench, partitions: Sequence[int], events: int, rounds: int) -> Mapping[int, Sequence[Round]]:
    """Let a worker drain topics with so many partitions."""
    for count in partitions:
        bench.make_topic(f"grow-{count}", partitions=count)
        bench.send(f"grow-{count}", events)
    found: dict[int, list[Round]] = {count: [] for count in partitions}
    for number, count in bench.turns([str(count) for count in partitions], rounds):
        with _draining(bench, f"grow-{number}-{count}", topic=f"grow-{count}") as watch:
            found[int(count)].append(watch.until(events, has_rollups=True))
    return found


@contextmanager
def _draining(bench: Bench, name: str, *, topic: str) -> Generator[Watch]:
    with bench.database(name) as database:
        command, began = OURS.command(), time.monotonic()
        with bench.running(name, command, bench.environment(name, topic=topic)) as server:
            yield Watch(server, began, bench.backend, database)


def _print(what: str, rounds: Mapping[str, Sequence[Round]]) -> None:
    """Print a line for each, and how its cost compares to the first one's."""
    first = next(iter(rounds.values()))
    rows = [
        [
            name,
            *(spread([figure(each) for each in of_one], form) for figure, form in _COLUMNS.values()),
            spread(
                [
                    each.all_cpu_micros_per_event / base.all_cpu_micros_per_event
                    for each, base in zip(of_one, first, strict=True)
                ],
                ".2f",
            ),
        ]
        for name, of_one in rounds.items()
    ]
    report.table([what, *_COLUMNS, f"all CPU to that of {next(iter(rounds))}"], rows)
