"""Which life a topic is in: nothing of it is read before that is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from streamapp.retry import OutageRetrier

TopicIdOf = Callable[[str], Awaitable["str | None"]]


class TopicIds:
    """The topic ids of the topics that are being read.

    Args:
        incarnation_of: tells the UUID of a topic's present life, None where the broker has none.
        outages: waits until it does not raise Transient.
        spawn: runs a coroutine in the background, and ends with it if it fails.
        on_known: called once a topic may be read.
        on_another_life: called before that if it is not the life that it was in when it was known last; says whether
            the topic may be read.
    """

    def __init__(
        self,
        topic_id_of: TopicIdOf,
        *,
        outages: OutageRetrier,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Future[None]],
        on_known: Callable[[], None],
        on_changed: Callable[[str], Awaitable[bool]],
    ) -> None:
        #: Of the topics that may be read now.
        self.known: dict[str, str | None] = {}
        self._incarnation_of = topic_id_of
        self._outages = outages
        self._spawn = spawn
        self._on_known = on_known
        self._on_another_life = on_changed
        #: Of every topic that was ever known.
        self._last: dict[str, str | None] = {}
        self._learning: dict[str, asyncio.Future[None]] = {}

    def learn(self, topic: str) -> None:
        """Find out which life a topic is in, now."""
        self.forget(topic)
        self._learning[topic] = self._spawn(self._learn(topic))

    def forget(self, topic: str) -> None:
        """Read nothing of a topic until it is known again."""
        self.known.pop(topic, None)
        if topic in self._learning:
            self._learning.pop(topic).cancel()

    async def _learn(self, topic: str) -> None:
        topic_id = await self._outages.run(lambda: self._incarnation_of(topic))
        before = self._last.get(topic, topic_id)
        self._last[topic] = topic_id
        if topic_id == before or await self._on_another_life(topic):
            self.known[topic] = topic_id
            self._on_known()
