"""Add the events of settled batches to the stored rollups: every second or less often, in the order of each partition.

A rollup counts an event only if the event's offset is above the rollup's `offset`. The writer reads a rollup, adds to
it, and writes it back if its `offset` and `n` are unchanged (compare and set); otherwise it reads the rollup again. So
an event that is delivered again, after a crash or to a second worker that still believes it owns the partition, is not
counted twice. Callers must add the events of a partition in offset order, else an event is left out.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Protocol

from streamapp.errors import AssignmentLost
from streamapp.model.record import PartitionId
from streamapp.retry import OutageRetrier
from streamapp.rollups.keys import id_of
from streamapp.rollups.levels import LEVELS, Keep, Level, kept_since
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.rollup import ConditionalWrite, Rollup

#: The shortest time between the starts of two writes, in seconds.
WRITE_INTERVAL_SECONDS = 1.0
#: The pause after a write, in seconds: for each rollup that it touched, and at most.
PAUSE_SECONDS_PER_ROLLUP = 0.0005
MAX_PAUSE_SECONDS = 4.0
#: While so much waits, there is no pause: what is in flight has limits, at which the fetcher stops. In bytes of pending
#: counts, 210,000 usual events.
MAX_WAITING_BYTES = 8_000_000
MAX_WAITING_BATCHES = 1_000
#: So many events are counted at a time: they take several times their memory meanwhile, and block the event loop.
MAX_EVENTS_TOGETHER = 80_000
#: Rollups that are read and written in one call.
MAX_ROLLUPS_PER_WRITE = 400
#: Rollups of each level that are kept in memory, so that they need not be read again.
MAX_CACHED_ROLLUPS = 250


class RollupPort(Protocol):
    """Stores rollups. All methods raise StoreUnavailable while MongoDB is unreachable; all may be repeated."""

    async def load(self, level: Level, ids: Sequence[str]) -> Mapping[str, Rollup]:
        """The stored rollups among `ids`, by `_id`."""
        ...

    async def write_if_unchanged(self, level: Level, writes: Sequence[ConditionalWrite]) -> bool:
        """Write each rollup whose expected version is stored; False if another process changed one of them.

        Each document must differ from the stored one.
        """
        ...

    async def high_watermark(self, partition_id: PartitionId) -> int:
        """The highest offset of a partition in any rollup, -1 for none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    partition_id: PartitionId
    pending: PendingCounts
    written: asyncio.Future[None]


class RollupWriter:
    """Collects pending counts and adds them to the stored rollups."""

    def __init__(  # noqa: PLR0913 - they are named
        self,
        rollups: RollupPort,
        *,
        outages: OutageRetrier,
        keep: Keep,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._rollups = rollups
        self._outages = outages
        self._keep = keep
        self._now = now
        self._sleep = sleep
        self._max_waiting_bytes = max_waiting_bytes
        self._requests: list[_Request] = []
        #: The requests of the write in progress come first.
        self._being_written = 0
        #: Bytes of the requests that wait for the next write.
        self._waiting_bytes = 0
        # By level: buckets of several levels begin at the same time, and then have the same `_id`. Each has its own
        # limit: else thousands of minutes would displace the few rollups of the wider levels, which are the largest.
        self._cached: Mapping[Level, OrderedDict[str, Rollup]] = {level: OrderedDict() for level in LEVELS}
        self._write_task: asyncio.Task[None] | None = None
        self._write_lock = asyncio.Lock()
        self._next_write_at = 0.0
        self._no_pause_until = 0.0
        #: Ends the pause before a write.
        self._much_waits = asyncio.Event()

    def add(self, partition_id: PartitionId, pending: PendingCounts) -> asyncio.Future[None]:
        """Add the events of a batch; the future is done when the stored rollups hold them.

        Callers must add the batches of a partition in offset order, and cancel the future of a batch that they give up.
        """
        written = asyncio.get_running_loop().create_future()
        self._requests.append(_Request(partition_id, pending, written))
        self._waiting_bytes += pending.size
        waiting_batches = len(self._requests) - self._being_written
        if self._waiting_bytes >= self._max_waiting_bytes or waiting_batches >= MAX_WAITING_BATCHES:
            self._much_waits.set()
        self._start_write()
        return written

    def hurry(self, seconds: float) -> None:
        """Write at once what waits, and for some seconds without pauses: the worker leaves its partitions soon."""
        self._no_pause_until = time.monotonic() + seconds
        self._much_waits.set()

    async def high_watermark(self, partition_id: PartitionId) -> int:
        """The highest offset of a partition in any rollup, -1 for none; raises StoreUnavailable.

        Waits for the write in progress: it can hold events of an ended assignment, and raise the high watermark later.
        """
        async with self._write_lock:
            return await self._rollups.high_watermark(partition_id)

    def _start_write(self) -> None:
        if self._requests and self._write_task is None:
            self._write_task = asyncio.create_task(self._write())
            self._write_task.add_done_callback(self._on_write_done)

    def _on_write_done(self, task: asyncio.Task[None]) -> None:
        self._write_task = None
        if not task.cancelled() and (error := task.exception()):
            _answer(self._requests, error)
            self._requests = []
        self._being_written = 0
        self._start_write()

    async def _write(self) -> None:
        await self._pause()
        started = time.monotonic()
        self._next_write_at = started + WRITE_INTERVAL_SECONDS
        requests = self._take_requests()
        async with self._write_lock:
            touched = sum([await self._write_group(group) for group in _groups(requests)])
        pause = min(touched * PAUSE_SECONDS_PER_ROLLUP, MAX_PAUSE_SECONDS)
        self._next_write_at = max(self._next_write_at, time.monotonic() + pause)
        self._requests = self._requests[len(requests) :]

    async def _pause(self) -> None:
        """Wait until the next write is due, or until much waits."""
        now = time.monotonic()
        seconds = 0.0 if now < self._no_pause_until else max(0.0, self._next_write_at - now)
        waits = [asyncio.ensure_future(each) for each in (self._sleep(seconds), self._much_waits.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    def _take_requests(self) -> Sequence[_Request]:
        requests = _active(self._requests)
        self._requests, self._being_written, self._waiting_bytes = [*requests], len(requests), 0
        self._much_waits.clear()
        return requests

    async def _write_group(self, group: _Group) -> int:
        """Add the events of the requests to the rollups, and answer them; return the number of the rollups."""
        pending_counts, touched = dict[PartitionId, PendingCounts](), 0
        for partition_id, together in group.items():
            pending_counts[partition_id] = pending = PendingCounts.joined([request.pending for request in together])
            # To group 80,000 events blocks the event loop for a tenth of a second: yield after each partition.
            pending.after(-1, LEVELS[0])
            await asyncio.sleep(0)
        requests = [request for together in group.values() for request in together]
        # The widest level first: then no level holds an offset that a wider level lacks, see `high_watermark`.
        for level in reversed(LEVELS):
            for chunk in _chunks(self._buckets(level, pending_counts), MAX_ROLLUPS_PER_WRITE):
                write = partial(self._write_buckets, level, chunk, requests)
                with suppress(AssignmentLost):  # then no caller waits for the result
                    await self._outages.run(write)
                    touched += len(chunk)
        _answer(requests, None)
        return touched

    def _buckets(self, level: Level, pending_counts: Mapping[PartitionId, PendingCounts]) -> Iterator[_Bucket]:
        since = kept_since(level, self._keep, self._now())
        for partition_id, pending in pending_counts.items():
            for start in pending.after(-1, level):
                if start >= since:
                    yield _Bucket(id_of(partition_id, start), level, start, partition_id, pending)

    async def _write_buckets(self, level: Level, buckets: Sequence[_Bucket], requests: Sequence[_Request]) -> None:
        while True:
            partition_ids = {request.partition_id for request in _active(requests)}
            buckets = [bucket for bucket in buckets if bucket.partition_id in partition_ids]
            if not buckets:  # an error, not a return: no call has shown that MongoDB is reachable again
                raise AssignmentLost("all batches with events in these rollups were given up")
            # Removed from the cache until the write is known to have succeeded.
            cached = {bucket.id: self._cached[level].pop(bucket.id, None) for bucket in buckets}
            found = await self._rollups.load(level, [id_ for id_, rollup in cached.items() if rollup is None])
            rollups = {bucket.id: cached[bucket.id] or found.get(bucket.id) or Rollup(bucket.id) for bucket in buckets}
            writes = [write for bucket in buckets if (write := bucket.added_to(rollups[bucket.id]))]
            if not writes or await self._rollups.write_if_unchanged(level, writes):
                # `rollups rebuild` completes a rollup without a change of its version: it must be read again.
                incomplete = {id_ for id_, rollup in found.items() if not rollup.is_complete}
                self._cache(level, {id_: rollup for id_, rollup in rollups.items() if id_ not in incomplete})
                return

    def _cache(self, level: Level, rollups: Mapping[str, Rollup]) -> None:
        cached = self._cached[level]
        for id_, rollup in rollups.items():
            rollup.note_stored()
            cached[id_] = rollup
        while len(cached) > MAX_CACHED_ROLLUPS:
            cached.popitem(last=False)


@dataclass(slots=True, eq=False)
class _Bucket:
    """A bucket of one partition, and the pending counts of the partition."""

    id: str
    level: Level
    start: int
    partition_id: PartitionId
    pending: PendingCounts

    def added_to(self, rollup: Rollup) -> ConditionalWrite | None:
        """Add the events that the rollup lacks, and return the write; None if it lacks none."""
        delta = self.pending.after(rollup.offset, self.level).get(self.start)
        if delta is None:
            return None
        expected_version = rollup.expected_version
        rollup.add(delta)
        rollup.offset = self.pending.last_offset
        return ConditionalWrite(expected_version, rollup.document())


def _active(requests: Sequence[_Request]) -> list[_Request]:
    """The requests that were not cancelled; Kafka delivers the records of the others again."""
    return [request for request in requests if not request.written.done()]


def _answer(requests: Sequence[_Request], error: BaseException | None) -> None:
    for request in _active(requests):
        if error is None:
            request.written.set_result(None)
        else:
            request.written.set_exception(error)


#: Requests by partition, in the order of their offsets.
_Group = Mapping[PartitionId, Sequence[_Request]]


def _groups(requests: Sequence[_Request]) -> Iterator[_Group]:
    """The requests in groups of up to MAX_EVENTS_TOGETHER events.

    A partition is cut only if it has more by itself, because each part can touch all of its rollups.
    """
    partitions: dict[PartitionId, list[_Request]] = {}
    for request in requests:
        partitions.setdefault(request.partition_id, []).append(request)
    group, events = dict[PartitionId, Sequence[_Request]](), 0
    for partition_id, together in partitions.items():
        for part, size in _parts(together):
            if partition_id in group or events + size > MAX_EVENTS_TOGETHER:
                yield group
                group, events = {}, 0
            group[partition_id] = part
            events += size
    yield group


def _parts(requests: Sequence[_Request]) -> Iterator[tuple[Sequence[_Request], int]]:
    """Requests of one partition in parts of up to MAX_EVENTS_TOGETHER events, and the number of the events."""
    part, events = list[_Request](), 0
    for request in requests:
        size = len(request.pending.offsets)
        if part and events + size > MAX_EVENTS_TOGETHER:
            yield part, events
            part, events = [], 0
        part.append(request)
        events += size
    yield part, events


def _chunks(buckets: Iterator[_Bucket], size: int) -> Iterator[Sequence[_Bucket]]:
    while chunk := [*islice(buckets, size)]:
        yield chunk
