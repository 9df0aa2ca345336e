"""Workers that end at a step of a slice, or at any moment."""

from __future__ import annotations

import signal

from tests.faults.catalogue import fault
from tests.faults.crew import Member
from tests.faults.scene import Scene
from tests.faults.worker import MOMENTS, STEPS
from tests.until import until

#: Steps that only some slices come to.
RARE = {"apart", "send", "count"}


@fault("kill-at-step", "workers", "kafka", "mongod", "registry", "load")
def kill_at_step(scene: Scene) -> None:
    """kill -9 of a worker before, during or after a step of a slice."""
    end_at(scene, *draw(scene), number=signal.SIGKILL)


@fault("term-at-step", "workers", "kafka", "mongod", "registry", "load")
def term_at_step(scene: Scene) -> None:
    """SIGTERM before, during or after a step of a slice."""
    member = end_at(scene, *draw(scene), number=signal.SIGTERM)
    assert member.process.wait(30) == 0, member.log


@fault("kill-any-time", "workers")
def kill_any_time(scene: Scene) -> None:
    """kill -9 of a worker at any moment, whatever else is going on."""
    member = scene.victim()
    member.is_doomed = True
    scene.linger(scene.source.random())
    member.kill()
    scene.linger(scene.source.random() * scene.seconds(3, 30))
    scene.crew.start()


def draw(scene: Scene) -> tuple[str, str, int]:
    """Choose a step, a moment, and the number of the call."""
    step = scene.source.choice([*STEPS])
    return step, scene.source.choice(MOMENTS), 1 if step in RARE else scene.source.randrange(1, 6)


def end_at(scene: Scene, step: str, moment: str, nth: int, *, number: signal.Signals) -> Member:
    """Have a worker end at a step, and put another in its place."""
    member = scene.victim()
    member.end_at(step, moment, nth=nth, number=number)

    def has_sprung() -> bool:
        if step in RARE:
            scene.load.poison()
        scene.linger(0.2)
        return not member.trap.exists()

    until(has_sprung, within=60, what=f"{number.name} {moment} call {nth} of {step}")
    if number == signal.SIGKILL:
        member.process.wait(20)
    scene.crew.start()
    return member
