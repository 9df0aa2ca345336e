"""Adds events to the stored rollups for a writer that has its partitions to itself and never stops half-way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from streamapp.rollup import LEVELS, Keep, Lane, Level, Rollup, Swap, id_of, kept_since
from streamapp.rollups import Rollups
from streamapp.tally import Delta, Tally


class Counter:
    """Writes at once what it is given; events must come in the order of their time."""

    def __init__(self, rollups: Rollups, *, keep: Keep) -> None:
        self._rollups = rollups
        self._keep = keep
        #: The last one of each level and lane, which is not full yet.
        self._open: dict[tuple[Level, Lane], Rollup] = {}

    async def add(self, lane: Lane, tally: Tally) -> None:
        """Count the events of a lane that follow those before."""
        for level in LEVELS:
            since = kept_since(level, self._keep, datetime.now(UTC))
            # The last one must come last.
            found = sorted(tally.after(-1, level).items())
            buckets = {id_of(lane, start): deltas for start, deltas in found if start >= since}
            if buckets:
                await self._add(level, lane, buckets, tally.last_offset)

    async def _add(self, level: Level, lane: Lane, buckets: dict[str, Sequence[Delta]], offset: int) -> None:
        first, *_ = buckets
        before = self._open.get((level, lane)) or (await self._rollups.load(level, [first])).get(first)
        rollups = [before if before and before.id == id_ else Rollup(id_) for id_ in buckets]
        swaps = [_swap(rollup, deltas, offset) for rollup, deltas in zip(rollups, buckets.values(), strict=True)]
        if not await self._rollups.swap(level, swaps):
            raise AssertionError(f"somebody else counts in {level.collection}")
        self._open[level, lane] = rollups[-1]


def _swap(rollup: Rollup, deltas: Iterable[Delta], offset: int) -> Swap:
    guard = rollup.guard
    rollup.add(deltas)
    rollup.offset = offset
    return Swap(guard, rollup.document())
