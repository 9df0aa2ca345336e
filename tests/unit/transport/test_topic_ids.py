"""The topic ids of the topics that are read."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from streamapp.errors import BrokerUnavailable
from streamapp.retry import OutageRetrier
from streamapp.transport.topic_ids import TopicIds


class FakeCluster:
    """A broker with one topic, and a consumer that may or may not read the re-created topic."""

    def __init__(self, *ids: str | None, may_read: bool = True) -> None:
        self.ids = [*ids]
        self.is_unreachable = False
        self.changed: list[str] = []
        self.times_known = 0
        self.may_read = may_read
        self.outages = OutageRetrier("Kafka", sleep=lambda _: asyncio.sleep(0))
        self.topic_ids = TopicIds(
            self.topic_id_of,
            outages=self.outages,
            spawn=self.spawn,
            on_known=self.note_known,
            on_changed=self.note_changed,
        )

    async def topic_id_of(self, _: str) -> str | None:
        """Return the next topic id."""
        if self.is_unreachable:
            raise BrokerUnavailable("no answer")
        return self.ids.pop(0)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        """Run in the background."""
        return asyncio.ensure_future(work)

    def note_known(self) -> None:
        """Count the call."""
        self.times_known += 1

    async def note_changed(self, topic: str) -> bool:
        """Note the topic."""
        self.changed.append(topic)
        return self.may_read


async def run_tasks() -> None:
    """Let all tasks run until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_changed_topic_id_is_reported_before_the_topic_may_be_read() -> None:
    """The same topic id again is not reported."""

    async def scenario() -> None:
        cluster = FakeCluster("one", "one", "two")
        for expected, changed in (("one", []), ("one", []), ("two", ["events"])):
            cluster.topic_ids.request("events")
            assert cluster.topic_ids.known == {}
            await run_tasks()
            assert (cluster.topic_ids.known, cluster.changed) == ({"events": expected}, changed)
        assert cluster.times_known == 3

    asyncio.run(scenario())


def test_a_topic_that_gets_its_id_by_an_upgrade_of_the_brokers_is_the_same_topic() -> None:
    """It is not read from its start again. A change of the id after that is one."""

    async def scenario() -> None:
        cluster = FakeCluster(None, None, "one", "two")
        for expected, changed in ((None, []), (None, []), ("one", []), ("two", ["events"])):
            cluster.topic_ids.request("events")
            await run_tasks()
            assert (cluster.topic_ids.known, cluster.changed) == ({"events": expected}, changed)

    asyncio.run(scenario())


def test_a_topic_that_may_not_be_read_stays_unknown() -> None:
    """The consumer joins its group again, which requests the topic id again; the change is then reported again."""

    async def scenario() -> None:
        cluster = FakeCluster("one", "two", "two", may_read=False)
        for _ in range(3):
            cluster.topic_ids.request("events")
            await run_tasks()
        assert (cluster.topic_ids.known, cluster.changed) == ({}, ["events", "events"])

    asyncio.run(scenario())


def test_a_failed_request_is_an_outage() -> None:
    """/readyz reports it; the topic may not be read meanwhile."""

    async def scenario() -> None:
        cluster = FakeCluster("one")
        cluster.is_unreachable = True
        cluster.topic_ids.request("events")
        await run_tasks()
        assert cluster.outages.outage_since is not None
        cluster.topic_ids.forget("events")
        cluster.is_unreachable = False
        await run_tasks()
        assert cluster.topic_ids.known == {}
        cluster.topic_ids.request("events")
        await run_tasks()
        assert (cluster.topic_ids.known, cluster.outages.outage_since) == ({"events": "one"}, None)

    asyncio.run(scenario())
