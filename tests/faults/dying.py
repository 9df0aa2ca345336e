"""Workers that end at a step of a slice, or at any moment."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import NamedTuple

from tests.faults.catalogue import EVERYTHING, fault
from tests.faults.environment import Scene
from tests.faults.worker import MOMENTS, STEPS
from tests.faults.workers import Member
from tests.support.until import until

#: Steps that only some slices come to.
RARE = {"apart", "send", "count"}


class Point(NamedTuple):
    """Where a worker ends: at a call of a step of a slice, before, during or after it."""

    step: str
    moment: str
    nth: int = 1


@fault("kill-at-step", *EVERYTHING)
def kill_at_step(scene: Scene) -> None:
    """kill -9 of a worker before, during or after a step of a slice."""
    end_at(scene, {scene.victim(): draw(scene)}, signal.SIGKILL)


@fault("term-at-step", *EVERYTHING)
def term_at_step(scene: Scene) -> None:
    """SIGTERM before, during or after a step of a slice."""
    end_at(scene, {scene.victim(): draw(scene)}, signal.SIGTERM)


@fault("kill-any-time", "workers")
def kill_any_time(scene: Scene) -> None:
    """kill -9 of a worker at any moment, whatever else is going on."""
    member = scene.victim()
    member.is_doomed = True
    scene.linger(scene.source.random())
    member.kill()
    scene.linger(scene.source.random() * scene.seconds(3, 30))
    scene.crew.start()


def draw(scene: Scene) -> Point:
    """Choose a step, a moment, and the number of the call."""
    step, moment = scene.source.choice([*STEPS]), scene.source.choice(MOMENTS)
    return Point(step, moment, 1 if step in RARE else scene.source.randrange(1, 6))


def end_at(scene: Scene, points: Mapping[Member, Point], number: signal.Signals) -> None:
    """Have workers end, each at its point, and put others in their places."""
    for member, point in points.items():
        member.end_at(*point, number=number)
    needs_poison = any(point.step in RARE for point in points.values())

    def have_sprung() -> bool:
        if needs_poison:
            scene.load.poison()
        scene.linger(0.5)
        return not any(member.trap.exists() for member in points)

    until(have_sprung, within=180, what=f"{number.name} at {[*points.values()]}")
    for member in points:
        code = member.process.wait(30)
        assert code == (-number if number == signal.SIGKILL else 0), member.log
        scene.crew.start()
