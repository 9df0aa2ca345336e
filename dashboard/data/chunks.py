"""Chunks of neighbouring buckets, and what was found in them: only chunks that have changed are read again.

A chunk has changed if its rollups have another number of events or another last offset than before. `rollups rebuild`
can correct a rollup without changing these, and MongoDB can delete events and keep their rollups, so nothing is kept
for longer than MOST_SECONDS.
"""

from __future__ import annotations

import math
import random
import time
from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from dashboard.model.time_window import from_ms, to_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from pymongo.collection import Collection as Stored

    from dashboard.model.time_window import Window

#: An answer is kept for a time between these, so that not all of them are read again by the same refresh.
LEAST_SECONDS, MOST_SECONDS = 60.0, 120.0
#: Chunks whose answers are kept: those of some fifty queries.
MOST_KEPT = 2_000
#: Buckets of a chunk.
BUCKETS = 8
#: What tells whether a rollup has changed.
STAMP = ("offset", "n", "apart")

Document = dict[str, Any]
Answer = TypeVar("Answer")
#: The `_id` of each rollup of a chunk, and its stamp.
Stamps = frozenset[tuple[Any, ...]]


class Chunk(NamedTuple):
    """Where a chunk is: the part of the window that it belongs to, and its number since 1970."""

    part: int
    number: int


#: The parts: the period before the window, its finished buckets, and the unfinished one.
BEFORE, FINISHED, RUNNING = range(3)


class KeptAnswers(Generic[Answer]):
    """What was found in chunks, for all visitors."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, most: int = MOST_KEPT) -> None:
        self._monotonic = monotonic
        self._most = most
        self._lock = Lock()
        #: By what was asked of which rollups: until when they may be used, the stamps, and the answers.
        self._kept: OrderedDict[Hashable, tuple[float, Stamps, Answer]] = OrderedDict()

    def get(self, asked: Hashable, stamps: Stamps) -> Answer | None:
        """Return what was found in a chunk, None if it must be read."""
        with self._lock:
            until, known, answer = self._kept.get((asked, _ids(stamps)), (-math.inf, None, None))
            return answer if known == stamps and self._monotonic() < until else None

    def keep(self, asked: Hashable, stamps: Stamps, answer: Answer) -> None:
        """Keep what was found in a chunk; the stamps are of the same time or from before."""
        seconds = random.uniform(LEAST_SECONDS, MOST_SECONDS)  # noqa: S311 - not a secret
        key, now = (asked, _ids(stamps)), self._monotonic()
        with self._lock:
            self._kept[key] = now + seconds, stamps, answer
            self._kept.move_to_end(key)
            while len(self._kept) > self._most or next(iter(self._kept.values()))[0] <= now:
                self._kept.popitem(last=False)


def _ids(stamps: Stamps) -> frozenset[Any]:
    return frozenset(rollup_id for rollup_id, *_ in stamps)


def read(stored: Stored[dict[str, Any]], query: Mapping[str, Any], fields: Sequence[str] = ()) -> list[Document]:
    """Return the rollups that match, each with its bucket and stamp."""
    found = [*stored.find(query, dict.fromkeys((*fields, *STAMP), 1))]
    buckets: dict[str, datetime] = {}
    for rollup in found:
        # From the `_id`, and once for all partitions: to decode a Date costs more than the rest of a rollup.
        ms = rollup["_id"].rpartition(":")[2]
        rollup["bucket"] = buckets.get(ms) or buckets.setdefault(ms, from_ms(int(ms)))
    return found


def by_chunk(rollups: Iterable[Document], window: Window) -> dict[Chunk, list[Document]]:
    """Return the rollups of each chunk."""
    chunks: dict[datetime, Chunk] = {}
    found: dict[Chunk, list[Document]] = {}
    for rollup in rollups:
        bucket = rollup["bucket"]
        chunk = chunks.get(bucket) or chunks.setdefault(bucket, chunk_of(bucket, window))
        found.setdefault(chunk, []).append(rollup)
    return found


def chunk_of(bucket: datetime, window: Window) -> Chunk:
    """Return the chunk of a bucket."""
    part = BEFORE if bucket < window.start else FINISHED if bucket < window.finished_end else RUNNING
    return Chunk(part, to_ms(bucket) // window.level.width_ms // BUCKETS)


def stamps_of(rollups: Collection[Document]) -> Stamps:
    """Return the stamps of rollups."""
    return frozenset((each["_id"], *(each.get(name) for name in STAMP)) for each in rollups)
