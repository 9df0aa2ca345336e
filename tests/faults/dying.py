"""Workers that end at a step of a batch, or at any time."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import NamedTuple

from tests.faults.catalogue import EVERYTHING, fault
from tests.faults.environment import Environment
from tests.faults.worker import MOMENTS, STEPS
from tests.faults.workers import Member
from tests.support.until import until

#: Steps that only some batches reach.
RARE = {"apart", "send", "count"}


class Point(NamedTuple):
    """Where a worker ends: at a call of a step, before, during or after it."""

    step: str
    moment: str
    nth: int = 1


@fault("kill-at-step", *EVERYTHING)
def kill_at_step(environment: Environment) -> None:
    """kill -9 of a worker before, during or after a step of a batch."""
    end_at(environment, {environment.victim(): draw(environment)}, signal.SIGKILL)


@fault("term-at-step", *EVERYTHING)
def term_at_step(environment: Environment) -> None:
    """SIGTERM before, during or after a step of a batch."""
    end_at(environment, {environment.victim(): draw(environment)}, signal.SIGTERM)


@fault("kill-any-time", "workers")
def kill_any_time(environment: Environment) -> None:
    """kill -9 of a worker at any time, independent of its state."""
    member = environment.victim()
    member.is_doomed = True
    environment.let_time_pass(environment.source.random())
    member.kill()
    environment.let_time_pass(environment.source.random() * environment.seconds(3, 30))
    environment.workers.start()


def draw(environment: Environment) -> Point:
    """Choose a step, a moment, and the number of the call."""
    step, moment = environment.source.choice([*STEPS]), environment.source.choice(MOMENTS)
    return Point(step, moment, 1 if step in RARE else environment.source.randrange(1, 6))


def end_at(environment: Environment, points: Mapping[Member, Point], number: signal.Signals) -> None:
    """End workers, each at its point, and start others in their place."""
    for member, point in points.items():
        member.end_at(*point, number=number)
    needs_poison = any(point.step in RARE for point in points.values())

    def have_sprung() -> bool:
        if needs_poison:
            environment.load.poison()
        environment.let_time_pass(0.5)
        return not any(member.fault_point.exists() for member in points)

    until(have_sprung, within=180, what=f"{number.name} at {[*points.values()]}")
    for member in points:
        code = member.process.wait(30)
        assert code == (-number if number == signal.SIGKILL else 0), member.log
        environment.workers.start()
