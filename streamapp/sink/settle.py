"""Give every record of a batch its one fate: stored, already stored, or dead-lettered.

settle(batch), in order:
    1. the writer schemas of its records are looked up (waits while the registry is away)
    2. decode and build: each record becomes a document or a dead letter
    3. insert: a duplicate is already stored; a document that MongoDB refuses becomes a dead letter
    then, in the order of the partition:
    4. events that come out of order are stored and counted
    5. the dead letters are delivered and counted, unless there are too many
    6. the events are added to the rollups
Whoever calls acks after that, never before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass

from streamapp.decode import wire_format
from streamapp.decode.batch import DecodedEvents, build
from streamapp.decode.document import Document, EventTimes
from streamapp.decode.writer_schema import WriterSchema
from streamapp.model.record import BatchRecord, DeadLetter, PartitionBatch
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.writer import RollupWriter
from streamapp.sink.circuit_breaker import Breaker
from streamapp.sink.insert_batcher import InsertBatcher
from streamapp.sink.partition_order import PartitionOrder, Turn
from streamapp.sink.ports import Fates, Outcome, SinkOutages, SinkPorts
from streamapp.sink.redelivery import Redelivery, partition_id
from streamapp.sink.weighted_semaphore import WeightedSemaphore

#: Documents in memory at the same time: those that did not come the fast path are twenty times as large as records.
MAX_DECODED_RECORDS = 24_000
#: Records that are larger, with what Python needs for them, leave little of themselves behind.
_LARGE_RECORD_BYTES = 800


@dataclass(frozen=True, slots=True, eq=False)
class _Inserted:
    """What is left to do once a batch's documents are stored; they are not held any longer."""

    pending: PendingCounts | None
    out_of_order: DecodedEvents
    dead: Sequence[DeadLetter]
    fates: Fates


class Sink:
    """Settles batches; several at a time, each independent of the others but for what has an order."""

    def __init__(
        self,
        ports: SinkPorts,
        *,
        outages: SinkOutages,
        rollup_writer: RollupWriter,
        breaker: Breaker,
        times: EventTimes,
    ) -> None:
        self.fates = Fates()
        self._ports = ports
        self._outages = outages
        self._rollup_writer = rollup_writer
        self._breaker = breaker
        self._times = times
        self._insert_batcher = InsertBatcher(self._timed_insert)
        self._redelivery = Redelivery(ports.events, rollup_writer, outages.store)
        self._decode_slots = WeightedSemaphore(MAX_DECODED_RECORDS)
        self._order = PartitionOrder()

    async def settle(self, batch: PartitionBatch) -> Fates:
        """Give each record its fate, waiting out every outage; all of them are durable when it returns.

        Raises:
            PoisonFlood: too many of the last records are poison; nothing may be acked.
            DeadLetterTopicTooSmall: a dead letter does not fit its topic; nothing may be acked.
            AssignmentLost: the partition's assignment has ended; nothing may be acked, the records come again.
        """
        turn = self._order.queue_up(batch)
        try:
            fates, counted = await self._settle(batch, turn)
            await counted
        finally:
            turn.give_up()  # no effect once the turn has ended
        self.fates += fates
        return fates

    async def _timed_insert(self, documents: Sequence[Document]) -> Outcome:
        began = self._ports.stopwatch()
        try:
            return await self._ports.events.insert(documents)
        finally:
            self._ports.observer.inserted(self._ports.stopwatch() - began)

    async def _settle(self, batch: PartitionBatch, turn: Turn) -> tuple[Fates, Awaitable[None]]:
        schemas = await self._ports.schemas.resolve(_schema_ids(batch.records))
        async with self._decode_slots.take(len(batch.records)):
            inserted = await self._insert(batch, schemas)
        self._breaker.expect(partition_id(batch), batch.records, _for_the_first_time(inserted.dead))
        await turn.wait_turn()
        fates, dead = inserted.fates, [*inserted.dead]
        if inserted.out_of_order.documents:
            outcome = await self._outages.store.run(
                lambda: self._ports.out_of_order.insert(inserted.out_of_order.documents)
            )
            fates += self._note(outcome, inserted.out_of_order)
            dead += inserted.out_of_order.dead_letters(outcome.refused, batch)
        dead.sort(key=lambda letter: letter.record.offset)
        await self._breaker.judge(partition_id(batch), batch.records, _for_the_first_time(dead))
        if dead:
            await self._send_dead_letters(dead)
        counted = self._rollup_writer.add(partition_id(batch), inserted.pending) if inserted.pending else _nothing()
        turn.end()
        self._ports.observer.settled(batch.records, dead)
        fates += Fates(dead_lettered=len(dead))
        if fates.records != len(batch.records):
            message = f"{len(batch.records)} records met {fates.records} fates: {fates}"
            raise AssertionError(message)
        batch.forget_records(_left(batch, inserted.pending))
        return fates, counted

    async def _insert(self, batch: PartitionBatch, schemas: Mapping[int, WriterSchema]) -> _Inserted:
        decoded = build(batch, schemas, times=self._times, received_at=self._ports.now())
        previously_failed = await self._redelivery.previously_failed(batch, decoded.places())
        in_order, out_of_order, dead = decoded.split(previously_failed)
        outcome = await self._outages.store.run(lambda: self._insert_batcher.insert(in_order.documents))
        fates = self._note(outcome, in_order)
        dead = [*dead, *in_order.dead_letters(outcome.refused, batch)]
        counted = await self._redelivery.countable(in_order.documents, outcome)
        if orphans := await self._redelivery.orphans(batch):
            counted = sorted([*counted, *orphans], key=lambda event: event["kafka"]["offset"])
        return _Inserted(PendingCounts.of(counted) if counted else None, out_of_order, dead, fates)

    def _note(self, outcome: Outcome, events: DecodedEvents) -> Fates:
        records, versions = events.records, events.versions
        if outcome.duplicates or outcome.refused:
            new = [i for i in range(len(records)) if i not in outcome.duplicates and i not in outcome.refused]
            records, versions = [records[i] for i in new], [versions[i] for i in new]
        if records:
            self._ports.observer.stored(records, versions)
        return Fates(stored=len(records), duplicates=len(outcome.duplicates))

    async def _send_dead_letters(self, dead: Sequence[DeadLetter]) -> None:
        await self._outages.dead_letters.run(lambda: self._ports.dead_letters.send(dead))
        await self._outages.store.run(lambda: self._ports.events.count_dead_letters(dead))


def _for_the_first_time(dead: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
    """Those that flood: what fails again was replayed on purpose, and would hold up every worker until it is read."""
    return [letter for letter in dead if not letter.origin.failures]


def _left(batch: PartitionBatch, pending: PendingCounts | None) -> int:
    """Bytes that are held for the rollups once the records are forgotten, at the most."""
    if pending is None:
        return 0
    # Of small events a quarter is left; but to look at each takes time, and a larger bound would make nothing faster.
    return pending.size if batch.size > _LARGE_RECORD_BYTES * len(batch.records) else batch.size


async def _nothing() -> None:
    """Be done at once."""


def _schema_ids(records: Sequence[BatchRecord]) -> set[int]:
    # By the five header bytes: far fewer distinct ones than records.
    size = wire_format.HEADER.size
    headers = {record.value[:size] for record in records if record.value}
    unpacked = [wire_format.HEADER.unpack(header) for header in headers if len(header) == size]
    return {schema_id for magic_byte, schema_id in unpacked if magic_byte == wire_format.MAGIC_BYTE}
