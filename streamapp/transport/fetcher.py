"""Fetch records from Kafka with aiokafka, by partition and within a number of bytes for each.

A fetch that is cancelled has taken no record. Errors that only a restart can fix are raised; the group is joined again
after all others.
"""

# The class extends Faust's consumer thread and uses private parts of aiokafka: tests/unit/test_vendor_internals.py.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple

from aiokafka.client import ConnectionGroup
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.protocol.fetch import FetchRequest
from faust.transport.drivers import aiokafka as stock
from faust.types import TP
from mode import Service, get_logger

from streamapp.retry import OutageRetrier
from streamapp.transport.column_reader import KernelOf, without_kernel
from streamapp.transport.kafka_access import ACCESS_RETRY_SECONDS, KafkaAccess
from streamapp.transport.kafka_faults import is_retriable
from streamapp.transport.offset_tracker import UNKNOWN_END_OFFSETS, EndOffsets
from streamapp.transport.response_buffer import FetchedPartition, ResponseBuffer
from streamapp.transport.task_worker import TaskWorker
from streamapp.transport.topic_id_check import Send, TopicIdCheck
from streamapp.transport.truncation_check import TruncationCheck

log = get_logger(__name__)

#: How long a fetch may read records before the event loop runs other tasks.
MAX_TURN_SECONDS = 0.02
#: The broker's wait for new records. Meanwhile aiokafka sends no request for a partition that just became free.
FETCH_MAX_WAIT_MS = 200
#: aiokafka repeats a commit without end while the broker is unreachable.
COMMIT_TIMEOUT_SECONDS = 3.0
#: The close of aiokafka's client waits for a broker that may be unreachable.
STOP_TIMEOUT_SECONDS = 1.5
#: If a seek took longer than broker_request_timeout, Faust would not resume its streams after a rebalance.
SEEK_TIMEOUT_SECONDS = 10.0


class FetchedRecords(NamedTuple):
    """The result of one fetch."""

    #: The group generation in which the records were taken.
    generation: int
    batch_partitions: list[FetchedPartition]
    #: Records of all other topics.
    stock_records: Mapping[TP, list[Any]]
    #: Whether a response of a batch topic has more records: the next one of a large batch can take several turns.
    has_more: bool = False


class BatchFetcher(stock.AIOKafkaConsumerThread):
    """Owns aiokafka's consumer. Faust calls it a thread; it runs as a task of the worker's event loop."""

    Worker = TaskWorker

    #: Bytes to take from each partition of a batch topic.
    budgets: Mapping[TP, int] = MappingProxyType({})
    #: Partitions of other topics to read.
    stock_partitions: frozenset[TP] = frozenset()

    _is_commit_failing = False
    _rotation = 0

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        *args: Any,
        max_batch_records: int,
        check_topic_ids: Callable[[Send], TopicIdCheck],
        check_truncation: Callable[[Send], TruncationCheck],
        outages: OutageRetrier,
        stop_worker: Callable[[str], None],
        kernel: KernelOf = without_kernel,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._access = KafkaAccess(outages=outages, stop_worker=stop_worker)
        self._check_topic_ids, self._check_truncation = check_topic_ids, check_truncation
        self._responses = ResponseBuffer(lambda: self._aiokafka_fetcher, max_records=max_batch_records, kernel=kernel)

    def _create_worker_consumer(self, transport: stock.Transport) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust sets 1500 and offers no setting.
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        # Faust reads uncommitted records of transactions. aiokafka reads the attribute when it starts.
        consumer._isolation_level = "read_committed"
        self._topic_id_check = self._check_topic_ids(consumer._client.send)
        self.truncation_check = self._check_truncation(self._topic_id_check.send)
        consumer._client.send = self._send
        return consumer

    async def _send(self, node_id: int, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """Send a request; keep the bytes of a fetch response, which aiokafka unpacks without a bound."""
        response = await self.truncation_check.send(node_id, request, group=group)
        if isinstance(request, FetchRequest):
            self._responses.keep(response, self._topic_id_check.topics)
        return response

    async def on_thread_stop(self) -> None:
        """Leave the group, within a bound."""
        # While the broker is unreachable, aiokafka's close raises the cancellation of its own fetch.
        with suppress(asyncio.CancelledError, TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
                await super().on_thread_stop()

    @property
    def _aiokafka_fetcher(self) -> Fetcher:
        return self._ensure_consumer()._fetcher  # pyright: ignore[reportReturnType] - set once the consumer has started

    @property
    def _coordinator(self) -> GroupCoordinator:
        return self._ensure_consumer()._coordinator  # pyright: ignore[reportReturnType] - likewise, with a group

    def set_targets(self, budgets: Mapping[TP, int], stock_partitions: frozenset[TP]) -> None:
        """Set what to read; a fetch that waits looks again at once if partitions were added."""
        has_more = bool(budgets.keys() - self.budgets.keys()) or not stock_partitions <= self.stock_partitions
        self.budgets, self.stock_partitions = budgets, stock_partitions
        if has_more and self._consumer is not None:
            fetcher = self._aiokafka_fetcher
            for waiter in fetcher._fetch_waiters:
                fetcher._notify(waiter)

    async def fetch(self, timeout: float) -> FetchedRecords:
        """Take the records of the targets that have arrived, or wait for records for up to `timeout` seconds."""
        deadline = monotonic() + timeout
        await self._access.wait(timeout)
        # An exception must not pass through fetch_context: aiokafka would count this fetch as running for ever.
        with self._ensure_consumer()._subscription.fetch_context():
            try:
                return await self._fetch_until(deadline)
            except BaseException as exc:  # noqa: BLE001 - raised below
                error = exc
        raise error

    def seek_back(self, positions: Mapping[TP, int]) -> None:
        """Read assigned partitions again from these positions."""
        for tp in positions.keys() & self.assignment():
            # aiokafka refuses Faust's TP.
            self.seek(stock.ensure_aiokafka_TP(tp), positions[tp])  # pyright: ignore[reportArgumentType]

    async def seek_to_start(self, tps: Iterable[TP]) -> None:
        """Read these partitions from their first offset."""
        await self.seek_to_beginning(*map(stock.ensure_aiokafka_TP, tps))

    def rejoin(self) -> None:
        """Join the group again, which reads the committed offsets again."""
        self._coordinator.request_rejoin()

    async def _gather_remaining_tasks(self) -> None:
        """Do nothing: mode would cancel every task of the worker's event loop."""

    async def _fetch_until(self, deadline: float) -> FetchedRecords:
        while True:
            self._check_health()
            fetched = await self._take_available()
            remaining = deadline - monotonic()
            # A position may move without records, for example past aborted ones: the new position can be committed.
            has_moved = any(each.position_after != each.position_before for each in fetched.batch_partitions)
            if fetched.stock_records or has_moved or remaining <= 0:
                return fetched
            await (asyncio.sleep(0) if fetched.has_more else self._wait_for_records(remaining))

    async def _wait_for_records(self, timeout: float) -> None:
        waiter = self._aiokafka_fetcher._create_fetch_waiter()
        try:
            await asyncio.wait([waiter], timeout=timeout)
        finally:
            if not waiter.cancel():
                # Retrieve an error of the coordinator, or asyncio logs it; _check_health handles it.
                waiter.exception()

    @Service.task
    async def _watch_coordination(self) -> None:
        """Handle errors of the group also while Faust does not fetch, as before the first assignment.

        aiokafka tries to join the group again only when its last error was taken.
        """
        while not self.should_stop:
            # No group coordinator before the consumer has started.
            consumer: Any = self._consumer
            if consumer is not None and not consumer._closed and consumer._coordinator is not None:
                self._access.check_group(self._coordinator)
            await self.sleep(ACCESS_RETRY_SECONDS)

    def _check_health(self) -> None:
        """Raise errors that only a restart fixes, and join the group again after others; stock Faust stalls instead."""
        consumer, fetcher, coordinator = self._ensure_consumer(), self._aiokafka_fetcher, self._coordinator
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        for task in (fetcher._fetch_task, coordinator._coordination_task):
            if task.done():
                task.result()
        self._access.check_group(coordinator)

    async def _take_available(self) -> FetchedRecords:
        # Nothing here waits, so that a fetch that is cancelled has taken no record.
        consumer, generation = self._ensure_consumer(), self._coordinator.generation
        is_ready = self.consumer.flow_active and not consumer._subscription.reassignment_in_progress
        if not is_ready:
            return FetchedRecords(generation, [], {})
        budgets, stock_partitions = self.budgets, self.stock_partitions
        states = [(tp, state) for tp in self._rotated(budgets) if (state := self._partition_state(tp))]
        deadline, batch_partitions = monotonic() + MAX_TURN_SECONDS, list[FetchedPartition]()
        for tp, state in states:
            if batch_partitions and monotonic() >= deadline:
                break
            batch_partitions.append(await self._take(tp, state, budgets[tp], deadline))
        # aiokafka takes an empty set as all partitions.
        stock_records = await self._read(stock_partitions, consumer._max_poll_records) if stock_partitions else {}
        has_more = any(self._responses.has_more(tp) for tp, _ in states)
        return FetchedRecords(generation, batch_partitions, stock_records, has_more)

    def _rotated(self, budgets: Collection[TP]) -> list[TP]:
        """Return the partitions, each time beginning with another one."""
        tps = sorted(budgets)
        self._rotation += 1
        first = self._rotation % len(tps) if tps else 0
        return tps[first:] + tps[:first]

    def _partition_state(self, tp: TP) -> Any:
        """Return aiokafka's state of a partition, None while it has no position."""
        assignment: Any = self._ensure_consumer()._subscription.subscription.assignment
        state = assignment.state_value(tp) if assignment is not None else None
        return state if state is not None and state.has_valid_position else None

    def end_offsets(self, tp: TP) -> EndOffsets:
        """Return the end offsets that the last fetch response has reported."""
        state = self._partition_state(tp) if self._consumer is not None else None
        if state is None or state.highwater is None:
            return UNKNOWN_END_OFFSETS
        # A broker without transactions reports -1.
        last_stable = state.highwater if state.lso in {None, -1} else min(state.highwater, state.lso)
        return EndOffsets(state.highwater, last_stable)

    async def _take(self, tp: TP, state: Any, max_bytes: int, deadline: float) -> FetchedPartition:
        # If asked for a partition without records, aiokafka would search the records of all partitions.
        if tp in self._aiokafka_fetcher._records:
            if self._responses.has_records(tp):
                return self._responses.take(tp, state, max_bytes, deadline=deadline)
            await self._raise_error(tp)
        return FetchedPartition(tp, state.position, [], 0, state.position, state.highwater)

    async def _raise_error(self, tp: TP) -> None:
        """Raise the error that aiokafka has for a partition, unless it is waited out."""
        try:
            await self._read({tp}, 1)
        except KafkaError as exc:
            if not self._access.is_waited_out(exc):
                raise

    async def _read(self, tps: Collection[TP], max_records: int | None) -> dict[Any, list[Any]]:
        return await self._aiokafka_fetcher.fetched_records(tps, timeout=0, max_records=max_records)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek all partitions to their committed offsets, within a bound."""
        return await self.call_thread(self._seek_to_committed)

    async def _seek_to_committed(self) -> Mapping[TP, int]:
        async with asyncio.timeout(SEEK_TIMEOUT_SECONDS):
            return await self._ensure_consumer().seek_to_committed()

    async def load_leader_epochs(self, tps: Iterable[TP]) -> None:
        """Read the leader epochs that were committed with the offsets of partitions."""
        async with asyncio.timeout(SEEK_TIMEOUT_SECONDS):
            found = await self._coordinator.fetch_committed_offsets([*map(stock.ensure_aiokafka_TP, tps)])
        self.truncation_check.assign({TP(*tp): committed.metadata for tp, committed in found.items()})

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        self.tp_last_committed_at.update(dict.fromkeys(offsets, monotonic()))
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_SECONDS):
                if await self._has_changed_topic({tp.topic for tp in offsets}):
                    return False
                await self._ensure_consumer().commit(
                    {
                        stock.ensure_aiokafka_TP(tp): (at, self.truncation_check.metadata(tp, at))
                        for tp, at in offsets.items()
                    }
                )
        except (KafkaError, TimeoutError) as exc:
            if not is_retriable(exc):
                await self.crash(exc)
            elif isinstance(exc, KafkaError):
                self._access.is_waited_out(exc)
            self._log_commit_result(exc)
            return False
        self._log_commit_result(None)
        return True

    async def _has_changed_topic(self, topics: set[str]) -> bool:
        """Whether any of the topics is not the one whose records were read: the offsets belong to a deleted topic."""
        node_id: Any = self._coordinator.coordinator_id
        group = ConnectionGroup.COORDINATION
        if node_id is None:
            node_id, group = self._ensure_consumer()._client.get_random_node(), ConnectionGroup.DEFAULT
        for topic in topics & self._topic_id_check.topics:
            if await self._topic_id_check.has_changed(node_id, topic, group=group):
                return True
        return False

    def _log_commit_result(self, error: BaseException | None) -> None:
        """Log the first failed commit, and the first that succeeds afterwards."""
        if error is not None and not self._is_commit_failing:
            log.warning("An offset commit failed; the worker repeats it until it succeeds: %r", error)
        elif error is None and self._is_commit_failing:
            log.warning("Offset commits succeed again.")
        self._is_commit_failing = error is not None
