"""Deliver Kafka's records to Faust in batches, and commit only what is acked without a gap.

A topic that asks for it gets one Faust event per fetched batch of one partition; every other topic goes the stock way.
Faust's own machinery costs about 70 µs for each event: a batch of 4,000 records pays that once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import faust
from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage
from mode import get_logger
from mode.utils.futures import notify
from yarl import URL

from streamapp.model.record import BatchRecord, PartitionBatch
from streamapp.retry import OutageRetrier
from streamapp.transport.fetcher import BatchFetcher, Fetched, FetchedPartition, is_passing
from streamapp.transport.log_filters import install_log_filters
from streamapp.transport.offset_tracker import InFlightBatch, OffsetTracker, Progress, cut, size
from streamapp.transport.topic_ids import TopicIdOf, TopicIds

log = get_logger(__name__)

MAX_BATCH_RECORDS = 4_000
MAX_BATCH_BYTES = 4 * 1024 * 1024
MAX_IN_FLIGHT_BYTES = 64 * 1024 * 1024

#: Batches in flight, however small. Well below Faust's queue length: beyond that the drain loop would block on `put`.
MAX_IN_FLIGHT_BATCHES = 4_096
#: Batches that are being written when partitions are revoked.
REVOKE_SECONDS = 3.0
#: Records under way, when a commit, a rebalance or the stop waits for them.
FLUSH_SECONDS = 1.0
#: The last commit before partitions are left. All bounds together stay within ten seconds.
LEAVE_COMMIT_SECONDS = 2.0


class BatchConsumer(stock.Consumer):
    """Faust's consumer, with a ledger of batches in place of lists of acked offsets."""

    transport: BatchTransport
    _thread: BatchFetcher

    def __init__(self, transport: BatchTransport, *args: Any, **kwargs: Any) -> None:
        super().__init__(transport, *args, **kwargs)
        max_batches = min(MAX_IN_FLIGHT_BATCHES, self.app.conf.stream_buffer_maxsize // 4)
        self.offset_tracker = OffsetTracker(max_bytes=transport.max_in_flight_bytes, max_batches=max_batches)
        self._topic_ids = TopicIds(
            transport.topic_id_of,
            outages=transport.outages,
            spawn=self.add_future,
            on_known=self._want,
            on_changed=self._reread,
        )
        self._leave_by: float | None = None
        self._gave_up = False

    @property
    def rewinds(self) -> int:
        """How often the offsets of a partition went back."""
        return self.offset_tracker.rewinds

    @property
    def deleted_offsets(self) -> int:
        """Offsets that Kafka had deleted before they were read."""
        return self.offset_tracker.deleted_offsets

    @property
    def empty_offsets(self) -> int:
        """Offsets that hold no record."""
        return self.offset_tracker.empty_offsets

    @property
    def in_flight(self) -> tuple[int, int]:
        """Batches that are delivered and not acked, and their bytes."""
        return self.offset_tracker.in_flight_batches, self.offset_tracker.in_flight_bytes

    def progress(self) -> list[Progress]:
        """How far each partition is, of the sliced topics whose topic id is known."""
        ends = {tp: self._thread.ends(tp) for tp in self.assignment() if tp in self.offset_tracker}
        return self.offset_tracker.progress(ends, self._topic_ids.known)

    def _new_consumer_thread(self) -> BatchFetcher:
        return BatchFetcher(
            self,
            loop=self.loop,
            thread_loop=self.loop,
            beacon=self.beacon,
            max_batch_records=self.transport.max_batch_records,
        )

    def _is_batched(self, tp: TP) -> bool:
        return tp[0] in self.transport.batch_topics

    # -- reading

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Yield batches of the topics that ask for them, and single records of the others."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow, timeout=timeout)
        self._want()
        # Also while the flow is suspended or everything is full: without polls aiokafka leaves the group for good.
        fetched = await self._thread.fetch(timeout if self.flow_active else 0)
        for tp, message in self._others(fetched):
            yield tp, message
        for taken in self._readable(fetched):
            for message in self._batches(taken, fetched.generation):
                yield taken.tp, message

    def _want(self) -> None:
        active = self._get_active_partitions()
        budgets, known, limit = self.offset_tracker.budgets(), self._topic_ids.known, self.transport.max_batch_bytes
        wanted = {tp: min(budgets[tp], limit) for tp in active if tp in budgets and tp.topic in known}
        self._thread.want(wanted, frozenset(tp for tp in active if not self._is_batched(tp)))

    def _forget_records(self, in_flight_batch: InFlightBatch, left: int) -> None:
        if self.offset_tracker.forget_records(in_flight_batch, left):
            self._want()

    def _flows(self, generation: int) -> bool:
        return self.flow_active and not self.should_stop and generation == self.app.consumer_generation_id

    def _others(self, fetched: Fetched) -> Iterator[tuple[TP, Message]]:
        active = self._get_active_partitions()
        for tp, record in self.scheduler.iterate(fetched.others):
            if not self._flows(fetched.generation):
                return
            if tp in active or tp in self._buffered_partitions:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                yield tp, self._to_message(tp, record)

    def _readable(self, fetched: Fetched) -> list[FetchedPartition]:
        """Set aside, to be read again, what must wait until its topic id is known."""
        if not self._flows(fetched.generation):
            return []
        ours = [taken for taken in fetched.batches if taken.tp in self.offset_tracker]
        rewound = [taken for taken in ours if self.offset_tracker.goes_back(taken.tp, taken.before)]
        for taken in rewound:
            self._rewind(taken.tp, taken.before)
        for topic in {taken.tp.topic for taken in rewound}:
            self._topic_ids.learn(topic)
        early = {taken.tp: taken.before for taken in ours if taken.tp.topic not in self._topic_ids.known}
        if early:
            self._thread.seek_back(early)
        return [taken for taken in ours if taken.tp not in early]

    def _rewind(self, tp: TP, position: int) -> None:
        log.warning("offsets of %s went back to %d: topic made anew, or offsets reset", tp, position)
        self.offset_tracker.rewind(tp, position)
        # Faust drops what lies below these.
        self._read_offset[tp] = self._committed_offset[tp] = None

    def _batches(self, taken: FetchedPartition, generation: int) -> Iterator[Message]:
        if self._flows(generation) and taken.tp in self.offset_tracker:
            self._note_start(taken)
        for records, held in self._cut(taken):
            if not self._flows(generation):
                return
            yield self._batch_message(taken.tp, records, held)
        if self._flows(generation):
            self.offset_tracker.reach(taken.tp, taken.after)

    def _cut(self, taken: FetchedPartition) -> Iterator[tuple[Sequence[BatchRecord], int]]:
        """Cut what was taken into batches, with their bytes; as nearly always, all of it is one."""
        limits = self.transport
        if 0 < len(taken.records) <= limits.max_batch_records and taken.size <= limits.max_batch_bytes:
            yield taken.records, taken.size
            return
        for records in cut(taken.records, max_records=limits.max_batch_records, max_bytes=limits.max_batch_bytes):
            yield records, sum(map(size, records))

    def _note_start(self, taken: FetchedPartition) -> None:
        if taken.end is not None:
            self.app.monitor.track_tp_end_offset(taken.tp, taken.end)
        if lost := self.offset_tracker.lose_up_to(taken.tp, taken.before):
            log.error(
                "Kafka has deleted %d offsets of %s, partition %d, before they were read, up to %d: they are lost."
                " Is its retention shorter than the worker's lag?",
                lost,
                taken.tp.topic,
                taken.tp.partition,
                taken.before,
            )

    def _batch_message(self, tp: TP, records: Sequence[BatchRecord], held: int) -> Message:
        last = records[-1]
        in_flight_batch = self.offset_tracker.deliver(
            tp,
            end=last.offset + 1,
            records=len(records),
            size=held,
            first_ms=records[0].timestamp,
        )
        value = PartitionBatch(
            topic=tp.topic,
            partition=tp.partition,
            topic_id=self._topic_ids.known[tp.topic],
            assignment=in_flight_batch.assignment.number,
            begin=in_flight_batch.begin,
            records=records,
            size=held,
            on_forgotten=partial(self._forget_records, in_flight_batch),
        )
        message = ConsumerMessage(
            *tp,
            last.offset,
            timestamp=last.timestamp / 1000,
            timestamp_type=0,
            headers=[],
            key=None,
            value=value,
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )
        message.in_flight_batch = in_flight_batch
        return message

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._is_batched(tp):
            await super()._add_gap(tp, offset_from, offset_to)

    # -- acks and commits

    def ack(self, message: Message) -> bool:
        """Let a batch be committed once everything before it is acked."""
        if not self._is_batched(message.tp):
            return super().ack(message)
        message.acked = True
        self._unacked_messages.discard(message)
        acked = self.offset_tracker.ack(message.in_flight_batch)
        notify(self._waiting_for_ack)
        self._want()
        return acked

    def on_buffer_drop(self, tp: TP) -> None:
        """Read a partition of another topic on, at once."""
        super().on_buffer_drop(tp)
        self._want()

    def _filter_tps_with_pending_acks(self, topics: Collection[TP | str] | None = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        for tp in self.offset_tracker.committable_partitions():
            if topics is None or tp in topics or tp[0] in topics:
                yield TP(*tp)

    def _new_offset(self, tp: TP) -> int | None:
        return self.offset_tracker.committable(tp) if self._is_batched(tp) else super()._new_offset(tp)

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return self._is_batched(tp) or super()._should_commit(tp, offset)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        did_commit = await super()._commit_offsets(offsets, start_new_transaction)
        if did_commit:
            self.offset_tracker.confirm(offsets)
        return did_commit

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Stay quiet about batches: in an outage they wait, and stock logs an error per partition and interval."""
        if not self._is_batched(tp):
            super().verify_event_path(now, tp)

    # -- coming and leaving

    async def perform_seek(self) -> None:
        """Start all partitions at their committed offsets, and learn the topics' topic ids."""
        self.offset_tracker.drop()
        try:
            await super().perform_seek()
        except (KafkaError, TimeoutError) as exc:
            if isinstance(exc, IllegalStateError) or not is_passing(exc):
                raise
            log.warning("committed offsets cannot be read, joining again: %r", exc)
            self._thread.rejoin()
            return
        batched = [tp for tp in self.assignment() if self._is_batched(tp)]
        self.offset_tracker.assign({tp: self._read_offset[tp] for tp in batched})
        for topic in {tp.topic for tp in batched}:
            self._topic_ids.learn(topic)

    async def _reread(self, topic: str) -> bool:
        """Read a re-created topic from its beginning: the committed offsets may belong to the deleted topic."""
        self.offset_tracker.unsettle(topic)
        try:
            await self._thread.seek_to_beginning(*(tp for tp in self.assignment() if tp.topic == topic))
        except KafkaError as exc:
            log.warning("%s was made anew and cannot be read from its beginning, joining again: %r", topic, exc)
            self._thread.rejoin()
            return False
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Give batches that are being written a bounded time, commit, and only then let Faust forget."""
        if revoked:
            self.stop_flow()
            self.app.flow_control.suspend()
            self.app.flow_control.clear()
            await self.wait_empty()
        self.offset_tracker.drop()
        self._unacked_messages.clear()
        for topic in self.transport.batch_topics:
            self._topic_ids.forget(topic)
        await super().on_partitions_revoked(revoked)

    async def wait_empty(self) -> None:
        """Wait, within a bound, for batches that the agent has begun, then commit what is acked."""
        until = self._leave_at()
        while self._unacked_messages and monotonic() < until:
            self._waiting_for_ack = self.loop.create_future()
            await asyncio.wait([self._waiting_for_ack], timeout=until - monotonic())
            self._clean_unacked_messages()
        self._waiting_for_ack = None
        await self._commit_now()

    def _leave_at(self) -> float:
        if not self.app.should_stop:
            return monotonic() + REVOKE_SECONDS
        if self._leave_by is None:
            # Faust asks twice while it stops.
            self._leave_by = monotonic() + self.transport.stop_seconds
        return self._leave_by

    async def _commit_now(self) -> None:
        if self._gave_up:
            return
        try:
            async with asyncio.timeout(LEAVE_COMMIT_SECONDS):
                # A commit that is under way began before the last acks.
                await self.maybe_wait_for_commit_to_finish()
                await self.commit_and_end_transactions()
        except TimeoutError:
            log.warning("left without a commit: Kafka does not answer")
            self._gave_up = self.app.should_stop


class BoundedProducer(stock.Producer):
    """Faust's producer, which no longer waits without end for a broker that is away.

    Whoever must know that a record has arrived awaits its delivery.
    """

    async def flush(self) -> None:
        """Wait for records under way, within a bound: commits, rebalances and the stop wait for this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await super().flush()

    async def on_stop(self) -> None:
        """Close the producer, within a bound."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await super().on_stop()
        except TimeoutError:
            log.warning("stopped with records under way: Kafka does not answer")


class BatchTransport(stock.Transport):
    """Faust's aiokafka transport, with batches for the topics that ask for them.

    Args:
        slice_topics: topics that are read in batches; their agents use `stream.noack().events()` and `event.ack()`.
        incarnation_of: tells the UUID of a topic's present life; nothing of the topic is read before.
        outages: wait until it does not raise Transient.
        max_in_flight_bytes: what is delivered and not acked: records, and what is left of those that are forgotten.
        stop_seconds: what batches that are being written get when the worker stops.
    """

    Consumer = BatchConsumer
    Producer = BoundedProducer

    def __init__(  # noqa: PLR0913 - settings
        self,
        url: Sequence[URL],
        app: faust.App,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        batch_topics: Iterable[str],
        topic_id_of: TopicIdOf,
        outages: OutageRetrier,
        max_in_flight_bytes: int = MAX_IN_FLIGHT_BYTES,
        max_batch_records: int = MAX_BATCH_RECORDS,
        max_batch_bytes: int = MAX_BATCH_BYTES,
        stop_seconds: float = REVOKE_SECONDS,
    ) -> None:
        super().__init__(url, app, loop)
        install_log_filters()
        self.batch_topics = frozenset(batch_topics)
        self.topic_id_of = topic_id_of
        self.outages = outages
        self.max_in_flight_bytes = max_in_flight_bytes
        self.max_batch_records = max_batch_records
        self.max_batch_bytes = max_batch_bytes
        self.stop_seconds = stop_seconds
