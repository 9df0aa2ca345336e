"""Read batches from aiokafka.

Faust gives its consumer a thread with an event loop of its own. This one runs on the worker's loop: where events come
one by one, to wake another thread for each fetch, and to be woken by it, is a good part of what an event costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple

from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError
from faust.transport.drivers import aiokafka as stock
from faust.types import TP
from mode import get_logger
from mode.threads import WorkerThread

from streamapp.model.record import BatchRecord
from streamapp.transport.batch_size import memory_size
from streamapp.transport.offset_tracker import UNKNOWN, Ends

log = get_logger(__name__)

#: Records asked of aiokafka at once: the most by which a batch may overshoot its bytes before it is cut.
CHUNK_RECORDS = 250
#: While a fetch waits for news of idle partitions, aiokafka sends none for a partition that just became free.
FETCH_MAX_WAIT_MS = 200
#: aiokafka repeats a commit without end while the broker is away.
COMMIT_SECONDS = 3.0
#: Closing aiokafka's client, which waits for a broker that may be away.
STOP_SECONDS = 1.5
#: Beyond broker_request_timeout Faust would stop resuming its streams after rebalances, without an error.
SEEK_SECONDS = 10.0


class FetchedPartition(NamedTuple):
    """What one partition gave: its position before and after, the records between, their bytes, and the log's end."""

    tp: TP
    before: int
    records: Sequence[BatchRecord]
    size: int
    after: int
    end: int | None


class Fetched(NamedTuple):
    """What one fetch brought."""

    generation: int
    batches: list[FetchedPartition]
    others: Mapping[TP, list[Any]]


class _NoThread(WorkerThread):
    """In place of a thread: runs the service as a task of the loop on which it is started."""

    def start(self) -> None:
        """Run the service until it stops."""
        self._serving = asyncio.create_task(self.service._serve())
        self._serving.add_done_callback(self._end)

    def _end(self, serving: asyncio.Task[None]) -> None:
        error = None if serving.cancelled() else serving.exception()
        if error and error is not self.service.crash_reason:  # of which Faust knows
            log.error("left Kafka with an error: %r", error)
        self.service.set_shutdown()

    def stop(self) -> None:
        """Do nothing: no thread has to end."""


class BatchFetcher(stock.AIOKafkaConsumerThread):
    """Owns aiokafka's consumer; a thread only by the name that Faust gives it."""

    Worker = _NoThread

    #: Bytes to take from each partition of a batch topic, and the partitions to read the stock way.
    budgets: Mapping[TP, int] = MappingProxyType({})
    others: frozenset[TP] = frozenset()

    _commits_fail = False
    _turn = 0

    def __init__(self, *args: Any, max_batch_records: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_batch_records = max_batch_records

    def _create_worker_consumer(self, transport: stock.Transport) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust fixes 1500.
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        # Faust reads what transactions have written before they end, aborted or not; the fetcher is made at the start.
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_thread_stop(self) -> None:
        """Leave the group, within a bound."""
        # With the broker away, aiokafka's close raises the cancellation of its own fetch.
        with suppress(asyncio.CancelledError, TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await super().on_thread_stop()

    def want(self, budgets: Mapping[TP, int], others: frozenset[TP]) -> None:
        """Say what to read; a waiting fetch looks again at once if that is more than before."""
        more = bool(budgets.keys() - self.budgets.keys()) or not others <= self.others
        self.budgets, self.others = budgets, others
        if more and self._consumer is not None:
            fetcher = self._consumer._fetcher
            for waiter in fetcher._fetch_waiters:
                fetcher._notify(waiter)

    async def fetch(self, timeout: float) -> Fetched:
        """Take what is there for the wanted partitions, or wait for it up to `timeout` seconds."""
        deadline = monotonic() + timeout
        # An exception must not pass through fetch_context: it would count this fetch as running for ever.
        with self._ensure_consumer()._subscription.fetch_context():
            try:
                return await self._fetch_until(deadline)
            except BaseException as exc:  # noqa: BLE001 - raised below
                error = exc
        raise error

    def seek_back(self, positions: Mapping[TP, int]) -> None:
        """Read again from these positions."""
        for tp in positions.keys() & self.assignment():
            self.seek(stock.ensure_aiokafka_TP(tp), positions[tp])

    async def seek_to_beginning(self, *tps: TP) -> None:
        """Read these partitions from their beginning; Faust's own hands aiokafka a type that it refuses."""
        await super().seek_to_beginning(*map(stock.ensure_aiokafka_TP, tps))

    def rejoin(self) -> None:
        """Join the group again, which reads positions again."""
        self._ensure_consumer()._coordinator.request_rejoin()

    async def _gather_remaining_tasks(self) -> None:
        """Leave alone what else runs on the loop: mode would cancel every task of the worker."""

    async def _fetch_until(self, deadline: float) -> Fetched:
        while True:
            self._check_health()
            fetched = await self._take_all()
            left = deadline - monotonic()
            # Also where a position has only moved, past aborted records, say: what is told of it counts.
            if fetched.others or any(taken.after != taken.before for taken in fetched.batches) or left <= 0:
                return fetched
            await self._news(left)

    async def _news(self, timeout: float) -> None:
        waiter = self._ensure_consumer()._fetcher._create_fetch_waiter()
        try:
            await asyncio.wait([waiter], timeout=timeout)
        finally:
            if not waiter.cancel():
                # An error of the coordinator; _check_health hears of it too.
                waiter.exception()

    def _check_health(self) -> None:
        """Raise what only a restart can heal, and heal the rest: stock Faust never looks, and stalls."""
        consumer = self._ensure_consumer()
        fetcher, coordinator = consumer._fetcher, consumer._coordinator
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        for task in (fetcher._fetch_task, coordinator._coordination_task):
            if task.done():
                task.result()
        try:
            coordinator.check_errors()
        except KafkaError as exc:
            if not exc.retriable and type(exc) is not KafkaError:
                raise
            # The heartbeat has died of it, and only joining again starts another.
            log.warning("group coordination failed, joining again: %r", exc)
            coordinator.request_rejoin()

    async def _take_all(self) -> Fetched:
        # Nothing here waits, so that a fetch that is cancelled has taken nothing.
        consumer = self._ensure_consumer()
        generation = consumer._coordinator.generation
        ready = self.consumer.flow_active and not consumer._subscription.reassignment_in_progress
        if not ready:
            return Fetched(generation, [], {})
        budgets, others = self.budgets, self.others
        states = [(tp, state) for tp in self._in_turn(budgets) if (state := self._state(tp))]
        batches = [await self._take(tp, state, budgets[tp]) for tp, state in states]
        # An empty set would mean every partition to aiokafka.
        more = await self._read(others, consumer._max_poll_records) if others else {}
        return Fetched(generation, batches, more)

    def _in_turn(self, budgets: Collection[TP]) -> list[TP]:
        tps = sorted(budgets)
        self._turn += 1
        first = self._turn % len(tps) if tps else 0
        return tps[first:] + tps[:first]

    def _state(self, tp: TP) -> Any:
        """Tell aiokafka's state of a partition, None while it has no position."""
        assignment = self._ensure_consumer()._subscription.subscription.assignment
        state = assignment.state_value(tp) if assignment is not None else None
        return state if state is not None and state.has_valid_position else None

    def ends(self, tp: TP) -> Ends:
        """The ends as the last fetch told them."""
        state = self._state(tp) if self._consumer is not None else None
        if state is None or state.highwater is None:
            return UNKNOWN
        # A broker that knows no transactions tells -1.
        stable = state.highwater if state.lso in {None, -1} else min(state.highwater, state.lso)
        return Ends(state.highwater, stable)

    async def _take(self, tp: TP, state: Any, max_bytes: int) -> FetchedPartition:
        records: list[BatchRecord] = []
        before, held, most = state.position, 0, self._max_batch_records
        # Asked for what it has not, aiokafka would go through all that it has.
        buffered = self._ensure_consumer()._fetcher._records
        # A batch that came is decoded as it is read, by an object that may be an error as well.
        if (decoded := getattr(buffered.get(tp), "_partition_records", None)) is not None:
            decoded._consumer_record = _as_decoded
        while tp in buffered and len(records) < most and held < max_bytes:
            chunk = await self._chunk(tp, min(CHUNK_RECORDS, most - len(records)), raises=not records)
            if not chunk:
                break
            records += chunk
            held += sum(map(memory_size, chunk))
        return FetchedPartition(tp, before, records, held, state.position, state.highwater)

    async def _chunk(self, tp: TP, max_records: int, *, raises: bool) -> list[BatchRecord]:
        try:
            return (await self._read({tp}, max_records)).get(tp, [])
        except KafkaError:
            # What was read before must not be lost with it, and the error comes again.
            if raises:
                raise
            return []

    async def _read(self, tps: Collection[TP], max_records: int | None) -> dict[Any, list[Any]]:
        fetcher = self._ensure_consumer()._fetcher
        return await fetcher.fetched_records(tps, timeout=0, max_records=max_records)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek all partitions to their committed offsets, within a bound."""
        return await self.call_thread(self._seek_to_committed)

    async def _seek_to_committed(self) -> Mapping[TP, int]:
        async with asyncio.timeout(SEEK_SECONDS):
            return await self._ensure_consumer().seek_to_committed()

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        self.tp_last_committed_at.update(dict.fromkeys(offsets, monotonic()))
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._ensure_consumer().commit({stock.ensure_aiokafka_TP(tp): at for tp, at in offsets.items()})
        except (KafkaError, TimeoutError) as exc:
            if not is_passing(exc):
                await self.crash(exc)
            self._note_commit(exc)
            return False
        self._note_commit(None)
        return True

    def _note_commit(self, error: BaseException | None) -> None:
        if error is not None and not self._commits_fail:
            log.warning("commit failed, repeated until it succeeds: %r", error)
        elif error is None and self._commits_fail:
            log.warning("commits succeed again")
        self._commits_fail = error is not None


def _as_decoded(_: object, record: BatchRecord) -> BatchRecord:
    """In place of aiokafka's, which copies each record into a larger one that tells topic and partition, too."""
    return record


def is_passing(exc: BaseException) -> bool:
    """Whether a later commit may succeed: the broker is away, or the partition is not ours at the moment."""
    return isinstance(exc, TimeoutError | CommitFailedError | IllegalStateError) or getattr(exc, "retriable", False)
