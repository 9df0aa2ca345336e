"""Add the events of settled slices to the stored rollups: once a second, in the order of each partition.

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
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Protocol

from streamapp.retry import Outages
from streamapp.rollups.levels import LEVELS, Keep, Level, kept_since
from streamapp.rollups.pending import Tally
from streamapp.rollups.rollup import Lane, Rollup, Swap, id_of

#: Seconds between two writes, at the least.
EVERY_SECONDS = 1.0
#: Rollups that are read, added to and written together …
AT_ONCE = 400
#: … and that are remembered for the next time.
REMEMBERED = 1_000


class Rollups(Protocol):
    """Where rollups are kept. All raise StoreUnavailable while MongoDB is away; all may be repeated."""

    async def load(self, level: Level, ids: Sequence[str]) -> Mapping[str, Rollup]:
        """Those of them that are stored."""
        ...

    async def swap(self, level: Level, swaps: Sequence[Swap]) -> bool:
        """Write each of them that nobody else has changed; False if that was not all."""
        ...

    async def frontier(self, lane: Lane) -> int:
        """The last offset of a lane that any rollup holds, -1 for none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    lane: Lane
    tally: Tally
    applied: asyncio.Future[None]


class Accumulator:
    """Gathers tallies and adds them to the rollups."""

    def __init__(
        self,
        rollups: Rollups,
        *,
        outages: Outages,
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
        self._remembered: OrderedDict[tuple[Level, str], Rollup] = OrderedDict()
        self._writing: asyncio.Task[None] | None = None
        self._applying = asyncio.Lock()
        self._next_at = 0.0

    def add(self, lane: Lane, tally: Tally) -> asyncio.Future[None]:
        """Enter the events of a slice, after all that lie before them; done when they are in the stored rollups."""
        applied = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(lane, tally, applied))
        self._start()
        return applied

    async def frontier(self, lane: Lane) -> int:
        """The last offset of a lane that any rollup holds, -1 for none; raises StoreUnavailable.

        What is being added for an assignment that is over comes first, or it would move the frontier afterwards.
        """
        async with self._applying:
            return await self._rollups.frontier(lane)

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
        self._next_at = time.monotonic() + EVERY_SECONDS
        batch = _present(self._waiting)
        self._waiting = [*batch]
        async with self._applying:
            await self._apply(batch)
        self._waiting = self._waiting[len(batch) :]
        _tell(batch, None)

    async def _apply(self, batch: Sequence[_Waiting]) -> None:
        tallies = _by_lane(batch)
        for tally in tallies.values():
            # To count thousands of events takes milliseconds, in which nothing else is done: one lane after the other.
            tally.after(-1, LEVELS[0])
            await asyncio.sleep(0)
        # The coarsest first: no finer one ever knows of an offset beyond those that it holds, see `frontier`.
        for level in reversed(LEVELS):
            buckets = [*self._buckets(level, tallies)]
            for chunk in _chunks(buckets, AT_ONCE):
                await self._outages.insist(lambda level=level, chunk=chunk: self._add_to(level, chunk, batch))

    def _buckets(self, level: Level, tallies: Mapping[Lane, Tally]) -> Iterator[_Bucket]:
        since = kept_since(level, self._keep, self._now())
        for lane, tally in tallies.items():
            for start in tally.after(-1, level):
                if start >= since:
                    yield _Bucket(id_of(lane, start), level, start, lane, tally)

    async def _add_to(self, level: Level, buckets: Sequence[_Bucket], batch: Sequence[_Waiting]) -> None:
        while True:
            lanes = {waiting.lane for waiting in _present(batch)}
            if not lanes:  # nor would it say anything of MongoDB to go on
                raise asyncio.CancelledError
            buckets = [bucket for bucket in buckets if bucket.lane in lanes]
            # Taken out until they are known to be stored as they are.
            held = {bucket.id: self._remembered.pop((level, bucket.id), None) for bucket in buckets}
            found = await self._rollups.load(level, [id_ for id_, rollup in held.items() if rollup is None])
            rollups = {bucket.id: held[bucket.id] or found.get(bucket.id) or Rollup(bucket.id) for bucket in buckets}
            swaps = [swap for bucket in buckets if (swap := bucket.swap(rollups[bucket.id]))]
            if not swaps or await self._rollups.swap(level, swaps):
                self._remember(level, rollups)
                return

    def _remember(self, level: Level, rollups: Mapping[str, Rollup]) -> None:
        for id_, rollup in rollups.items():
            rollup.note_stored()
            self._remembered[level, id_] = rollup
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Bucket:
    """A bucket of one lane, and the lane's events."""

    id: str
    level: Level
    start: int
    lane: Lane
    tally: Tally

    def swap(self, rollup: Rollup) -> Swap | None:
        """Add the events that the rollup lacks; None if it has them all."""
        deltas = self.tally.after(rollup.offset, self.level).get(self.start)
        if not deltas:
            return None
        guard = rollup.guard
        rollup.add(deltas)
        rollup.offset = self.tally.last_offset
        return Swap(guard, rollup.document())


def _present(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """Without those that have gone, having lost their partition: what they entered comes again."""
    return [each for each in waiting if not each.applied.done()]


def _tell(waiting: Sequence[_Waiting], error: BaseException | None) -> None:
    for each in _present(waiting):
        if error is None:
            each.applied.set_result(None)
        else:
            each.applied.set_exception(error)


def _by_lane(batch: Sequence[_Waiting]) -> dict[Lane, Tally]:
    tallies: dict[Lane, list[Tally]] = {}
    for waiting in batch:
        tallies.setdefault(waiting.lane, []).append(waiting.tally)
    return {lane: Tally.joined(together) for lane, together in tallies.items()}


def _chunks(buckets: Sequence[_Bucket], size: int) -> Iterator[Sequence[_Bucket]]:
    remaining = iter(buckets)
    while chunk := [*islice(remaining, size)]:
        yield chunk
