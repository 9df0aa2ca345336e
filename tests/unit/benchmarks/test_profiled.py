"""CPU time is attributed to the stage of the innermost function that belongs to one."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmarks import stages
from benchmarks.profiled import Profiler
from benchmarks.watching import Round
from tests.support.until import until

#: What the innermost function does not know: the function of a stage that has called it.
INNER = "def inner():\n    sum(i * i for i in range(10_000))\n"
OUTER = "def outer(inner, is_over):\n    while not is_over():\n        inner()\n"


def functions(path: str, source: str) -> dict[str, Any]:
    """The functions of a source, as if it stood in a file."""
    found: dict[str, Any] = {}
    exec(compile(source, path, "exec"), found)  # noqa: S102 - the file does not exist
    return found


def seconds(file: Path) -> dict[str, float]:
    """The last sums that the profiler has written."""
    *_, last = [{"seconds": {}}, *(json.loads(line) for line in file.read_text("utf-8").splitlines() if line)]
    return last["seconds"]


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("/x/streamapp/decode/kernel.py", "decode"),
        ("/x/streamapp/transport/fetcher.py", "fetch and take records apart"),
        ("/x/streamapp/transport/prefix_commits.py", "commit"),
        ("/x/faust/app.py", stages.REST),
    ],
)
def test_cpu_belongs_to_the_innermost_stage(tmp_path: Path, path: str, stage: str) -> None:
    """A function of no stage, such as one of a library, counts for the one that called it."""
    file, is_over = tmp_path / "profile", threading.Event()
    file.touch()
    inner = functions("/x/library.py", INNER)["inner"]
    work = threading.Thread(target=functions(path, OUTER)["outer"], args=(inner, is_over.is_set), daemon=True)
    work.start()
    profiler = Profiler(file)
    profiler.start()
    try:
        until(lambda: seconds(file).get(stage, 0) > 0.2, within=120, what=f"CPU time of {stage}")
    finally:
        is_over.set()
        profiler.ends.set()
        work.join()
        profiler.join()


def test_stages_are_those_of_the_measured_time(tmp_path: Path) -> None:
    """What a stage used before the first event and after the rollups does not count."""
    file = tmp_path / "profile"
    sums = {100.0: 5.0, 101.0: 6.0, 102.0: 8.0, 103.5: 9.0, 104.0: 20.0}
    file.write_text("".join(f"{json.dumps({'at': at, 'seconds': {'decode': n}})}\n" for at, n in sums.items()), "utf-8")
    measured = Round(
        events_per_second=1_000_000,
        cpu_micros_per_event=4,
        mongod_cpu_micros_per_event=6,
        kafka_cpu_micros_per_event=1,
        peak_memory_mb=180,
        seconds_to_first=1,
        seconds_to_last=3,
        seconds_to_rollups=0.9,
    )

    assert {"decode": pytest.approx(1.5)} == stages.per_event(file, 100, measured)
