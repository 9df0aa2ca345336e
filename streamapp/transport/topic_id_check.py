"""Keep fetched records only if the topic id is the same before and after the fetch.

A fetch request identifies a topic by its name. If a topic is deleted and re-created while the worker is suspended, or
while it sends no fetch request, the next fetch reads the new topic from an offset of the deleted one. The check asks
the broker that sent the records: a broker knows the topic id before it serves records of the topic.

A worker that fetches without a pause needs no check: the broker ends a fetch from a deleted topic with an error. So a
response is checked if it has an error, or if it has records and the response before it is not recent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.fetch import FetchRequest

from streamapp.transport.topic_id_request import TopicIdRequest, TopicIdResponse

#: Seconds between two checks of a topic in any case.
CHECK_INTERVAL_SECONDS = 2.0
#: Seconds after a response of a broker within which its next response with records needs no check.
MAX_PAUSE_SECONDS = 0.1
#: Seconds until the next fetch while a topic may not be read.
_REFETCH_SECONDS = 0.05


class Send(Protocol):
    """Sends a request to a broker; raises KafkaError."""

    async def __call__(self, node_id: int, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """Return the response."""
        ...


class TopicIdCheck:
    """Sends the requests of aiokafka's consumer, and drops fetched records whose topic id is not certain.

    Args:
        send: sends a request.
        topics: the topics to check.
        known: the topic ids of the topics that may be read.
        on_changed: called with a topic whose topic id is not the known one any more.
    """

    def __init__(
        self,
        send: Send,
        *,
        topics: frozenset[str],
        known: Callable[[], Mapping[str, str | None]],
        on_changed: Callable[[str], None],
    ) -> None:
        self._send = send
        self.topics = topics
        self._known = known
        self._on_changed = on_changed
        self._checked_at: dict[str, float] = {}
        #: When each broker last sent a response for a topic.
        self._responded_at: dict[tuple[int, str], float] = {}
        #: Brokers whose responses had a pause between them, and no check since.
        self._paused: set[tuple[int, str]] = set()

    async def send(self, node_id: int, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """Send a request; the response to a fetch request keeps only topics whose topic id is certain."""
        if not isinstance(request, FetchRequest):
            return await self._send(node_id, request, group=group)
        # The topic id must be known before the broker reads the records.
        before = dict(self._known())
        response = await self._send(node_id, request, group=group)
        kept = [each for each in response.topics if await self._is_certain(node_id, each, before)]
        if len(kept) < len(response.topics):
            response.topics = kept
            if any(topic not in self._known() for topic in self.topics):
                await asyncio.sleep(_REFETCH_SECONDS)
        return response

    async def has_changed(self, node_id: int, topic: str, *, group: Any = ConnectionGroup.DEFAULT) -> bool:
        """Ask a broker whether the topic's id is not the known one any more; raises KafkaError."""
        known = self._known()
        if topic not in known:
            return True
        topic_id = known[topic]
        try:
            response: TopicIdResponse = await self._send(node_id, TopicIdRequest(topic), group=group)
        except NotImplementedError:
            return False  # a broker without topic ids
        error = for_code(response.error_code)
        if error is UnknownTopicOrPartitionError:
            return True  # deleted: it may be created again
        if response.error_code:
            raise error
        if response.topic_id == topic_id:
            return False
        # Another check, or a rebalance, may have noticed it meanwhile.
        if known.get(topic) == topic_id:
            self._on_changed(topic)
        return True

    async def _is_certain(self, node_id: int, fetched: tuple[str, list[Any]], before: Mapping[str, str | None]) -> bool:
        topic, partitions = fetched
        if topic not in self.topics:
            return True
        if topic not in before or before[topic] != self._known().get(topic, ""):
            return False
        if not self._is_due(node_id, topic, partitions):
            return True
        try:
            has_changed = await self.has_changed(node_id, topic)
        except KafkaError:
            if not any(partition[1] for partition in partitions):
                raise
            has_changed = True  # not certain: only the errors are kept
        if has_changed:
            # aiokafka acts on the errors.
            partitions[:] = [partition for partition in partitions if partition[1]]
        return topic in self._known()

    def _is_due(self, node_id: int, topic: str, partitions: list[Any]) -> bool:
        now, broker = monotonic(), (node_id, topic)
        if now - self._responded_at.get(broker, -MAX_PAUSE_SECONDS) >= MAX_PAUSE_SECONDS:
            self._paused.add(broker)
        self._responded_at[broker] = now
        # A partition begins with its number and an error code, and ends with its records.
        is_due = (
            now >= self._checked_at.get(topic, 0.0) + CHECK_INTERVAL_SECONDS
            or any(partition[1] for partition in partitions)
            or (broker in self._paused and any(partition[-1] for partition in partitions))
        )
        if is_due:
            self._checked_at[topic] = now
            self._paused.discard(broker)
        return is_due
