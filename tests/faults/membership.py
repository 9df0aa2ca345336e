"""Workers that come, go, and believe that they have never been away."""

from __future__ import annotations

from tests.faults.catalogue import fault
from tests.faults.environment import Scene
from tests.faults.workers import Member
from tests.support.offsets import committed


@fault("zombie", "workers", "kafka")
def zombie(scene: Scene) -> None:
    """A worker frozen past its session timeout comes back and believes that it owns its partitions."""
    frozen = scene.victim()
    if len(scene.crew.fit) == 1:
        scene.crew.start()
        scene.crew.wait_until_ready(within=120)
    try:
        frozen.is_doomed = True  # to others
        frozen.freeze()
        scene.linger(scene.settings.session_timeout_seconds + 1)
        # Somebody else has all partitions by now.
        before = committed(scene.settings)

        def has_moved() -> bool:
            return all(now > before[partition] for partition, now in committed(scene.settings).items())

        scene.wait_for(has_moved, what="commits of all partitions")
        scene.linger(scene.source.random() * scene.seconds(1, 30))
    finally:
        frozen.thaw()
        frozen.is_doomed = False
    scene.linger(1)


@fault("hang", "workers", "kafka")
def hang(scene: Scene) -> None:
    """A worker frozen for less than its session timeout."""
    frozen = scene.victim()
    frozen.freeze()
    try:
        scene.linger(scene.source.random() * (scene.settings.session_timeout_seconds - 2))
    finally:
        frozen.thaw()


@fault("join-and-leave", "workers", "kafka")
def join_and_leave(scene: Scene) -> None:
    """Three more workers, joining and leaving one after another."""
    for _ in range(20 if scene.is_long else 1):
        guests: list[Member] = []
        for _ in range(3):
            guests.append(scene.crew.start())
            scene.linger(scene.source.random())
        scene.source.shuffle(guests)
        for guest in guests:
            scene.wait_for(lambda guest=guest: guest.is_ready, what="a ready guest")
            guest.is_doomed = True
            assert guest.stop(within=30) == 0, guest.log
