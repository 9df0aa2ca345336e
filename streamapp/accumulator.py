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
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Protocol

from streamapp.retry import Outages
from streamapp.rollup import LEVELS, Delta, Lane, Level, Rollup, Tally, id_of

#: Seconds between two writes, at the least.
EVERY_SECONDS = 1.0
#: Rollups that are read, added to and written together …
AT_ONCE = 400
#: … and that are remembered for the next time.
REMEMBERED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A rollup's new document, and the offset and number of events that must still be stored for it to be written."""

    document: dict[str, Any]
    #: None: it must not be stored yet.
    guard: tuple[int, int] | None


class Rollups(Protocol):
    """Where rollups are kept. All raise StoreUnavailable while MongoDB is away; all may be repeated."""

    async def load(self, level: Level, ids: Sequence[str]) -> Mapping[str, Rollup]:
        """Those of them that are stored."""
        ...

    async def swap(self, level: Level, swaps: Sequence[Swap]) -> bool:
        """Write each of them that nobody else has changed; False if that was not all."""
        ...


#: How long each level is kept; what is older is not counted there.
Keep = Mapping[Level, timedelta | None]


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
        self._remembered: OrderedDict[str, Rollup] = OrderedDict()
        self._writing: asyncio.Task[None] | None = None
        self._next_at = 0.0

    def add(self, lane: Lane, tally: Tally) -> asyncio.Future[None]:
        """Enter the events of a slice, after all that lie before them; done when they are in the stored rollups."""
        applied = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(lane, tally, applied))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
            self._writing.add_done_callback(self._written)
        return applied

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled() and (error := task.exception()):
            for waiting in self._waiting:
                if not waiting.applied.done():
                    waiting.applied.set_exception(error)

    async def _write(self) -> None:
        while self._waiting:
            await self._sleep(max(0.0, self._next_at - time.monotonic()))
            self._next_at = time.monotonic() + EVERY_SECONDS
            # Whoever has gone has lost its partition: what it entered comes again.
            self._waiting = [waiting for waiting in self._waiting if not waiting.applied.done()]
            batch = [*self._waiting]
            await self._apply(_by_lane(batch))
            del self._waiting[: len(batch)]
            for waiting in batch:
                if not waiting.applied.done():
                    waiting.applied.set_result(None)

    async def _apply(self, tallies: Mapping[Lane, Tally]) -> None:
        # The coarsest first: no finer one ever knows of an offset beyond those that it holds, see `frontier`.
        for level in reversed(LEVELS):
            buckets = [*self._buckets(level, tallies)]
            for chunk in _chunks(buckets, AT_ONCE):
                await self._outages.insist(lambda level=level, chunk=chunk: self._add_to(level, chunk))

    def _buckets(self, level: Level, tallies: Mapping[Lane, Tally]) -> Iterator[_Bucket]:
        keep = self._keep.get(level)
        oldest = None if keep is None else level.start_of(int((self._now() - keep).timestamp() * 1000))
        for lane, tally in tallies.items():
            for start in {level.start_of(minute) for minute in tally.minutes}:
                if oldest is None or start > oldest:
                    yield _Bucket(id_of(lane, start), level, start, tally)

    async def _add_to(self, level: Level, buckets: Sequence[_Bucket]) -> None:
        while True:
            # Taken out until they are known to be stored as they are.
            held = {bucket.id: self._remembered.pop(bucket.id, None) for bucket in buckets}
            found = await self._rollups.load(level, [id_ for id_, rollup in held.items() if rollup is None])
            rollups = {bucket.id: held[bucket.id] or found.get(bucket.id) or Rollup(bucket.id) for bucket in buckets}
            swaps = [swap for bucket in buckets if (swap := bucket.swap(rollups[bucket.id]))]
            if not swaps or await self._rollups.swap(level, swaps):
                self._remember(rollups)
                return

    def _remember(self, rollups: Mapping[str, Rollup]) -> None:
        self._remembered.update({id_: rollup for id_, rollup in rollups.items() if rollup.n})
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Bucket:
    """A bucket of one lane, and the lane's events."""

    id: str
    level: Level
    start: int
    tally: Tally

    def swap(self, rollup: Rollup) -> Swap | None:
        """Add the events that the rollup lacks; None if it has them all."""
        deltas = [*self._past(rollup.offset)]
        if not deltas:
            return None
        guard = rollup.guard if rollup.n else None
        rollup.add(deltas)
        rollup.offset = self.tally.last_offset
        return Swap(document=rollup.document(), guard=guard)

    def _past(self, offset: int) -> Iterator[Delta]:
        for minute, delta in self.tally.after(offset).items():
            if self.level.start_of(minute) == self.start:
                yield delta


def _by_lane(batch: Sequence[_Waiting]) -> dict[Lane, Tally]:
    tallies: dict[Lane, list[Tally]] = {}
    for waiting in batch:
        tallies.setdefault(waiting.lane, []).append(waiting.tally)
    return {lane: Tally.joined(together) for lane, together in tallies.items()}


def _chunks(buckets: Sequence[_Bucket], size: int) -> Iterator[Sequence[_Bucket]]:
    remaining = iter(buckets)
    while chunk := [*islice(remaining, size)]:
        yield chunk
