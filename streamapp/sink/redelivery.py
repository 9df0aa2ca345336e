"""What happened to the events of a batch before this delivery: stored, counted, or stored but never counted."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, NamedTuple

from streamapp.decode import document
from streamapp.decode.document import Document, row_of
from streamapp.decode.identity import is_another_event
from streamapp.model import record_columns, replays
from streamapp.model.record import Origin, PartitionBatch, PartitionId
from streamapp.retry import OutageRetrier
from streamapp.rollups.pending import EVENT_BYTES
from streamapp.sink.ports import EventLookupPort, HighWatermarkPort, Outcome

log = logging.getLogger(__name__)

#: The largest distance of an orphan from the high watermark, in offsets: a worker holds at most so many events that are
#: stored and not counted, unless STREAMAPP_MAX_IN_FLIGHT_BYTES is above 175 MB, where each counts 2.5 times its bytes.
MAX_ORPHAN_DISTANCE = 70_000_000 // EVENT_BYTES
MAX_IDS_PER_LOOKUP = 5_000


class Inserted(NamedTuple):
    """Events after their insert."""

    #: The events that rollups count in order: without events that were refused or counted out of order before.
    to_count: Sequence[Document]
    #: Indexes of duplicates that are other events than the stored ones: Kafka used their offset again.
    reused: frozenset[int] = frozenset()


class Redelivery:
    """Looks up the history of the events of a batch; waits through outages."""

    def __init__(
        self,
        events: EventLookupPort,
        rollups: HighWatermarkPort,
        outages: OutageRetrier,
        *,
        signing_key: bytes | None = None,
    ) -> None:
        self._events = events
        self._signing_key = signing_key
        self._has_warned = False
        self._rollups = rollups
        self._outages = outages
        self._high_watermarks = _PerAssignment(outages)
        self._highest_failures = _PerAssignment(outages)

    async def replays(self, batch: PartitionBatch) -> Mapping[int, Origin]:
        """The replayed dead letters of a batch, by the offset of their record; see `streamapp.model.replays`."""
        with_headers = record_columns.possible_replays(batch.records)
        if not with_headers:  # nearly always
            return {}
        place = (batch.topic, batch.partition, batch.topic_id)
        claims = replays.claims(with_headers, *place, self._signing_key)
        if claims.doubtful:
            claims.resolve(
                {
                    partition_id: await self._outages.run(
                        lambda p=partition_id, o=offsets: self._events.failed_before(p, [*o])
                    )
                    for partition_id, offsets in claims.places().items()
                },
                handled=await self._handled(batch, [*claims.doubtful]),
            )
        if claims.refused and not self._has_warned:
            self._has_warned = True
            _log_refused(batch, claims.refused)
        return claims.believed

    async def _handled(self, batch: PartitionBatch, offsets: Sequence[int]) -> AbstractSet[int]:
        """Those of the offsets whose records were stored, or were dead letters, at these offsets before."""
        ids = {_id_at(batch, offset): offset for offset in offsets}
        known = await self._outages.run(lambda: self._events.known([*ids]))
        failed = await self._outages.run(lambda: self._events.failed_before(partition_id(batch), offsets))
        return {ids[id_] for id_ in known} | failed

    async def previously_failed(self, batch: PartitionBatch, offsets: Iterable[int]) -> AbstractSet[int]:
        """Those of the offsets whose records were dead letters at an earlier delivery, or that a replay counted."""
        highest = await self._highest_failed(batch)
        if batch.records[0].offset > highest:  # nearly always
            return frozenset()
        due = [offset for offset in offsets if offset <= highest]
        if not due:
            return frozenset()
        return await self._outages.run(lambda: self._events.failed_before(partition_id(batch), due))

    async def after_insert(self, documents: Sequence[Document], outcome: Outcome) -> Inserted:
        """What became of inserted events: look up the duplicates."""
        if not outcome.duplicates and not outcome.refused:
            return Inserted(documents)
        ids = {index: documents[index]["_id"] for index in outcome.duplicates}
        known = await self._outages.run(lambda: self._events.known([*ids.values()])) if ids else {}
        stored = {index: known[id_] for index, id_ in ids.items() if id_ in known}
        reused = frozenset(index for index, each in stored.items() if is_another_event(documents[index], each))
        counted = {index for index, each in stored.items() if each.get("kafka", {}).get("apart")}
        skipped = reused | counted | outcome.refused.keys()
        rest = [index for index in range(len(documents)) if index not in skipped]
        return Inserted([_as_stored(documents[index], stored.get(index)) for index in rest], reused)

    async def uncounted(self, batch: PartitionBatch) -> Sequence[Document]:
        """Events that were stored but perhaps not counted, and whose records Kafka has deleted since.

        Kafka cannot deliver them again, so they are counted with the events that follow them.
        """
        if batch.begin is None or batch.topic_id is None or not batch.has_offset_gaps:
            return ()
        high_watermark = await self._high_watermark(batch)
        present = {*record_columns.offsets(batch.records)}
        # Some rollups can hold events up to the high watermark that others lack; each rollup knows which it holds.
        begin = max(batch.begin, high_watermark - MAX_ORPHAN_DISTANCE)
        end = min(batch.records[-1].offset, high_watermark + MAX_ORPHAN_DISTANCE) + 1
        ids = (_id_at(batch, offset) for offset in range(begin, end) if offset not in present)
        found: list[Document] = []
        while chunk := [*islice(ids, MAX_IDS_PER_LOOKUP)]:
            stored = await self._outages.run(lambda c=chunk: self._events.uncounted(c))
            found += [each for each in stored if _is_countable(each)]
        return found

    async def _high_watermark(self, batch: PartitionBatch) -> int:
        """The high watermark of the rollups at the begin of the assignment."""
        return await self._high_watermarks.get(batch, lambda: self._rollups.high_watermark(partition_id(batch)))

    async def _highest_failed(self, batch: PartitionBatch) -> int:
        """The highest offset of a dead letter at the begin of the assignment."""
        return await self._highest_failures.get(batch, lambda: self._events.highest_failed(partition_id(batch)))


class _PerAssignment:
    """Looks up an offset once in each assignment of a partition."""

    def __init__(self, outages: OutageRetrier) -> None:
        self._outages = outages
        self._lookups: dict[tuple[str, int], tuple[int, asyncio.Task[int]]] = {}

    async def get(self, batch: PartitionBatch, look_up: Callable[[], Awaitable[int]]) -> int:
        partition = (batch.topic, batch.partition)
        if partition not in self._lookups or self._lookups[partition][0] != batch.assignment:
            self._lookups[partition] = (batch.assignment, asyncio.create_task(self._outages.run(look_up)))
        _, task = self._lookups[partition]
        if not task.done():  # else each batch would wait for one iteration of the event loop
            await asyncio.wait([task])
        return task.result()


def _log_refused(batch: PartitionBatch, refused: Sequence[int]) -> None:
    log.warning(
        "The record at %s, partition %d, offset %d has the headers of a replayed dead letter, but is none (forged"
        " headers, or a signature that STREAMAPP_DLQ_SIGNING_KEY does not confirm). It is handled as a new record at"
        " its own offset. Further records like it are not logged.",
        batch.topic,
        batch.partition,
        refused[0],
    )


def _as_stored(document: Document, stored: Mapping[str, Any] | None) -> Document:
    """The document that rollups count: what is stored, which can have another schema version."""
    if stored is None:
        return document
    counted = {**stored, "kafka": {**stored.get("kafka", {}), "offset": row_of(document).offset}}
    return counted if _is_countable(counted) else document


def _is_countable(stored: Document) -> bool:
    """Whether a stored event has the fields by which it is counted: another program may have changed it."""
    try:
        row = row_of(stored)
        return math.isfinite(row.offset) and math.isfinite(row.at)
    except (KeyError, TypeError):
        return False


def partition_id(batch: PartitionBatch) -> PartitionId:
    """The partition whose rollups count the events of a batch."""
    return PartitionId(batch.topic_id or batch.topic, batch.partition)


def _id_at(batch: PartitionBatch, offset: int) -> str:
    return document.id_of(Origin(batch.topic, batch.partition, offset, 0, batch.topic_id))
