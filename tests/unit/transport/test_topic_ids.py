"""Which life a topic is in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from streamapp.errors import BrokerUnavailable
from streamapp.retry import OutageRetrier
from streamapp.transport.topic_ids import TopicIds


class World:
    """A broker with one topic, and a consumer that may read its next life or not."""

    def __init__(self, *lives: str, may_read: bool = True) -> None:
        self.lives = [*lives]
        self.is_away = False
        self.other_lives: list[str] = []
        self.wanted = 0
        self.may_read = may_read
        self.outages = OutageRetrier("Kafka", sleep=lambda _: asyncio.sleep(0))
        self.topic_ids = TopicIds(
            self.tell, outages=self.outages, spawn=self.spawn, on_known=self.want, on_changed=self.reread
        )

    async def tell(self, _: str) -> str:
        """Return the present life."""
        if self.is_away:
            raise BrokerUnavailable("away")
        return self.lives.pop(0)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        """Run in the background."""
        return asyncio.ensure_future(work)

    def want(self) -> None:
        """Note that there is something to read."""
        self.wanted += 1

    async def reread(self, topic: str) -> bool:
        """Note another life."""
        self.other_lives.append(topic)
        return self.may_read


async def settled() -> None:
    """Let everything go on that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_topic_is_known_by_its_life() -> None:
    """The same life again is no news; another one is, before anything is read of it."""

    async def scenario() -> None:
        world = World("one", "one", "two")
        for expected, others in (("one", []), ("one", []), ("two", ["events"])):
            world.topic_ids.learn("events")
            assert world.topic_ids.known == {}
            await settled()
            assert (world.topic_ids.known, world.other_lives) == ({"events": expected}, others)
        assert world.wanted == 3

    asyncio.run(scenario())


def test_a_life_that_cannot_be_read_stays_unknown() -> None:
    """The consumer joins its group again, and asks again."""

    async def scenario() -> None:
        world = World("one", "two", may_read=False)
        for _ in range(2):
            world.topic_ids.learn("events")
            await settled()
        assert (world.topic_ids.known, world.other_lives) == ({}, ["events"])

    asyncio.run(scenario())


def test_a_broker_that_does_not_tell_is_an_outage() -> None:
    """Which /readyz tells of: nothing is read meanwhile."""

    async def scenario() -> None:
        world = World("one")
        world.is_away = True
        world.topic_ids.learn("events")
        await settled()
        assert world.outages.away_since is not None
        world.topic_ids.forget("events")
        world.is_away = False
        await settled()
        assert world.topic_ids.known == {}
        world.topic_ids.learn("events")
        await settled()
        assert (world.topic_ids.known, world.outages.away_since) == ({"events": "one"}, None)

    asyncio.run(scenario())
