"""Commits of acknowledged prefixes: an offset is committed once every record below it is acknowledged."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from faust.transport.drivers import aiokafka as stock
from faust.types import TP, Message
from faust.types.transports import TPorTopicSet
from mode import get_logger
from mode.utils.futures import notify

from streamapp.retry import OutageRetrier
from streamapp.transport.batches import PartitionBatchMessage
from streamapp.transport.column_reader import KernelOf, without_kernel
from streamapp.transport.offset_tracker import OffsetTracker
from streamapp.transport.topic_ids import TopicIdOf

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
    #: Called before partitions are left, with the seconds that the batches in flight get.
    hurry: Callable[[float], None] = lambda _: None
    #: Returns what finds the records of a record batch.
    kernel: KernelOf = without_kernel


class PrefixCommits(stock.Consumer):
    """Faust's consumer, which tracks batches in flight instead of lists of acknowledged offsets.

    Args:
        args: of Faust's consumer, like `kwargs`.
        options: how the batch topics are read.
    """

    def __init__(self, *args: Any, options: BatchOptions, **kwargs: Any) -> None:
        # First, since Faust's constructor creates the fetcher.
        self._options = options
        super().__init__(*args, **kwargs)
        max_batches = min(MAX_IN_FLIGHT_BATCHES, self.app.conf.stream_buffer_maxsize // 4)
        self.offset_tracker = OffsetTracker(max_bytes=options.max_in_flight_bytes, max_batches=max_batches)
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

    def _is_batched(self, tp: TP) -> bool:
        return tp[0] in self._options.topics

    @abstractmethod
    def _update_targets(self) -> None:
        """Set what is read next, after a change of the bytes in flight."""

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._is_batched(tp):
            await super()._add_gap(tp, offset_from, offset_to)

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

    async def wait_empty(self) -> None:
        """Wait, within a bound, for batches that the agent has begun, then commit the acknowledged prefix."""
        deadline = self._wait_deadline()
        self._options.hurry(deadline - monotonic())
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
