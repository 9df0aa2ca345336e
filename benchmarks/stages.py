"""The stages of the worker, and what CPU time each of them uses; `benchmarks.profiled` measures it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures, report
from benchmarks.watching import Round

#: The environment variable with the name of the file to which the profiler writes.
FILE = "BENCHMARK_PROFILE"
#: Stage → parts of the paths of its modules; the first stage that has a path counts.
STAGES: Mapping[str, Sequence[str]] = {
    "commit": (
        "streamapp/transport/prefix_commits",
        "streamapp/transport/offset_tracker",
        "aiokafka/consumer/group_coordinator",
        "aiokafka/coordinator/",
    ),
    "fetch and take records apart": ("streamapp/transport/", "aiokafka/", "cramjam"),
    "decode": ("streamapp/decode/",),
    "insert": ("streamapp/mongodb/event_store", "streamapp/sink/insert_batcher"),
    "rollups": ("streamapp/rollups/", "streamapp/mongodb/rollup_store"),
    "metrics and heartbeat": ("streamapp/monitoring/", "prometheus_client/"),
    "settle a batch, apart from these": ("streamapp/sink/",),
}
REST, OF_PROFILER = "Faust, event loop, threads", "profiler"
#: In the order of the way of an event.
_SHOWN = (
    "fetch and take records apart",
    "decode",
    "insert",
    "rollups",
    "commit",
    "metrics and heartbeat",
    "settle a batch, apart from these",
    REST,
)


def per_event(file: Path, began: float, measured: Round) -> Mapping[str, float]:
    """CPU µs per event of each stage, for the same time in which the round was measured.

    Args:
        file: what the profiler has written.
        began: when the process was started.
        measured: the round.
    """
    first, last = began + measured.seconds_to_first, began + measured.seconds_to_last
    *complete, _ = file.read_text("utf-8").splitlines()  # the last line may have been interrupted
    lines = [json.loads(line) for line in complete]
    before, after = (_sums(lines, at) for at in (first, last + measured.seconds_to_rollups))
    events = measured.events_per_second * (last - first)
    return {stage: (seconds - before.get(stage, 0)) / events * 1e6 for stage, seconds in after.items()}


def _sums(lines: Sequence[Mapping[str, Any]], at: float) -> Mapping[str, float]:
    return next((line["seconds"] for line in reversed(lines) if line["at"] <= at), {})


def table(micros: Sequence[Mapping[str, float]], rounds: Sequence[Round]) -> Sequence[str]:
    """Return a table with the CPU time of each stage per event, and that of the servers.

    Args:
        micros: of each round, CPU µs per event of each stage.
        rounds: the rounds.
    """
    by_stage = {stage: [each.get(stage, 0) for each in micros] for stage in (*_SHOWN, OF_PROFILER)}
    worker = [sum(each[stage] for stage in _SHOWN if stage in each) for each in micros]
    rows = [[stage, _figures(by_stage[stage]), _share(by_stage[stage], worker)] for stage in _SHOWN]
    rows += [
        ["worker, in all", _figures(worker), ""],
        ["mongod", _figures([each.mongod_cpu_micros_per_event for each in rounds]), ""],
        ["Kafka", _figures([each.kafka_cpu_micros_per_event for each in rounds]), ""],
        ["(the profiler itself)", _figures(by_stage[OF_PROFILER]), ""],
    ]
    return report.lines(["stage", "CPU µs per event", "share of the worker"], rows)


def _figures(values: Sequence[float]) -> str:
    return figures.spread(values, ".2f") or "0.00"


def _share(values: Sequence[float], wholes: Sequence[float]) -> str:
    return f"{statistics.median(value / whole for value, whole in zip(values, wholes, strict=True)):.0%}"
