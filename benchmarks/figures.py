"""Summaries of several rounds of several programs: ratios first, then medians and ranges."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks import report
from benchmarks.watching import Round

#: Program → its rounds, in order.
Rounds = Mapping[str, Sequence[Round]]
_Figure = Callable[[Round], float]

_RATIOS: Mapping[str, _Figure] = {
    "events/s": lambda each: each.events_per_second,
    "CPU per event": lambda each: each.cpu_micros_per_event,
    "CPU per event with mongod and Kafka": lambda each: each.all_cpu_micros_per_event,
    "memory": lambda each: each.peak_memory_mb,
}
_COLUMNS: Mapping[str, tuple[_Figure, str]] = {
    "events/s": (lambda each: each.events_per_second, ",.0f"),
    "CPU µs per event": (lambda each: each.cpu_micros_per_event, ".1f"),
    "mongod's": (lambda each: each.mongod_cpu_micros_per_event, ".1f"),
    "Kafka's": (lambda each: each.kafka_cpu_micros_per_event, ".1f"),
    "peak memory, MB": (lambda each: each.peak_memory_mb, ",.0f"),
    "seconds to the first event": (lambda each: each.seconds_to_first, ".1f"),
    "seconds to the last event": (lambda each: each.seconds_to_last, ".1f"),
    "seconds from the last event to the rollups": (lambda each: each.seconds_to_rollups, ".1f"),
}


def print_ratios(ours: str, rounds: Rounds) -> None:
    """Print the first program divided by each other program, round by round: median and range."""
    rows = [_ratio_row(other, rounds[ours], of_other) for other, of_other in rounds.items() if other != ours]
    report.say(f"{ours} divided by each of the others, round by round; median (range):\n")
    report.table([f"{ours} to", *_RATIOS], rows)


def print_ratios_to(bases: Mapping[str, str], rounds: Rounds) -> None:
    """Print some runs, each divided by its base, round by round: median and range."""
    rows = [_ratio_row(run, rounds[run], rounds[base]) for run, base in bases.items()]
    report.say("Spread event times, divided by events in the order of their times; median (range):\n")
    report.table(["", *_RATIOS], rows)


def _ratio_row(name: str, ours: Sequence[Round], others: Sequence[Round]) -> Sequence[str]:
    return [name, *(spread(ratios(figure, ours, others), ".2f") for figure in _RATIOS.values())]


def print_figures(rounds: Rounds) -> None:
    """Print one line per program; median (range)."""
    rows = [
        [program, *(spread([figure(each) for each in of_program], form) for figure, form in _COLUMNS.values())]
        for program, of_program in rounds.items()
    ]
    report.table(["", *_COLUMNS], rows)


def spread(values: Sequence[float], form: str) -> str:
    """Return `median (minimum–maximum)`; empty if the program has no such figure."""
    if not any(values):
        return ""  # the program has no such figure
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def ratios(figure: Callable[[Round], float], ours: Sequence[Round], others: Sequence[Round]) -> Sequence[float]:
    """A figure of the one divided by that of the other, round by round."""
    return [figure(our) / figure(other) for our, other in zip(ours, others, strict=True)]
