"""Faust's consumer for Kafka, which reads batch topics in partition batches and commits only acknowledged prefixes.

A batch topic gives one Faust event per fetched batch of one partition; every other topic is read the stock way.
An offset is committed once every record below it is acknowledged. Records are read only while the topic id is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, Message
from faust.types.transports import TPorTopicSet
from mode import get_logger
from mode.utils.futures import notify

from streamapp.retry import OutageRetrier
from streamapp.transport.batches import BatchBuilder, PartitionBatchMessage
from streamapp.transport.fetcher import BatchFetcher, FetchedPartition, FetchedRecords, is_retriable
from streamapp.transport.offset_tracker import EndOffsets, InFlightBatch, OffsetTracker, Progress
from streamapp.transport.topic_id_check import Send, TopicIdCheck
from streamapp.transport.topic_ids import TopicIdOf, TopicIds

log = get_logger(__name__)

#: The most batches in flight, however small. Well below Faust's queue length: a full queue would block the drain loop.
MAX_IN_FLIGHT_BATCHES = 4_096
#: Seconds that batches being written get when partitions are revoked.
REVOKE_TIMEOUT_SECONDS = 3.0
#: Seconds for the last commit before partitions are left. All bounds together stay within ten seconds.
LAST_COMMIT_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How the batch topics are read."""

    #: Topics that are read in batches.
    topics: frozenset[str]
    #: Returns the topic id (KIP-516) of a topic; no record of the topic is read before it is known.
    topic_id_of: TopicIdOf
    #: Repeats a call to Kafka until it no longer raises Transient.
    outages: OutageRetrier
    #: Called with the message of an error that only another setting corrects.
    stop_worker: Callable[[str], None]
    #: Bytes of all batches that are delivered and not acknowledged, less what they have released.
    max_in_flight_bytes: int = 64 * 1024 * 1024
    max_batch_records: int = 4_000
    #: Bytes of the values in one batch.
    max_batch_bytes: int = 4 * 1024 * 1024
    #: Seconds that batches being written get when the worker stops.
    stop_seconds: float = REVOKE_TIMEOUT_SECONDS


class BatchConsumer(stock.Consumer):
    """Faust's consumer, which tracks batches in flight instead of lists of acknowledged offsets."""

    _thread: BatchFetcher  # pyright: ignore[reportIncompatibleVariableOverride] - created by _new_consumer_thread only

    def __init__(self, *args: Any, options: BatchOptions, **kwargs: Any) -> None:
        # First, since Faust's constructor creates the fetcher.
        self._options = options
        super().__init__(*args, **kwargs)
        max_batches = min(MAX_IN_FLIGHT_BATCHES, self.app.conf.stream_buffer_maxsize // 4)
        self.offset_tracker = OffsetTracker(max_bytes=options.max_in_flight_bytes, max_batches=max_batches)
        self._topic_ids = TopicIds(
            options.topic_id_of,
            outages=options.outages,
            spawn=self.add_future,
            on_known=self._update_targets,
            on_changed=self._read_from_start,
        )
        self._batches = BatchBuilder(
            offset_tracker=self.offset_tracker,
            topic_ids=self._topic_ids.known,
            max_records=options.max_batch_records,
            max_bytes=options.max_batch_bytes,
            is_current=self._is_current,
            on_log_end=self.app.monitor.track_tp_end_offset,
            on_release=self._release_records,
            seek_back=lambda tp, position: self._thread.seek_back({tp: position}),
        )
        self._stop_deadline: float | None = None
        self._has_given_up_commits = False

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
        """Number and bytes of the batches that are delivered and not acknowledged."""
        return self.offset_tracker.in_flight_batches, self.offset_tracker.in_flight_bytes

    def progress(self) -> list[Progress]:
        """How far the worker is in each partition of the batch topics whose topic id is known."""
        ends: dict[tuple[str, int], EndOffsets] = {
            tp: self._thread.end_offsets(tp) for tp in self.assignment() if tp in self.offset_tracker
        }
        return self.offset_tracker.progress(ends, self._topic_ids.known)

    def _new_consumer_thread(self) -> BatchFetcher:
        return BatchFetcher(
            self,
            loop=self.loop,
            thread_loop=self.loop,
            beacon=self.beacon,
            max_batch_records=self._options.max_batch_records,
            check_topic_ids=self._new_topic_id_check,
            outages=self._options.outages,
            stop_worker=self._options.stop_worker,
        )

    def _new_topic_id_check(self, send: Send) -> TopicIdCheck:
        return TopicIdCheck(
            send,
            topics=self._options.topics,
            known=lambda: self._topic_ids.known,
            on_changed=self._on_topic_id_changed,
        )

    def _on_topic_id_changed(self, topic: str) -> None:
        log.warning("The topic %s was deleted and re-created. The worker reads it from its first offset.", topic)
        self._topic_ids.request(topic)
        self._update_targets()

    def _is_batched(self, tp: TP) -> bool:
        return tp[0] in self._options.topics

    # -- reading

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Yield partition batches of the batch topics, and single records of the other topics."""
        if not self.flow_active:
            # mode's `wait` also takes asyncio's Event.
            await self.wait(self.can_resume_flow, timeout=timeout)  # pyright: ignore[reportArgumentType]
        self._update_targets()
        # Also while the flow is suspended or the bounds are reached: without polls aiokafka leaves the group for good.
        fetched = await self._thread.fetch(timeout if self.flow_active else 0)
        for tp, message in self._stock_messages(fetched):
            yield tp, message
        # The sources now: the event loop runs between two messages, and a check may change the topic id.
        deliverable = [(each, self._batches.source(each.tp)) for each in self._deliverable(fetched)]
        for partition, source in deliverable:
            for message in self._batches.messages(partition, fetched.generation, source):
                yield partition.tp, message

    def _update_targets(self) -> None:
        """Set what the fetcher reads, after a change of the budgets, the topic ids or the active partitions."""
        active = self._get_active_partitions()
        budgets, known, limit = self.offset_tracker.budgets(), self._topic_ids.known, self._options.max_batch_bytes
        targets = {tp: min(budgets[tp], limit) for tp in active if tp in budgets and tp.topic in known}
        self._thread.set_targets(targets, frozenset(tp for tp in active if not self._is_batched(tp)))

    def _release_records(self, in_flight_batch: InFlightBatch, remaining_bytes: int) -> None:
        if self.offset_tracker.release_records(in_flight_batch, remaining_bytes):
            self._update_targets()

    def _is_current(self, generation: int) -> bool:
        return self.flow_active and not self.should_stop and generation == self.app.consumer_generation_id

    def _stock_messages(self, fetched: FetchedRecords) -> Iterator[tuple[TP, Message]]:
        active = self._get_active_partitions()
        for tp, record in self.scheduler.iterate(fetched.stock_records):
            if not self._is_current(fetched.generation):
                return
            if tp in active or tp in self._buffered_partitions:
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                yield tp, self._to_message(tp, record)

    def _deliverable(self, fetched: FetchedRecords) -> list[FetchedPartition]:
        """Return the partitions whose topic id is known; all others are read again later."""
        if not self._is_current(fetched.generation):
            return []
        assigned = [each for each in fetched.batch_partitions if each.tp in self.offset_tracker]
        rewound = [each for each in assigned if self.offset_tracker.is_behind(each.tp, each.position_before)]
        for partition in rewound:
            self._rewind(partition.tp, partition.position_before)
        for topic in {each.tp.topic for each in rewound}:
            self._topic_ids.request(topic)
        unknown = {each.tp: each.position_before for each in assigned if each.tp.topic not in self._topic_ids.known}
        if unknown:
            self._thread.seek_back(unknown)
        return [each for each in assigned if each.tp not in unknown]

    def _rewind(self, tp: TP, position: int) -> None:
        log.warning(
            "The offsets of %s, partition %d, went back to %d: the topic was deleted and re-created, or the offsets of"
            " the consumer group were reset. The worker continues from there.",
            tp.topic,
            tp.partition,
            position,
        )
        self.offset_tracker.rewind(tp, position)
        # Faust drops messages below these offsets.
        self._read_offset[tp] = self._committed_offset[tp] = None

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._is_batched(tp):
            await super()._add_gap(tp, offset_from, offset_to)

    # -- acknowledgements and commits

    def ack(self, message: Message) -> bool:
        """Allow a batch to be committed once all batches before it are acknowledged."""
        if not isinstance(message, PartitionBatchMessage):
            return super().ack(message)
        message.acked = True
        self._unacked_messages.discard(message)
        acked = self.offset_tracker.ack(message.in_flight_batch)
        notify(self._waiting_for_ack)
        self._update_targets()
        return acked

    def on_buffer_drop(self, tp: TP) -> None:
        """Resume reading a partition of a stock topic at once."""
        super().on_buffer_drop(tp)
        self._update_targets()

    def _filter_tps_with_pending_acks(self, topics: TPorTopicSet | None = None) -> Iterator[TP]:
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
            self.offset_tracker.mark_committed(offsets)
        return did_commit

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Skip batch topics: in an outage batches wait, and Faust would log an error per partition and interval."""
        if not self._is_batched(tp):
            super().verify_event_path(now, tp)

    # -- assignment and revocation

    async def perform_seek(self) -> None:
        """Start all partitions at their committed offsets, and request the topic ids."""
        self.offset_tracker.revoke_all()
        try:
            await super().perform_seek()
        except (KafkaError, TimeoutError) as exc:
            if isinstance(exc, IllegalStateError) or not is_retriable(exc):
                raise
            log.warning("The committed offsets cannot be read; the worker joins its consumer group again: %r", exc)
            self._thread.rejoin()
            return
        batched = [tp for tp in self.assignment() if self._is_batched(tp)]
        self.offset_tracker.assign({tp: self._read_offset[tp] for tp in batched})
        for topic in {tp.topic for tp in batched}:
            self._topic_ids.request(topic)

    async def _read_from_start(self, topic: str) -> bool:
        """Read a re-created topic from its first offset: the committed offsets may belong to the deleted topic."""
        self.offset_tracker.reset_settled(topic)
        for tp in self.assignment():
            # Late acknowledgements of the deleted topic's records must not change the offset to commit.
            if tp.topic == topic and tp in self.offset_tracker and self.offset_tracker.is_behind(tp, 0):
                self._rewind(tp, 0)
        try:
            await self._thread.seek_to_start(tp for tp in self.assignment() if tp.topic == topic)
        except KafkaError as exc:
            log.warning(
                "The topic %s was deleted and re-created, and its first offset cannot be read; the worker joins its"
                " consumer group again: %r",
                topic,
                exc,
            )
            self._thread.rejoin()
            return False
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Wait, within a bound, for batches being written, then commit; only then may Faust discard its state."""
        if revoked:
            self.stop_flow()
            self.app.flow_control.suspend()
            self.app.flow_control.clear()
            await self.wait_empty()
        self.offset_tracker.revoke_all()
        self._unacked_messages.clear()
        for topic in self._options.topics:
            self._topic_ids.forget(topic)
        await super().on_partitions_revoked(revoked)

    async def wait_empty(self) -> None:
        """Wait, within a bound, for batches that the agent has begun, then commit the acknowledged prefix."""
        deadline = self._wait_deadline()
        while self._unacked_messages and monotonic() < deadline:
            self._waiting_for_ack = self.loop.create_future()
            await asyncio.wait([self._waiting_for_ack], timeout=deadline - monotonic())
            self._clean_unacked_messages()
        self._waiting_for_ack = None
        await self._commit_last()

    def _wait_deadline(self) -> float:
        if not self.app.should_stop:
            return monotonic() + REVOKE_TIMEOUT_SECONDS
        if self._stop_deadline is None:
            # Faust waits twice while it stops; both share one deadline.
            self._stop_deadline = monotonic() + self._options.stop_seconds
        return self._stop_deadline

    async def _commit_last(self) -> None:
        if self._has_given_up_commits:
            return
        try:
            async with asyncio.timeout(LAST_COMMIT_TIMEOUT_SECONDS):
                # A commit that is running began before the last acknowledgements.
                await self.maybe_wait_for_commit_to_finish()
                await self.commit_and_end_transactions()
        except TimeoutError:
            log.warning(
                "The worker leaves its partitions without a last commit, because Kafka does not answer. The batches"
                " that are not committed will be read again; events already stored are not stored twice."
            )
            self._has_given_up_commits = self.app.should_stop
