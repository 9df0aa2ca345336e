"""Give every record of a batch one fate: stored, already stored, or dead-lettered.

`Sink.settle` takes these steps:
    1. Resolve the writer schemas of the records. This waits while the registry is unreachable.
    2. Decode the records. Each record becomes an event or a dead letter.
    3. Insert the events that are in order. A duplicate is already stored. A refused document becomes a dead letter.
    Then the batch waits for its turn: the earlier batches of the partition must have been added to the rollups.
    4. Store and count the events that are out of order, and those whose offset had another event before.
    5. Mark, deliver and count the dead letters, unless the circuit breaker opens.
    6. Add the events to the rollups, release the records, and wait until the rollups are written.
The caller acks the batch after `settle` returns, never before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from streamapp.decode import wire_format
from streamapp.decode.batch import NEXT_IS_LARGE, DecodedBatch, DecodedEvents, parts
from streamapp.decode.document import Document, EventTimes, row_of
from streamapp.decode.kernel import Kernel
from streamapp.decode.writer_schema import WriterSchema
from streamapp.model.record import BatchRecord, DeadLetter, PartitionBatch
from streamapp.model.record_columns import RecordColumns
from streamapp.model.stored_headers import NO_FIELDS, HeaderFields
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.writer import RollupWriter
from streamapp.sink.circuit_breaker import CircuitBreaker
from streamapp.sink.insert_batcher import InsertBatcher
from streamapp.sink.partition_order import PartitionOrder, Turn
from streamapp.sink.ports import Fates, Outcome, SinkOutages, SinkPorts
from streamapp.sink.redelivery import Redelivery, partition_id
from streamapp.sink.weighted_semaphore import WeightedSemaphore

#: Decoded documents in memory at the same time; one from the generic path takes twenty times the memory of its record.
MAX_DECODED_RECORDS = 16_000
#: Large records can decode to many times their size: a batch of 4 MiB takes a third of the permits.
_BYTES_PER_PERMIT = 768
#: While events are counted, they take five times the memory in which they wait (tracemalloc). At most 80,000 of 210,000
#: are counted at a time: 2.5 times on average.
_COUNTING = 2.5


@dataclass(frozen=True, slots=True, eq=False)
class _Inserted:
    """What remains of a batch after step 3; the documents in order are no longer in memory."""

    pending: PendingCounts | None
    out_of_order: DecodedEvents
    dead: Sequence[DeadLetter]
    fates: Fates

    @classmethod
    def joined(cls, parts: Sequence[_Inserted]) -> _Inserted:
        """What remains of all parts of a batch, in offset order."""
        if len(parts) == 1:  # nearly always
            return parts[0]
        pending = [each.pending for each in parts if each.pending]
        events = [each.out_of_order for each in parts]
        return cls(
            PendingCounts.joined(pending) if pending else None,
            DecodedEvents.joined(events),
            [letter for each in parts for letter in each.dead],
            sum((each.fates for each in parts), Fates()),
        )


class Sink:
    """Settles batches: several at a time, each partition in order."""

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        ports: SinkPorts,
        *,
        outages: SinkOutages,
        rollup_writer: RollupWriter,
        breaker: CircuitBreaker,
        times: EventTimes,
        kernel: Kernel | None = None,
        header_fields: HeaderFields = NO_FIELDS,
    ) -> None:
        self.fates = Fates()
        self._ports = ports
        self._outages = outages
        self._rollup_writer = rollup_writer
        self._breaker = breaker
        self._times = times
        self._kernel = kernel
        self._header_fields = header_fields
        self._insert_batcher = InsertBatcher(self._timed_insert)
        self._redelivery = Redelivery(ports.events, rollup_writer, outages.store, signing_key=ports.signing_key)
        self._decode_slots = WeightedSemaphore(MAX_DECODED_RECORDS)
        #: One part at a time is decoded in a thread: more at a time would not be faster, and take more memory.
        #: One large part at a time, also if a cancelled batch is still being decoded.
        self._large_parts = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._order = PartitionOrder()

    async def settle(self, batch: PartitionBatch) -> Fates:
        """Give each record its fate and wait through outages; all fates are durable when it returns.

        Raises:
            PoisonFlood: too many of the last records could not be stored; nothing may be acked.
            DeadLetterRefused: the dead-letter topic refuses a dead letter; nothing may be acked.
            AssignmentLost: the assignment of the partition has ended; nothing may be acked, Kafka delivers it again.
        """
        turn = self._order.queue_up(batch)
        try:
            fates, rollups_written = await self._settle(batch, turn)
            if rollups_written:
                await rollups_written
        finally:
            turn.give_up()  # no effect once the turn has ended
        self.fates += fates
        return fates

    def hurry(self, seconds: float) -> None:
        """Settle the batches in flight as soon as possible, for some seconds: then their partitions are left."""
        self._rollup_writer.hurry(seconds)

    async def _settle(self, batch: PartitionBatch, turn: Turn) -> tuple[Fates, Awaitable[None] | None]:
        """Take all steps; return the fates, and what is done once the rollups are written."""
        # 1. Resolve the writer schemas.
        schemas = await self._ports.schemas.resolve(_schema_ids(batch.records, self._kernel))
        async with self._decode_slots.take(_decode_permits(batch)):
            # 2. and 3. Decode the records, and insert the events that are in order.
            inserted = await self._decode_and_insert(batch, schemas)
        # Wait for the turn of the batch.
        self._breaker.announce(partition_id(batch), batch.records, _first_failures(inserted.dead))
        await turn.wait_turn()
        # 4. Store and count the events that are out of order.
        fates, refused = await self._insert_out_of_order(batch, inserted.out_of_order)
        # 5. Mark, deliver and count the dead letters.
        dead = sorted([*inserted.dead, *refused], key=lambda letter: letter.record.offset)
        await self._deliver_dead_letters(batch, dead)
        # 6. Add the events to the rollups. Then the next batch has its turn.
        pending = inserted.pending
        rollups_written = self._rollup_writer.add(partition_id(batch), pending) if pending else None
        turn.end()
        fates += inserted.fates + Fates(dead_lettered=len(dead))
        self._release(batch, dead, fates, pending)
        return fates, rollups_written

    async def _decode_and_insert(self, batch: PartitionBatch, schemas: Mapping[int, WriterSchema]) -> _Inserted:
        uncounted, inserted = deque(sorted(await self._redelivery.uncounted(batch), key=_offset_of)), list[_Inserted]()
        # 2. Decode.
        batch.replays = await self._redelivery.replays(batch)
        async for decoded in self._decoded(batch, schemas):
            # 3. Insert.
            part, to_count = await self._insert(batch, decoded)
            if uncounted:
                due = list[Document]()
                while uncounted and _offset_of(uncounted[0]) < decoded.last_offset:
                    due.append(uncounted.popleft())
                to_count = sorted([*to_count, *due], key=_offset_of)
            inserted.append(replace(part, pending=PendingCounts.of(to_count) if to_count else None))
            if decoded.last_offset != batch.records[-1].offset:
                await asyncio.sleep(0)  # a part can need no insert
        return _Inserted.joined(inserted)

    async def _decoded(self, batch: PartitionBatch, schemas: Mapping[int, WriterSchema]) -> AsyncIterator[DecodedBatch]:
        received_at = self._ports.now()
        decoding = parts(
            batch,
            schemas,
            times=self._times,
            received_at=received_at,
            kernel=self._kernel,
            header_fields=self._header_fields,
        )
        for part in decoding:
            if part is NEXT_IS_LARGE:
                yield await asyncio.get_running_loop().run_in_executor(self._large_parts, next, decoding)
            else:
                yield part

    async def _insert(self, batch: PartitionBatch, decoded: DecodedBatch) -> tuple[_Inserted, Sequence[Document]]:
        """Insert the events that are in order; return what remains, and the events to count."""
        previously_failed = await self._redelivery.previously_failed(batch, decoded.offsets())
        in_order, out_of_order, dead = decoded.split(previously_failed)
        outcome = await self._outages.store.run(lambda: self._insert_batcher.insert(in_order.documents))
        to_count, reused = await self._redelivery.after_insert(in_order.documents, outcome)
        if reused:
            out_of_order = DecodedEvents.joined([out_of_order, in_order.with_fields(sorted(reused))])
        fates = self._observe(outcome, in_order, reused)
        dead = [*dead, *in_order.dead_letters(outcome.refused, batch)]
        return _Inserted(None, out_of_order, dead, fates), to_count

    async def _insert_out_of_order(
        self, batch: PartitionBatch, events: DecodedEvents
    ) -> tuple[Fates, Sequence[DeadLetter]]:
        if not events.documents:
            return Fates(), ()
        outcome = await self._outages.store.run(lambda: self._ports.out_of_order.insert(events.documents))
        return self._observe(outcome, events), events.dead_letters(outcome.refused, batch)

    async def _deliver_dead_letters(self, batch: PartitionBatch, dead: Sequence[DeadLetter]) -> None:
        await self._breaker.check(partition_id(batch), batch.records, _first_failures(dead))
        if dead:
            # The mark first: it tells the replay of a dead letter from a new record, see `streamapp.model.replays`.
            await self._outages.store.run(lambda: self._ports.events.mark_failed(dead))
            await self._outages.dead_letters.run(lambda: self._ports.dead_letters.send(dead))
            await self._outages.store.run(lambda: self._ports.events.count_dead_letters(dead))

    def _release(
        self, batch: PartitionBatch, dead: Sequence[DeadLetter], fates: Fates, pending: PendingCounts | None
    ) -> None:
        self._ports.observer.settled(batch.records, dead)
        if fates.records != len(batch.records):
            message = f"the batch has {len(batch.records)} records, but {fates.records} fates: {fates}"
            raise AssertionError(message)
        batch.release_records(_remaining_bytes(pending))

    def _observe(self, outcome: Outcome, events: DecodedEvents, postponed: frozenset[int] = frozenset()) -> Fates:
        """Report the new events to the observer; the fates of all but the refused and the postponed events."""
        records, versions = events.records, events.versions
        if outcome.duplicates or outcome.refused:
            new = [i for i in range(len(records)) if i not in outcome.duplicates and i not in outcome.refused]
            records, versions = [records[i] for i in new], [versions[i] for i in new]
        if records:
            self._ports.observer.stored(records, versions)
        if outcome.reused:
            self._ports.observer.reused(len(outcome.reused))
        return Fates(stored=len(records), duplicates=len(outcome.duplicates - postponed))

    async def _timed_insert(self, documents: Sequence[Document]) -> Outcome:
        started = self._ports.stopwatch()
        try:
            return await self._ports.events.insert(documents)
        finally:
            self._ports.observer.inserted(self._ports.stopwatch() - started)


def _offset_of(event: Document) -> int:
    return row_of(event).offset


def _decode_permits(batch: PartitionBatch) -> int:
    return max(len(batch.records), batch.size // _BYTES_PER_PERMIT)


def _first_failures(dead: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
    """The dead letters that count for the circuit breaker.

    A replayed event that fails again does not count: an operator sent it on purpose, and it would stop every worker.
    """
    return [letter for letter in dead if not letter.origin.failures]


def _remaining_bytes(pending: PendingCounts | None) -> int:
    """The bytes that the rollups need once the records are released."""
    return int(_COUNTING * pending.size) if pending else 0


def _schema_ids(records: Sequence[BatchRecord], kernel: Kernel | None) -> set[int]:
    # By the five header bytes: there are far fewer distinct headers than records.
    size = wire_format.HEADER.size
    if kernel and isinstance(records, RecordColumns):
        headers = kernel.value_starts(records.pieces, size)
    else:
        headers = {record.value[:size] for record in records if record.value}
    unpacked = [wire_format.HEADER.unpack(header) for header in headers if len(header) == size]
    return {schema_id for magic_byte, schema_id in unpacked if magic_byte == wire_format.MAGIC_BYTE}
