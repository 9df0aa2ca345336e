"""The tables of measurements in the documents: `drain --publish` and `insert --publish` replace them.

A document asks for a table by its name, and everything between the two lines is replaced:

    <!-- measured: drain -->
    <!-- /measured -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from benchmarks.figures import Rounds, ratios, spread
from benchmarks.watching import Round

_ROOT = Path(__file__).parent.parent
_EXPLANATION = _ROOT / "docs" / "explanation"
PAGES = (_ROOT / "README.md", _EXPLANATION / "performance.md", _EXPLANATION / "where-the-microseconds-go.md")
CHART = _ROOT / "docs" / "images" / "drain.svg"
_BLOCK = re.compile(r"(<!-- measured: (\S+) -->)\n(.*?)(<!-- /measured -->)", re.DOTALL)
OURS = "streamapp"
#: The programs of the page, and how it names them.
COMPARED: Mapping[str, str] = {
    "without-rollups": "streamapp without rollups",
    "go-same": "a loop in Go that stores what streamapp stores: franz-go, BSON by hand, text `_id`, index of times",
    "rust-same": "a loop in Rust that stores what streamapp stores: librdkafka, likewise",
    "go": "a loop in Go as its libraries show it: franz-go, hamba/avro, mongo-driver; ObjectIds, no further index",
    "rust": "a loop in Rust, likewise: librdkafka, apache-avro, mongodb",
    "loop": "a hand-written loop in Python: confluent-kafka, fastavro, `insert_many`",
    "connect-insert": "MongoDB's Kafka Connector, plain inserts, which a crash doubles",
    "connect-replace": "MongoDB's Kafka Connector, idempotent replaces",
    "quix": "Quix Streams' MongoDB sink",
    "faust": "stock Faust, in batches",
    "tutorial": "a tutorial's loop with `insert_one`",
}
_FIGURES: Mapping[str, tuple[Callable[[Round], float], str]] = {
    "events/s, until readable in MongoDB": (lambda each: each.events_per_second, ",.0f"),
    "CPU µs of the worker for each event": (lambda each: each.cpu_micros_per_event, ".1f"),
    "CPU µs of mongod for each event": (lambda each: each.mongod_cpu_micros_per_event, ".1f"),
    "CPU µs of Kafka for each event": (lambda each: each.kafka_cpu_micros_per_event, ".1f"),
    "peak memory of the worker, MB": (lambda each: each.peak_memory_mb, ",.0f"),
}
_RATIOS: Mapping[str, Callable[[Round], float]] = {
    "events/s of streamapp to theirs": lambda each: each.events_per_second,
    "CPU per event": lambda each: each.cpu_micros_per_event,
    "CPU per event with mongod and Kafka": lambda each: each.all_cpu_micros_per_event,
}


def drain(rounds: Rounds, *, events: int, verdict: str) -> Mapping[str, Sequence[str]]:
    """Return the tables of a drain, by name.

    Args:
        rounds: those of streamapp and of all programs that it is compared with.
        events: how many waited.
        verdict: how quiet the machine was.
    """
    head = [
        f"{events:,} events in the order of their times wait in 4 partitions.",
        f"The programs took turns in {len(rounds[OURS])} rounds; median and range.",
    ]
    return {
        "drain": [*head, verdict, "", *_ours(rounds), "", *_compared(rounds, _RATIOS)],
        "drain-speed": [*head, "", *_ours(rounds), "", *_compared(rounds, [*_RATIOS][:1])],
    }


def write(tables: Mapping[str, Sequence[str]], pages: Sequence[Path] = PAGES) -> None:
    """Replace these tables in the documents; the others stay."""

    def replaced(block: re.Match[str]) -> str:
        return "\n".join([block[1], *tables[block[2]], "", block[4]]) if block[2] in tables else block[0]

    for page in pages:
        page.write_text(_BLOCK.sub(replaced, page.read_text("utf-8")), encoding="utf-8")


def _ours(rounds: Rounds) -> Sequence[str]:
    return [
        "| streamapp | |",
        "| --- | --- |",
        *(f"| {name} | {spread([of(each) for each in rounds[OURS]], form)} |" for name, (of, form) in _FIGURES.items()),
    ]


def _compared(rounds: Rounds, columns: Collection[str]) -> Sequence[str]:
    of = [_RATIOS[column] for column in columns]
    rows = [
        [words, *(spread(ratios(each, rounds[OURS], rounds[name]), ".2f") for each in of)]
        for name, words in COMPARED.items()
    ]
    return [
        f"| compared with | {' | '.join(columns)} |",
        f"| --- |{' ---: |' * len(of)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
