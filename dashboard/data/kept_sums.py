"""The sums of the rollups of a window; chunks that have not changed are not read and summed again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from dashboard.data import chunks, rollup_sums
from dashboard.data.chunks import Chunk, KeptAnswers
from dashboard.data.rollup_sums import Sums
from streamapp.rollups.keys import CUBE, MAPS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from pymongo.database import Database

    from dashboard.model.snapshot import Filter
    from dashboard.model.time_window import Window

Document = dict[str, Any]


class WindowSums(NamedTuple):
    """The sums of the rollups of a window, and of the period before it."""

    before: Sequence[Sums]
    finished: Sequence[Sums]
    running: Sequence[Sums]
    #: The rollups, the period before included, with their buckets and stamps only.
    rollups: Mapping[Chunk, Sequence[Document]]

    @property
    def held(self) -> Collection[datetime]:
        """The buckets that have rollups."""
        return {each["bucket"] for rollups in self.rollups.values() for each in rollups}

    @property
    def n(self) -> int:
        """Events of the window, whatever the filter."""
        in_window = (rollups for chunk, rollups in self.rollups.items() if chunk.part != chunks.BEFORE)
        return sum(each.get("n", 0) for rollups in in_window for each in rollups)


def of_window(
    database: Database[dict[str, Any]],
    window: Window,
    wanted: Filter,
    numbers: Mapping[int, int],
    kept: KeptAnswers[Sums],
) -> WindowSums:
    """Return the sums of the events that pass the filter."""
    stored = database[window.level.collection]
    asked = window.level, wanted, tuple(sorted(numbers.items()))
    period = {"bucket": {"$gte": window.previous_start, "$lt": window.end}}
    present = chunks.by_chunk(chunks.read(stored, period), window)
    known = {chunk: kept.get(asked, chunks.stamps_of(rollups)) for chunk, rollups in present.items()}
    sums = {chunk: of_chunk for chunk, of_chunk in known.items() if of_chunk is not None}
    if buckets := {each["bucket"] for chunk in present if chunk not in sums for each in present[chunk]}:
        changed = chunks.read(stored, {"bucket": {"$in": [*buckets]}}, _fields(wanted))
        for chunk, rollups in chunks.by_chunk(changed, window).items():
            sums[chunk] = rollup_sums.sums(rollups, wanted, numbers)
            kept.keep(asked, chunks.stamps_of(rollups), sums[chunk])
    before, finished, running = (
        [of_chunk for chunk, of_chunk in sums.items() if chunk.part == part]
        for part in (chunks.BEFORE, chunks.FINISHED, chunks.RUNNING)
    )
    return WindowSums(before, finished, running, present)


def _fields(wanted: Filter) -> Sequence[str]:
    if not wanted:
        return (*MAPS, "users", "errors")
    # Under a filter by dimensions that are counted together, and under another one.
    return ("cells", *CUBE, "errors") if wanted.is_in_cells else ("cells", *MAPS, "errors")
