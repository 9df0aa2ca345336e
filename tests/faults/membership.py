"""Workers that come, go, and believe that they have never been away."""

from __future__ import annotations

from tests.faults.catalogue import fault
from tests.faults.environment import Environment
from tests.faults.workers import Member
from tests.support.offsets import committed


@fault("zombie", "workers", "kafka")
def zombie(environment: Environment) -> None:
    """A worker frozen past its session timeout comes back and believes that it owns its partitions."""
    frozen = environment.victim()
    if len(environment.workers.fit) == 1:
        environment.workers.start()
        environment.workers.wait_until_ready(within=120)
    try:
        frozen.is_doomed = True  # to others
        frozen.freeze()
        environment.linger(environment.settings.session_timeout_seconds + 1)
        # Somebody else has all partitions by now.
        before = committed(environment.settings)

        def has_moved() -> bool:
            return all(now > before[partition] for partition, now in committed(environment.settings).items())

        environment.wait_for(has_moved, what="commits of all partitions")
        environment.linger(environment.source.random() * environment.seconds(1, 30))
    finally:
        frozen.thaw()
        frozen.is_doomed = False
    environment.linger(1)


@fault("hang", "workers", "kafka")
def hang(environment: Environment) -> None:
    """A worker frozen for less than its session timeout."""
    frozen = environment.victim()
    frozen.freeze()
    try:
        environment.linger(environment.source.random() * (environment.settings.session_timeout_seconds - 2))
    finally:
        frozen.thaw()


@fault("join-and-leave", "workers", "kafka")
def join_and_leave(environment: Environment) -> None:
    """Three more workers, joining and leaving one after another."""
    for _ in range(20 if environment.is_long else 1):
        guests: list[Member] = []
        for _ in range(3):
            guests.append(environment.workers.start())
            environment.linger(environment.source.random())
        environment.source.shuffle(guests)
        for guest in guests:
            environment.wait_for(lambda guest=guest: guest.is_ready, what="a ready guest")
            guest.is_doomed = True
            assert guest.stop(within=30) == 0, guest.log
