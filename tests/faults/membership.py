"""Workers that join, leave, freeze and continue."""

from __future__ import annotations

from tests.faults.catalogue import fault
from tests.faults.environment import Environment
from tests.faults.workers import Member
from tests.support.offsets import committed


@fault("zombie", "workers", "kafka")
def zombie(environment: Environment) -> None:
    """A worker that is frozen past its session timeout continues, as if it still owned its partitions."""
    frozen = environment.victim()
    if len(environment.workers.untouched) == 1:
        environment.workers.start()
        environment.workers.wait_until_ready(within=120)
    try:
        frozen.is_doomed = True  # to the other workers
        frozen.freeze()
        environment.let_time_pass(environment.settings.session_timeout_seconds + 1)
        # another worker has all partitions by now
        before = committed(environment.settings)

        def has_moved() -> bool:
            return all(now > before[partition] for partition, now in committed(environment.settings).items())

        environment.wait_for(has_moved, what="commits of all partitions")
        environment.let_time_pass(environment.source.random() * environment.seconds(1, 30))
    finally:
        frozen.thaw()
        frozen.is_doomed = False
    environment.let_time_pass(1)


@fault("hang", "workers", "kafka")
def hang(environment: Environment) -> None:
    """A worker that is frozen for less than its session timeout."""
    frozen = environment.victim()
    frozen.freeze()
    try:
        environment.let_time_pass(environment.source.random() * (environment.settings.session_timeout_seconds - 2))
    finally:
        frozen.thaw()


@fault("join-and-leave", "workers", "kafka")
def join_and_leave(environment: Environment) -> None:
    """Three more workers that join and leave one after another."""
    for _ in range(20 if environment.is_long else 1):
        guests: list[Member] = []
        for _ in range(3):
            guests.append(environment.workers.start())
            environment.let_time_pass(environment.source.random())
        environment.source.shuffle(guests)
        for guest in guests:
            environment.wait_for(lambda guest=guest: guest.is_ready, what="a ready guest")
            guest.is_doomed = True
            assert guest.stop(within=30) == 0, guest.log
