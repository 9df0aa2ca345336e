"""Add the events of settled batches to the stored rollups: once a second, in the order of each partition.

An event counts in a rollup if it lies past the rollup's `offset`. The rollup is read, added to, and written back if its
`offset` and `n` are still those that were read (compare and set); otherwise it is read again. So an event that comes
again, after a crash or at a second worker that believes that it owns the partition, is not counted twice.
None is left out as long as all that lies before it in its partition is added before it: whoever calls sees to that.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Protocol

from streamapp.errors import AssignmentLost
from streamapp.model.record import PartitionId
from streamapp.retry import OutageRetrier
from streamapp.rollups.keys import id_of
from streamapp.rollups.levels import LEVELS, Keep, Level, kept_since
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.rollup import ConditionalWrite, Rollup

#: Seconds between two writes, at the least.
WRITE_INTERVAL_SECONDS = 1.0
#: Rollups that are read, added to and written together …
MAX_ROLLUPS_PER_WRITE = 400
#: … and that are remembered for the next time.
MAX_CACHED_ROLLUPS = 1_000


class RollupPort(Protocol):
    """Where rollups are kept. All raise StoreUnavailable while MongoDB is away; all may be repeated."""

    async def load(self, level: Level, ids: Sequence[str]) -> Mapping[str, Rollup]:
        """Those of them that are stored."""
        ...

    async def write_if_unchanged(self, level: Level, writes: Sequence[ConditionalWrite]) -> bool:
        """Write each of them that nobody else has changed; False if that was not all."""
        ...

    async def high_watermark(self, partition_id: PartitionId) -> int:
        """The last offset of a partition that any rollup holds, -1 for none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    partition_id: PartitionId
    pending: PendingCounts
    applied: asyncio.Future[None]


class RollupWriter:
    """Gathers pending counts and adds them to the rollups."""

    def __init__(
        self,
        rollups: RollupPort,
        *,
        outages: OutageRetrier,
        keep: Keep,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rollups = rollups
        self._outages = outages
        self._keep = keep
        self._now = now
        self._sleep = sleep
        self._waiting: list[_Waiting] = []
        # By level too: the first bucket of one has the `_id` of the wider one's.
        self._cached: OrderedDict[tuple[Level, str], Rollup] = OrderedDict()
        self._writing: asyncio.Task[None] | None = None
        self._applying = asyncio.Lock()
        self._next_at = 0.0

    def add(self, partition_id: PartitionId, pending: PendingCounts) -> asyncio.Future[None]:
        """Enter the events of a batch, after all that lie before them; done when they are in the stored rollups."""
        applied = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(partition_id, pending, applied))
        self._start()
        return applied

    async def high_watermark(self, partition_id: PartitionId) -> int:
        """The last offset of a partition that any rollup holds, -1 for none; raises StoreUnavailable.

        What is being added for an assignment that is over comes first, or it would move the high watermark afterwards.
        """
        async with self._applying:
            return await self._rollups.high_watermark(partition_id)

    def _start(self) -> None:
        if self._waiting and self._writing is None:
            self._writing = asyncio.create_task(self._write())
            self._writing.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled() and (error := task.exception()):
            _tell(self._waiting, error)
            self._waiting = []
        self._start()

    async def _write(self) -> None:
        await self._sleep(max(0.0, self._next_at - time.monotonic()))
        self._next_at = time.monotonic() + WRITE_INTERVAL_SECONDS
        batch = _present(self._waiting)
        self._waiting = [*batch]
        with suppress(AssignmentLost):  # then nobody waits for this batch
            async with self._applying:
                await self._apply(batch)
        self._waiting = self._waiting[len(batch) :]
        _tell(batch, None)

    async def _apply(self, batch: Sequence[_Waiting]) -> None:
        pending_counts = _by_partition(batch)
        for pending in pending_counts.values():
            # Counting thousands of events blocks the event loop for milliseconds: yield after each partition.
            pending.after(-1, LEVELS[0])
            await asyncio.sleep(0)
        # The coarsest first: no finer one ever knows of an offset beyond those that it holds, see `high watermark`.
        for level in reversed(LEVELS):
            buckets = [*self._buckets(level, pending_counts)]
            for chunk in _chunks(buckets, MAX_ROLLUPS_PER_WRITE):
                await self._outages.run(lambda level=level, chunk=chunk: self._add_to(level, chunk, batch))

    def _buckets(self, level: Level, pending_counts: Mapping[PartitionId, PendingCounts]) -> Iterator[_Bucket]:
        since = kept_since(level, self._keep, self._now())
        for partition_id, pending in pending_counts.items():
            for start in pending.after(-1, level):
                if start >= since:
                    yield _Bucket(id_of(partition_id, start), level, start, partition_id, pending)

    async def _add_to(self, level: Level, buckets: Sequence[_Bucket], batch: Sequence[_Waiting]) -> None:
        while True:
            partition_ids = {waiting.partition_id for waiting in _present(batch)}
            if not partition_ids:  # an error, not a return: no call has shown that MongoDB is reachable again
                raise AssignmentLost("all batches whose events were to be counted are cancelled")
            buckets = [bucket for bucket in buckets if bucket.partition_id in partition_ids]
            # Taken out until they are known to be stored as they are.
            held = {bucket.id: self._cached.pop((level, bucket.id), None) for bucket in buckets}
            found = await self._rollups.load(level, [id_ for id_, rollup in held.items() if rollup is None])
            rollups = {bucket.id: held[bucket.id] or found.get(bucket.id) or Rollup(bucket.id) for bucket in buckets}
            writes = [
                write_if_unchanged
                for bucket in buckets
                if (write_if_unchanged := bucket.write_if_unchanged(rollups[bucket.id]))
            ]
            if not writes or await self._rollups.write_if_unchanged(level, writes):
                self._cache(level, rollups)
                return

    def _cache(self, level: Level, rollups: Mapping[str, Rollup]) -> None:
        for id_, rollup in rollups.items():
            rollup.note_stored()
            self._cached[level, id_] = rollup
        while len(self._cached) > MAX_CACHED_ROLLUPS:
            self._cached.popitem(last=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Bucket:
    """A bucket of one partition, and the partition's events."""

    id: str
    level: Level
    start: int
    partition_id: PartitionId
    pending: PendingCounts

    def write_if_unchanged(self, rollup: Rollup) -> ConditionalWrite | None:
        """Add the events that the rollup lacks; None if it has them all."""
        deltas = self.pending.after(rollup.offset, self.level).get(self.start)
        if not deltas:
            return None
        expected_version = rollup.expected_version
        rollup.add(deltas)
        rollup.offset = self.pending.last_offset
        return ConditionalWrite(expected_version, rollup.document())


def _present(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """Without those that have gone, having lost their partition: what they entered comes again."""
    return [each for each in waiting if not each.applied.done()]


def _tell(waiting: Sequence[_Waiting], error: BaseException | None) -> None:
    for each in _present(waiting):
        if error is None:
            each.applied.set_result(None)
        else:
            each.applied.set_exception(error)


def _by_partition(batch: Sequence[_Waiting]) -> dict[PartitionId, PendingCounts]:
    pending_counts: dict[PartitionId, list[PendingCounts]] = {}
    for waiting in batch:
        pending_counts.setdefault(waiting.partition_id, []).append(waiting.pending)
    return {partition_id: PendingCounts.joined(together) for partition_id, together in pending_counts.items()}


def _chunks(buckets: Sequence[_Bucket], size: int) -> Iterator[Sequence[_Bucket]]:
    remaining = iter(buckets)
    while chunk := [*islice(remaining, size)]:
        yield chunk
