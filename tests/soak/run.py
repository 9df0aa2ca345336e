"""One run: a new topic, group and database, some faults one after another or together, and the check."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from streamapp.local.backend import Backend
from tests.faults.catalogue import Fault
from tests.faults.environment import Environment
from tests.faults.judge import Verdict, judge

#: Seconds within which a run must reach zero lag without help, on a machine with other work …
BACK_WITHIN = 90.0
#: … and in the long form, in which up to a million records wait.
BACK_WITHIN_LONG = 300.0


@dataclass(slots=True)
class Happened:
    """A fault, its start and its duration, in seconds of its run."""

    name: str
    at: float
    seconds: float = 0.0


@dataclass(slots=True)
class Run:
    """The result of a run."""

    seed: int
    workers: int = 0
    faults: list[Happened] = field(default_factory=list[Happened])
    #: From the end of the load to zero lag.
    back_seconds: float = 0.0
    seconds: float = 0.0
    peak_mib: int = 0
    verdict: Verdict = field(default_factory=Verdict)

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return not self.verdict.problems


def run(backend: Backend, folder: Path, *, seed: int, pool: Sequence[Fault], is_long: bool) -> Run:
    """Do a run; the same seed draws the same faults."""
    source = random.Random(seed)
    found = Run(seed, workers=source.randint(1, 2))
    drawn = draw(source, pool)
    began = time.monotonic()
    try:
        with Environment(
            backend, folder, seed=seed, is_long=is_long, rate=source.choice((300, 700, 1_500))
        ) as environment:
            _go(environment, found, drawn)
    except AssertionError as exc:
        found.verdict.problems.append(str(exc))
    except Exception as exc:  # noqa: BLE001 - reported, and the next run starts
        found.verdict.problems.append(f"{type(exc).__name__}: {exc}")
    found.seconds = time.monotonic() - began
    return found


def draw(source: random.Random, pool: Sequence[Fault]) -> list[tuple[Fault, bool]]:
    """Choose faults, and for each one whether it starts while the ones before it go on."""
    chosen = source.sample(pool, min(source.randint(2, 4), len(pool)))
    return [(fault, source.random() < 0.5) for fault in chosen]


def _go(environment: Environment, found: Run, drawn: Sequence[tuple[Fault, bool]]) -> None:
    environment.begin(found.workers)
    environment.is_disturbed = any(fault.disturbs for fault, _ in drawn)
    _hurt(environment, found, drawn)
    found.back_seconds = environment.wait_until_caught_up(BACK_WITHIN_LONG if environment.is_long else BACK_WITHIN)
    found.peak_mib = max(member.peak_mib for member in environment.workers.untouched)
    codes = environment.workers.stop()
    found.verdict = judge(environment)
    if any(codes):
        found.verdict.problems.append(f"workers that were asked to stop ended with {codes}")


def _hurt(environment: Environment, found: Run, drawn: Sequence[tuple[Fault, bool]]) -> None:
    began = time.monotonic()
    going: dict[Future[None], Fault] = {}

    def hurt(fault: Fault) -> None:
        happened = Happened(fault.name, at=round(time.monotonic() - began, 1))
        found.faults.append(happened)
        try:
            fault.hurt(environment)
        finally:
            happened.seconds = round(time.monotonic() - began - happened.at, 1)

    with ThreadPoolExecutor(len(drawn)) as threads:
        try:
            for fault, together in drawn:
                while going and (not together or any(fault.uses & other.uses for other in going.values())):
                    _finish(going)
                going[threads.submit(hurt, fault)] = fault
                environment.let_time_pass(environment.source.random() * 2)
            while going:
                _finish(going)
        except BaseException:
            environment.called_off.set()
            raise


def _finish(going: dict[Future[None], Fault]) -> None:
    done, _ = wait(going, timeout=0.5, return_when=FIRST_COMPLETED)
    for future in done:
        del going[future]
        future.result()
