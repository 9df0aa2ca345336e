"""Keep fetched records only if the topic id is the same before and after the fetch.

A fetch request identifies a topic by its name. If a topic is deleted and re-created while the worker is suspended, or
while it sends no fetch request, the next fetch reads the new topic from an offset of the deleted one. The check asks
the broker that sent the records: a broker knows the topic id before it serves records of the topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Protocol

from aiokafka.client import ConnectionGroup
from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.fetch import FetchRequest

from streamapp.transport.topic_id_request import TopicIdRequest, TopicIdResponse

#: Seconds between two checks while no records arrive.
IDLE_CHECK_SECONDS = 2.0
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
        # A partition begins with its number and an error code, and ends with its records.
        is_due = monotonic() >= self._checked_at.get(topic, 0.0) + IDLE_CHECK_SECONDS
        if not is_due and not any(partition[-1] or partition[1] for partition in partitions):
            return True
        self._checked_at[topic] = monotonic()
        if await self.has_changed(node_id, topic):
            # aiokafka acts on the errors.
            partitions[:] = [partition for partition in partitions if partition[1]]
        return topic in self._known()
