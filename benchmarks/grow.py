"""The cost of an event as the number of stored events, partitions and workers and the size of an event grow."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import httpx

from benchmarks import noise, padded, report
from benchmarks.bench import Bench, opened
from benchmarks.figures import spread
from benchmarks.programs import OURS
from benchmarks.watching import Round, Watch, until
from streamapp import net
from streamapp.settings import Settings

NAME = "grow"
#: Results, by the varied quantity.
_Rounds = Mapping[int, Sequence[Round]]
#: Shares of all events after which the next events are measured; the measured part is 1/n of all events.
_LOOKED_AT, _PART = (0.01, 0.1, 0.25, 0.5), 0.04
#: Shares of all events after which a part is measured in turns, and the maximum number of events that a worker reads
#: until it has ended.
_FEW, _MANY = 0.01, 0.96
_UNTIL_ENDED = 300_000
#: For a topic of large events.
_BYTES_AT_MOST = 200_000_000

_COLUMNS: Mapping[str, tuple[Callable[[Round], float], str]] = {
    "events/s": (lambda each: each.events_per_second, ",.0f"),
    "CPU µs per event": (lambda each: each.cpu_micros_per_event, ".1f"),
    "mongod's": (lambda each: each.mongod_cpu_micros_per_event, ".1f"),
    "Kafka's": (lambda each: each.kafka_cpu_micros_per_event, ".1f"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--events", type=int, default=10_000_000, help="events of the long drain (default 10,000,000)")
    parser.add_argument("--partitions", type=_counts, default=(4, 1, 16, 64), metavar="N,…", help="default 4,1,16,64")
    parser.add_argument("--sizes", type=_counts, default=(60, 1_000, 10_000), metavar="N,…", help="60,1000,10000")
    parser.add_argument("--workers", type=_counts, default=(1, 2, 4), metavar="N,…", help="default 1,2,4")
    parser.add_argument(
        "--drained", type=int, default=300_000, help="events of each of the other drains (default 300,000)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")


def run(options: argparse.Namespace) -> None:
    """Drain many events, then different topics in turns; print the cost of an event."""
    with opened() as bench:
        on_the_way, past = _past(bench, options.events, options.rounds)
        widths = _widths(bench, options.partitions, options.drained, options.rounds)
        sizes = _sizes(bench, options.sizes, options.drained, options.rounds)
        workers = _workers(bench, options.workers, options.drained, options.rounds)
    _print("events stored before, in one drain", on_the_way)
    _print("events stored before, in turns", past)
    _print("partitions", widths)
    _print("bytes of an event", sizes)
    _print("workers, as events come", workers)
    report.say(noise.verdict(bench.calibrations))


def _counts(text: str) -> Sequence[int]:
    return [int(count) for count in text.split(",")]


def _past(bench: Bench, events: int, rounds: int) -> tuple[_Rounds, _Rounds]:
    """Let a worker drain most events and measure parts; then let workers drain short parts near the start and the end.

    One drain takes minutes, in which a shared machine may become slower; the parts of one round take seconds.
    """
    topic, part = Settings().topic, int(events * _PART)
    few, many = int(events * _FEW), int(events * _MANY)
    sent = many + rounds * (few + part + _UNTIL_ENDED)
    report.progress(f"{sent:,} events")
    bench.send(topic, sent)
    starts = {f"after {stored:,}": stored for stored in (few, many)}
    found: dict[int, list[Round]] = {stored: [] for stored in starts.values()}
    with bench.database("grow-many") as database:
        report.progress(f"drain of {many:,} events")
        with _draining(bench, "grow-many", topic=topic, drop=False) as watch:
            on_the_way = {n: [watch.up_to(n + part, last=part)] for n in (int(events * share) for share in _LOOKED_AT)}
            watch.up_to(many, last=part)
        for round_, what in bench.turns([*starts], rounds):
            is_new = starts[what] == few
            stored = 0 if is_new else database["events"].estimated_document_count()
            with _draining(bench, f"grow-few-{round_}" if is_new else "grow-many", topic=topic, drop=is_new) as watch:
                found[starts[what]].append(watch.up_to(stored + few + part, last=part))
    return on_the_way, found


@contextmanager
def _draining(bench: Bench, name: str, *, topic: str, drop: bool = True) -> Generator[Watch]:
    with bench.database(name, drop=drop) as database:
        command, began = OURS.command(), time.monotonic()
        with bench.running(name, command, bench.environment(name, topic=topic)) as server:
            yield Watch(server, began, bench.backend, database)


def _widths(bench: Bench, partitions: Sequence[int], events: int, rounds: int) -> _Rounds:
    """Let a worker drain topics with different numbers of partitions."""
    topics = {f"grow-{count}-partitions": count for count in partitions}
    for topic, count in topics.items():
        bench.make_topic(topic, partitions=count)
        bench.send(topic, events)
    return _in_turns(bench, topics, rounds, lambda topic, name: _drained(bench, name, topic, events))


def _sizes(bench: Bench, sizes: Sequence[int], events: int, rounds: int) -> _Rounds:
    """Let a worker drain topics with events of different sizes, with fewer events of the large sizes."""
    topics = {f"grow-{size}-bytes": size for size in sizes}
    counts = {topic: min(events, _BYTES_AT_MOST // size) for topic, size in topics.items()}
    addresses = bench.backend.addresses
    servers, registry_url = addresses.kafka_bootstrap_servers, addresses.schema_registry_url
    for topic, size in topics.items():
        report.progress(f"{counts[topic]:,} events of {size:,} bytes")
        bench.make_topic(topic, partitions=Settings().partitions)
        padded.write(topic, counts[topic], size=size, servers=servers, registry_url=registry_url)
    return _in_turns(bench, topics, rounds, lambda topic, name: _drained(bench, name, topic, counts[topic]))


def _workers(bench: Bench, counts: Sequence[int], events: int, rounds: int) -> _Rounds:
    """Let different numbers of workers share events that are sent at full speed."""
    by_count = {f"grow-{count}-workers": count for count in counts}
    return _in_turns(bench, by_count, rounds, lambda workers, name: _shared(bench, name, by_count[workers], events))


def _in_turns(bench: Bench, numbers: Mapping[str, int], rounds: int, once: Callable[[str, str], Round]) -> _Rounds:
    """Run each variant in every round, under a unique name."""
    found: dict[int, list[Round]] = {number: [] for number in numbers.values()}
    for round_, what in bench.turns([*numbers], rounds):
        found[numbers[what]].append(once(what, f"{what}-{round_}"))
    return found


def _drained(bench: Bench, name: str, topic: str, events: int) -> Round:
    with _draining(bench, name, topic=topic) as watch:
        return watch.until(events, has_rollups=True)


def _shared(bench: Bench, name: str, workers: int, events: int) -> Round:
    bench.make_topic(name, partitions=Settings().partitions)
    environ, began = bench.environment(name, topic=name), time.monotonic()
    commands = {f"{name}-{number}": OURS.command() for number in range(workers)}
    with bench.database(name) as database, ExitStack() as stack:
        first, *others = [stack.enter_context(bench.running(*each, environ)) for each in commands.items()]
        until(lambda: sum(_is_ready(command[-1]) for command in commands.values()), workers, first)
        stack.enter_context(bench.sending(name, events))
        return Watch(first, began, bench.backend, database, others).until(events, has_rollups=True)


def _is_ready(port: str) -> bool:
    try:
        return httpx.get(f"http://{net.HOST}:{port}/readyz").is_success
    except httpx.TransportError:
        return False


def _print(what: str, rounds: _Rounds) -> None:
    """Print one line per variant, with its cost relative to the first one."""
    first = next(iter(rounds.values()))
    rows = [
        [
            f"{number:,}",
            *(spread([figure(each) for each in of_one], form) for figure, form in _COLUMNS.values()),
            spread(
                [
                    each.all_cpu_micros_per_event / base.all_cpu_micros_per_event
                    for each, base in zip(of_one, first, strict=True)
                ],
                ".2f",
            ),
        ]
        for number, of_one in rounds.items()
    ]
    report.table([what, *_COLUMNS, f"all CPU to that of {next(iter(rounds)):,}"], rows)
