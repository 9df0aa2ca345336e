"""Faults in their short forms, under load: nothing lost, nothing twice, every field and every count right.

What they are is in `tests/faults`; `python -m tests.soak` draws from the same ones, at random, as long as wanted.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from streamapp.local.backend import Backend
from tests.faults.all import ALL
from tests.faults.backend import fault_backend
from tests.faults.dying import Point, end_at
from tests.faults.environment import Environment
from tests.faults.judge import judge
from tests.faults.worker import MOMENTS, STEPS

#: Seconds; most of it is the time in which Kafka notices a dead member, thrice.
BACK_WITHIN = 150
#: Half of it is the memory of an idle worker; it includes the largest records of an environment.
PEAK_MIB = 400
ROUNDS = 3 if os.environ.get("STREAMAPP_TEST_LONG") else 1

pytestmark = pytest.mark.timeout(900)

Hurt = Callable[[Environment], None]


def go(backend: Backend, folder: Path, hurt: Hurt, *, workers: int, is_disturbed: bool) -> None:
    """Inject the faults, wait until the pipeline has recovered without help, and check it."""
    folder.mkdir()
    with Environment(backend, folder, seed=7, rate=100) as environment:
        environment.begin(workers)
        environment.is_disturbed = is_disturbed
        hurt(environment)
        environment.wait_until_sent(1_200)
        environment.wait_until_caught_up(BACK_WITHIN)
        peak = max(member.peak_mib for member in environment.workers.untouched)
        assert {0} == {*environment.workers.stop()}
        verdict = judge(environment)

    assert [] == verdict.problems, verdict
    assert verdict.events > 1_000
    assert peak < PEAK_MIB


def at_every_step(environment: Environment, number: signal.Signals) -> None:
    """End all workers at once, each at another step of a batch, until there is no further step."""
    for turn in range(ROUNDS):
        moments = MOMENTS[turn:] + MOMENTS[:turn]
        points = iter([Point(step, moments[index % 3]) for index, step in enumerate(STEPS)])
        while some := [*islice(points, len(environment.workers.untouched))]:
            end_at(environment, dict(zip(environment.workers.untouched, some, strict=True)), number)
            environment.workers.wait_until_ready(within=120)


def one_by_one(names: Sequence[str], environment: Environment) -> None:
    """Let faults happen one after another."""
    for name in names:
        ALL[name].hurt(environment)


#: What leaves the servers alone, so that it can be side by side; with how many workers it begins.
BESIDE: Mapping[str, tuple[Hurt, int]] = {
    "killed at every step": (partial(at_every_step, number=signal.SIGKILL), 3),
    "stopped at every step": (partial(at_every_step, number=signal.SIGTERM), 3),
    "members": (partial(one_by_one, ["zombie", "join-and-leave"]), 2),
    "topics": (
        partial(one_by_one, ["partitions-added", "retention", "topic-recreated", "topic-recreated-while-frozen"]),
        2,
    ),
}


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    """Return servers that can be made to refuse."""
    with fault_backend() as backend:
        yield backend


@pytest.fixture(scope="module")
def beside(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[None]]]:
    """Begin all that leaves the servers alone; most of its time is spent waiting."""
    folder = tmp_path_factory.mktemp("beside")
    with ThreadPoolExecutor(len(BESIDE)) as threads:
        yield {
            name: threads.submit(go, backend, folder / name.replace(" ", "-"), hurt, workers=workers, is_disturbed=True)
            for name, (hurt, workers) in BESIDE.items()
        }


@pytest.mark.parametrize("name", BESIDE)
def test_workers_that_die_freeze_come_and_go(beside: Mapping[str, Future[None]], name: str) -> None:
    """And topics that change under them."""
    beside[name].result(880)


def test_servers_that_refuse_are_waited_for(backend: Backend, tmp_path: Path) -> None:
    """By the same process, with every dead letter once: no record comes again."""
    names = [
        "mongodb-away",
        "mongodb-read-only",
        "mongodb-disk-full",
        "mongodb-file-limit",
        "mongodb-steps-down",
        "dead-letters-refused",
        "clock-jumps",
        "timestamps-behind",
        "timestamps-ahead",
        "large-records",
        "odd-headers",
        "bombs",
        "forged-letters",
    ]
    go(backend, tmp_path / "environment", partial(one_by_one, names), workers=1, is_disturbed=False)
