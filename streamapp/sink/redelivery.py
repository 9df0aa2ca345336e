"""What has become of a batch's events before it came: stored, counted, or left behind by a worker that has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import islice

from streamapp.decode import document
from streamapp.decode.document import Document
from streamapp.model.record import Origin, PartitionBatch, PartitionId
from streamapp.retry import OutageRetrier
from streamapp.rollups.pending import EVENT_BYTES
from streamapp.sink.ports import EventLookupPort, HighWatermarkPort, Outcome

#: Offsets around the last one counted among which a worker that has ended may have stored events: more than it holds,
#: unless it is let to hold more than 225 MB of them.
ORPHANS_WITHIN = 225_000_000 // EVENT_BYTES
LOOKED_UP_AT_ONCE = 5_000


class Redelivery:
    """Looks up what is not known of a batch's events; waits out outages."""

    def __init__(self, events: EventLookupPort, rollups: HighWatermarkPort, outages: OutageRetrier) -> None:
        self._events = events
        self._rollups = rollups
        self._outages = outages
        self._asked: dict[tuple[str, int], tuple[int, asyncio.Task[int]]] = {}

    async def previously_failed(self, batch: PartitionBatch, events: Iterable[tuple[int, str]]) -> set[str]:
        """Of events, by offset and `_id`, those not stored when they had their turn: dead letters then, none now."""
        high_watermark = await self._high_watermark(batch)
        if batch.records[0].offset > high_watermark:  # as nearly always
            return set()
        behind = [id_ for offset, id_ in events if offset <= high_watermark]
        if not behind:
            return set()
        return {*behind}.difference(await self._outages.run(lambda: self._events.known(behind)))

    async def countable(self, documents: Sequence[Document], outcome: Outcome) -> Sequence[Document]:
        """The events that are stored after an insert, but for those that were counted when they were."""
        if not outcome.duplicates and not outcome.refused:
            return documents
        ids = {index: documents[index]["_id"] for index in outcome.duplicates}
        known = await self._outages.run(lambda: self._events.known([*ids.values()]))
        counted = {index for index, id_ in ids.items() if known.get(id_)}
        return [each for i, each in enumerate(documents) if i not in counted and i not in outcome.refused]

    async def orphans(self, batch: PartitionBatch) -> Sequence[Document]:
        """Events that were stored before they could be counted, and whose records Kafka has deleted since.

        Nobody will deliver them again, so they are counted with what comes behind them.
        """
        if batch.begin is None or batch.topic_id is None or not batch.lacks_offsets:
            return ()
        high_watermark = await self._high_watermark(batch)
        there = {record.offset for record in batch.records}
        # Those up to the high watermark may be counted in some rollups and not in others; each knows which it holds.
        begin = max(batch.begin, high_watermark - ORPHANS_WITHIN)
        end = min(batch.records[-1].offset, high_watermark + ORPHANS_WITHIN) + 1
        ids = (_id_at(batch, offset) for offset in range(begin, end) if offset not in there)
        found: list[Document] = []
        while chunk := [*islice(ids, LOOKED_UP_AT_ONCE)]:
            found += await self._outages.run(lambda c=chunk: self._events.uncounted(c))
        return found

    async def _high_watermark(self, batch: PartitionBatch) -> int:
        """How far the rollups were when the assignment began."""
        partition = (batch.topic, batch.partition)
        if partition not in self._asked or self._asked[partition][0] != batch.assignment:
            asking = self._outages.run(lambda: self._rollups.high_watermark(partition_id(batch)))
            self._asked[partition] = (batch.assignment, asyncio.create_task(asking))
        _, asked = self._asked[partition]
        if not asked.done():  # or each batch would wait for a round of the loop
            await asyncio.wait([asked])
        return asked.result()


def partition_id(batch: PartitionBatch) -> PartitionId:
    """The partition whose rollups count a batch's events."""
    return PartitionId(batch.topic_id or batch.topic, batch.partition)


def _id_at(batch: PartitionBatch, offset: int) -> str:
    return document.id_of(Origin(batch.topic, batch.partition, offset, 0, batch.topic_id))
