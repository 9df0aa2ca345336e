"""Faust's consumer for Kafka, which reads batch topics in partition batches; `prefix_commits` has its commits.

A batch topic gives one Faust event per fetched batch of one partition; every other topic is read the stock way.
Records are read only while the topic id is known.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiokafka.errors import IllegalStateError, KafkaError
from faust.types import TP, Message
from mode import get_logger

from streamapp.transport.batches import BatchBuilder
from streamapp.transport.fetcher import BatchFetcher, FetchedRecords
from streamapp.transport.kafka_faults import is_retriable
from streamapp.transport.offset_tracker import EndOffsets, InFlightBatch, Progress
from streamapp.transport.prefix_commits import BatchOptions, PrefixCommits
from streamapp.transport.response_buffer import FetchedPartition
from streamapp.transport.topic_id_check import Send, TopicIdCheck
from streamapp.transport.topic_ids import TopicIds
from streamapp.transport.truncation_check import TruncationCheck

log = get_logger(__name__)


class BatchConsumer(PrefixCommits):
    """Faust's consumer, which reads batch topics in partition batches."""

    _thread: BatchFetcher  # pyright: ignore[reportIncompatibleVariableOverride] - created by _new_consumer_thread only

    def __init__(self, *args: Any, options: BatchOptions, **kwargs: Any) -> None:
        super().__init__(*args, options=options, **kwargs)
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
            check_truncation=self._new_truncation_check,
            outages=self._options.outages,
            stop_worker=self._options.stop_worker,
            kernel=self._options.kernel,
        )

    def _new_topic_id_check(self, send: Send) -> TopicIdCheck:
        return TopicIdCheck(
            send,
            topics=self._options.topics,
            known=lambda: self._topic_ids.known,
            on_changed=self._on_topic_id_changed,
        )

    def _new_truncation_check(self, send: Send) -> TruncationCheck:
        return TruncationCheck(send, topics=self._options.topics, on_truncated=self._on_truncated)

    def _on_truncated(self, tp: TP, end: int) -> None:
        log.warning(
            "Kafka has lost the records of %s, partition %d, from offset %d on, and gives their offsets to other"
            " records. The worker reads these, too.",
            tp.topic,
            tp.partition,
            end,
        )
        if tp in self.offset_tracker:
            # The batches in flight are given up: their records before the end are read again.
            begin = min(end, self.offset_tracker.acknowledged_end(tp))
            self._start_again(tp, begin)
            self._thread.seek_back({tp: begin})
            self._update_targets()

    def _on_topic_id_changed(self, topic: str) -> None:
        log.warning("The topic %s was deleted and re-created. The worker reads it from its first offset.", topic)
        self._topic_ids.request(topic)
        self._update_targets()

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
        self._start_again(tp, position)

    def _start_again(self, tp: TP, position: int) -> None:
        self.offset_tracker.rewind(tp, position)
        # Faust drops messages below these offsets.
        self._read_offset[tp] = self._committed_offset[tp] = None

    # -- assignment and revocation

    async def perform_seek(self) -> None:
        """Start all partitions at their committed offsets, and request the topic ids."""
        self.offset_tracker.revoke_all()
        try:
            await super().perform_seek()
            batched = [tp for tp in self.assignment() if self._is_batched(tp)]
            # Before the topic ids: no record is read until these are known.
            await self._thread.load_leader_epochs(batched)
        except (KafkaError, TimeoutError) as exc:
            if isinstance(exc, IllegalStateError) or not is_retriable(exc):
                raise
            log.warning("The committed offsets cannot be read; the worker joins its consumer group again: %r", exc)
            self._thread.rejoin()
            return
        self.offset_tracker.assign({tp: self._read_offset[tp] for tp in batched})
        for topic in {tp.topic for tp in batched}:
            self._topic_ids.request(topic)

    async def _read_from_start(self, topic: str) -> bool:
        """Read a re-created topic from its first offset: the committed offsets may belong to the deleted topic."""
        self.offset_tracker.reset_settled(topic)
        self._thread.truncation_check.forget(topic)
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
