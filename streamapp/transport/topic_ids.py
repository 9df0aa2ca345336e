"""Know the topic id (KIP-516) of each topic before a record of it is read.

The topic id changes when a topic is deleted and re-created: the committed offsets then belong to the deleted topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from streamapp.retry import OutageRetrier

TopicIdOf = Callable[[str], Awaitable["str | None"]]


class TopicIds:
    """The topic ids of the topics that are read.

    Args:
        topic_id_of: returns the current topic id of a topic, None from a broker without topic ids.
        outages: repeats the request until it no longer raises Transient.
        spawn: runs a coroutine in the background, and stops the caller if it fails.
        on_known: called once a topic may be read.
        on_changed: called before that if the topic id differs from the last known one; returns whether the topic may be
            read.
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
        #: Topic ids of the topics that may be read now.
        self.known: dict[str, str | None] = {}
        self._topic_id_of = topic_id_of
        self._outages = outages
        self._spawn = spawn
        self._on_known = on_known
        self._on_changed = on_changed
        #: The last known topic id of every topic, also while it may not be read.
        self._last_known: dict[str, str | None] = {}
        self._requests: dict[str, asyncio.Future[None]] = {}

    def request(self, topic: str) -> None:
        """Ask for the topic id again; the topic may not be read until it is known."""
        self.forget(topic)
        self._requests[topic] = self._spawn(self._request(topic))

    def forget(self, topic: str) -> None:
        """Forbid reading a topic until its topic id is requested again."""
        self.known.pop(topic, None)
        if topic in self._requests:
            self._requests.pop(topic).cancel()

    async def _request(self, topic: str) -> None:
        topic_id = await self._outages.run(lambda: self._topic_id_of(topic))
        last_known = self._last_known.get(topic, topic_id)
        # None: the brokers have topic ids only since an upgrade, and the topic is the same.
        if last_known in (None, topic_id) or await self._on_changed(topic):
            # Only now: a change that could not be acted on is reported again.
            self._last_known[topic] = topic_id
            self.known[topic] = topic_id
            self._on_known()
