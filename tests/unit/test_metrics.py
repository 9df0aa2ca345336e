"""When the worker says that it is ready."""

from __future__ import annotations

import asyncio

from streamapp.errors import StoreUnavailable
from streamapp.metrics import FRESH_FOR, Dependency, Readiness


class Pinged:
    """A dependency that can go away, and a clock."""

    def __init__(self) -> None:
        self.is_away = False
        self.now = 0.0
        self.dependency = Dependency("mongodb", self.ping, clock=lambda: self.now)

    async def ping(self) -> None:
        """Answer, or not."""
        if self.is_away:
            raise StoreUnavailable("no server")


def test_ready_takes_partitions_and_answers() -> None:
    """Neither is enough alone."""
    pinged = Pinged()
    readiness = Readiness(pinged.dependency)
    assert readiness.report()[0] is False

    asyncio.run(pinged.dependency.ask())
    assert (False, {"partitions": "not assigned yet", "mongodb": "ok"}) == readiness.report()

    readiness.partitions = 4
    assert (True, {"partitions": "ok", "mongodb": "ok"}) == readiness.report()


def test_an_answer_grows_stale() -> None:
    """A dependency that went away is noticed, and so is its return."""
    pinged = Pinged()
    asyncio.run(pinged.dependency.ask())
    pinged.is_away = True
    pinged.now = FRESH_FOR + 1
    asyncio.run(pinged.dependency.ask())
    assert pinged.dependency.state == "no answer for 6 s: no server"

    pinged.is_away = False
    asyncio.run(pinged.dependency.ask())
    assert pinged.dependency.state == "ok"


def test_a_worker_without_partitions_of_its_own_is_ready() -> None:
    """It stands by for the others of its group."""
    readiness = Readiness()
    readiness.partitions = 0

    assert readiness.report()[0] is True
