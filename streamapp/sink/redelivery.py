"""What happened to the events of a batch before this delivery: stored, counted, or stored but never counted."""

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

#: The largest distance of an orphan from the high watermark, in offsets: a worker holds at most 225 MB of events that
#: are stored and not counted, unless STREAMAPP_MAX_IN_FLIGHT_BYTES allows more.
MAX_ORPHAN_DISTANCE = 225_000_000 // EVENT_BYTES
MAX_IDS_PER_LOOKUP = 5_000


class Redelivery:
    """Looks up the history of the events of a batch; waits through outages."""

    def __init__(self, events: EventLookupPort, rollups: HighWatermarkPort, outages: OutageRetrier) -> None:
        self._events = events
        self._rollups = rollups
        self._outages = outages
        self._high_watermarks: dict[tuple[str, int], tuple[int, asyncio.Task[int]]] = {}

    async def previously_failed(self, batch: PartitionBatch, events: Iterable[tuple[int, str]]) -> set[str]:
        """The `_id`s of events whose records were dead letters at an earlier delivery, and can be stored now.

        Args:
            batch: the batch of the events.
            events: their offsets and `_id`s.
        """
        high_watermark = await self._high_watermark(batch)
        if batch.records[0].offset > high_watermark:  # nearly always
            return set()
        delivered_before = [id_ for offset, id_ in events if offset <= high_watermark]
        if not delivered_before:
            return set()
        return {*delivered_before}.difference(await self._outages.run(lambda: self._events.known(delivered_before)))

    async def to_count(self, documents: Sequence[Document], outcome: Outcome) -> Sequence[Document]:
        """The inserted events that rollups count in order: all but those refused, or counted out of order before."""
        if not outcome.duplicates and not outcome.refused:
            return documents
        ids = {index: documents[index]["_id"] for index in outcome.duplicates}
        known = await self._outages.run(lambda: self._events.known([*ids.values()]))
        counted = {index for index, id_ in ids.items() if known.get(id_)}
        return [each for i, each in enumerate(documents) if i not in counted and i not in outcome.refused]

    async def uncounted(self, batch: PartitionBatch) -> Sequence[Document]:
        """Events that were stored but perhaps not counted, and whose records Kafka has deleted since.

        Kafka cannot deliver them again, so they are counted with the events that follow them.
        """
        if batch.begin is None or batch.topic_id is None or not batch.has_offset_gaps:
            return ()
        high_watermark = await self._high_watermark(batch)
        present = {record.offset for record in batch.records}
        # Some rollups can hold events up to the high watermark that others lack; each rollup knows which it holds.
        begin = max(batch.begin, high_watermark - MAX_ORPHAN_DISTANCE)
        end = min(batch.records[-1].offset, high_watermark + MAX_ORPHAN_DISTANCE) + 1
        ids = (_id_at(batch, offset) for offset in range(begin, end) if offset not in present)
        found: list[Document] = []
        while chunk := [*islice(ids, MAX_IDS_PER_LOOKUP)]:
            found += await self._outages.run(lambda c=chunk: self._events.uncounted(c))
        return found

    async def _high_watermark(self, batch: PartitionBatch) -> int:
        """The high watermark of the rollups at the begin of the assignment."""
        partition = (batch.topic, batch.partition)
        if partition not in self._high_watermarks or self._high_watermarks[partition][0] != batch.assignment:
            lookup = self._outages.run(lambda: self._rollups.high_watermark(partition_id(batch)))
            self._high_watermarks[partition] = (batch.assignment, asyncio.create_task(lookup))
        _, task = self._high_watermarks[partition]
        if not task.done():  # else each batch would wait for one iteration of the event loop
            await asyncio.wait([task])
        return task.result()


def partition_id(batch: PartitionBatch) -> PartitionId:
    """The partition whose rollups count the events of a batch."""
    return PartitionId(batch.topic_id or batch.topic, batch.partition)


def _id_at(batch: PartitionBatch, offset: int) -> str:
    return document.id_of(Origin(batch.topic, batch.partition, offset, 0, batch.topic_id))
