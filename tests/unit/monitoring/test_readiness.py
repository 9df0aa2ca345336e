"""The checks of /readyz."""

from __future__ import annotations

import asyncio

import pytest

from streamapp.errors import StoreAccessRefused, StoreUnavailable
from streamapp.monitoring.consumer import ConsumerState
from streamapp.monitoring.readiness import ANSWER_VALID_SECONDS, Check, Dependency, OutageCheck, Readiness
from streamapp.retry import OutageRetrier


class Server:
    """A server that can become unreachable or refuse access, and a clock."""

    def __init__(self) -> None:
        self.is_unreachable = self.refuses_access = False
        self.now = 0.0
        self.outages = OutageRetrier("MongoDB", clock=lambda: self.now)
        self.dependency = Dependency(name="mongodb", ping=self.ping, outages=[self.outages], clock=lambda: self.now)

    async def ping(self) -> None:
        """Answer, or raise StoreUnavailable."""
        if self.is_unreachable:
            raise StoreUnavailable("no server")
        if self.refuses_access:
            raise StoreAccessRefused("the password is wrong")


class World:
    """The readiness of a worker without stalled partitions, and what it depends on."""

    def __init__(self, *checks: Check, partitions: int | None = 4) -> None:
        self.now = 0.0
        self.is_agent_running = True
        self.state = ConsumerState(partitions=partitions)
        self.readiness = Readiness(
            state=self.state,
            is_agent_running=lambda: self.is_agent_running,
            checks=checks,
            clock=lambda: self.now,
        )
        self.readiness.stall_detector.observe([], self.now)

    def failures(self) -> dict[str, str]:
        """Return the checks that fail; the worker is ready without one."""
        is_ready, states = self.readiness.report()
        failures = {name: state for name, state in states.items() if state != "ok"}
        assert is_ready is not bool(failures)
        return failures


def test_worker_needs_partitions_and_answers_of_its_servers() -> None:
    """Each missing one is named."""
    server = Server()
    world = World(server.dependency, partitions=None)
    assert {"partitions": "not assigned yet", "mongodb": "not checked yet"} == world.failures()

    asyncio.run(server.dependency.check())
    assert {"partitions": "not assigned yet"} == world.failures()

    world.state.assigned(4)
    assert {} == world.failures()


def test_rebalance_makes_the_worker_unready() -> None:
    """Until the next assignment, which is counted."""
    world = World()
    world.state.revoked()
    assert {"partitions": "not assigned yet"} == world.failures()

    world.state.assigned(2)
    assert ({}, 1) == (world.failures(), world.state.rebalances)


def test_stopped_agent_makes_the_worker_unready() -> None:
    """The check `agent` fails."""
    world = World()
    world.is_agent_running = False

    assert {"agent": "not running"} == world.failures()


def test_stall_detector_without_observations_makes_the_worker_unready() -> None:
    """Both of its checks fail."""
    world = World()
    world.now = 60.0

    assert {"settling": "not checked for 60 s", "commits": "not checked for 60 s"} == world.failures()


def test_short_outage_does_not_make_the_worker_unready() -> None:
    """A longer one does, even if the server answers pings, as a MongoDB that refuses writes does."""
    server = Server()
    server.outages._note_failure(StoreUnavailable("read-only"))
    dead_letters = OutageCheck("dead_letters", [server.outages])
    asyncio.run(server.dependency.check())
    assert ("ok", "ok") == (server.dependency.state, dead_letters.state)

    server.now = 4
    assert ("failing for 4 s: read-only",) * 2 == (server.dependency.state, dead_letters.state)

    server.outages._note_success()
    assert ("ok", "ok") == (server.dependency.state, dead_letters.state)


def test_answer_of_a_server_expires() -> None:
    """A server that stops answering is reported, until it answers again."""
    server = Server()
    asyncio.run(server.dependency.check())
    server.is_unreachable = True
    server.now = ANSWER_VALID_SECONDS + 1
    asyncio.run(server.dependency.check())
    assert server.dependency.state == "no answer for 6 s: no server"

    server.is_unreachable = False
    asyncio.run(server.dependency.check())
    assert server.dependency.state == "ok"


def test_a_server_that_refuses_access_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Also if the worker has no record for which it needs the server; an unreachable one is only on the page then."""
    server = Server()

    def check(*, is_unreachable: bool = False, refuses_access: bool = False) -> list[str]:
        server.is_unreachable, server.refuses_access = is_unreachable, refuses_access
        asyncio.run(server.dependency.check())
        return [record.getMessage() for record in caplog.records]

    assert [] == check(is_unreachable=True)
    (refused,) = check(refuses_access=True)
    assert "MongoDB refuses access; retrying until it grants it: the password is wrong" == refused
    assert [refused] == check(refuses_access=True)
    assert [refused] == check(is_unreachable=True)
    assert server.outages.outage_since is not None
    assert [refused, "MongoDB works again after 0.0 s"] == check()
    assert 2 == len(check())


def test_worker_with_an_empty_assignment_is_ready() -> None:
    """A group may have more workers than the topic has partitions."""
    assert {} == World(partitions=0).failures()
