"""Some buckets side by side: the rollups that are stored there, and those that the stored events make."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import pymongo

from streamapp.mongodb.client import Mongo
from streamapp.mongodb.rollup_store import Rollups
from streamapp.rollups.levels import Level
from streamapp.rollups.recount import FIELDS, Recount, difference
from streamapp.rollups.rollup import Document, Lane, Rollup, Swap

#: Events that are read at the same time.
READ_AT_ONCE = 5_000
ATTEMPTS = 20

_INCARNATION = re.compile(r"[A-Za-z0-9_-]{22}")

#: The first bucket and the end, epoch ms.
Span = tuple[int, int]
#: A rollup's level and `_id`.
Key = tuple[Level, str]
Stored = Mapping[Key, Rollup]


class Stale(Exception):  # noqa: N818 - no error
    """More has changed meanwhile than can be made out from here: begin anew."""


class Difference(NamedTuple):
    """A rollup that is not as the events say."""

    key: Key
    why: str
    stored: Rollup | None
    #: None: there must be none.
    wanted: Rollup | None

    @property
    def lane(self) -> Lane:
        """Whose rollup it is."""
        return Rollup(self.key[1]).lane


class Stretch:
    """The buckets of some spans, one per level.

    A lane that a worker holds has a bound, the last offset that it has settled: every rollup of the lane holds all
    events up to it, and one with a later offset holds all up to that.

    Args:
        recount: the events of these buckets; of a lane with a bound, those up to it.
    """

    def __init__(
        self,
        mongo: Mongo,
        rollups: Rollups,
        *,
        spans: Mapping[Level, Span],
        recount: Recount,
        bounds: Mapping[Lane, int],
    ) -> None:
        self._events = mongo.primary["events"]
        self._rollups = rollups
        self._spans = spans
        self._recount = recount
        self._bounds = bounds
        #: Of a lane with later offsets: how far its events are counted, and the count.
        self._ahead: dict[Lane, tuple[int, Recount]] = {}
        #: How many rollups there are and should be.
        self.size = 0

    def compare(self, only: Collection[Key] | None = None) -> list[Difference]:
        """Read the stored rollups, and the events that they may hold beyond what is counted; tell what is wrong.

        Raises:
            Stale: they are changed faster than they can be read.
        """
        stored, apart = self._read()
        keys = {*stored, *self._keys(self._recount.with_apart(apart))}
        self.size = len(keys)
        keys = keys if only is None else keys & {*only}
        later = {key for key in keys if key in stored and stored[key].offset > self._bound(stored[key])}
        found = _differences(keys - later, stored, self._recount.with_apart(apart))
        for (lane, offset), together in sorted(_by_offset(later, stored).items()):
            found += _differences(together, stored, self._counted_up_to(lane, offset).with_apart(apart))
        return found

    def mend(self, differences: Sequence[Difference]) -> Collection[Key]:
        """Write what must be there; return where somebody else was faster."""
        swaps = {each.key: self._swap(each) for each in differences}
        for level in self._spans:
            ours = [(each, swaps[each.key]) for each in differences if each.key[0] is level]
            self._rollups.write(level, [swap for _, swap in ours if swap])
            self._rollups.remove(level, [each.stored for each, swap in ours if each.stored and not swap])
        stored, _ = self._read()
        return [key for key, swap in swaps.items() if not _is_done(stored.get(key), swap)]

    def _swap(self, each: Difference) -> Swap | None:
        if each.wanted is None:
            return None
        offset = max(each.wanted.offset, self._bounds.get(each.lane, -1), each.stored.offset if each.stored else -1)
        return Swap(each.stored.guard if each.stored else None, {**each.wanted.document(), "offset": offset})

    def _read(self) -> tuple[Stored, Sequence[Document]]:
        """The stored rollups, and the events that were counted in them out of their turn."""
        for _ in range(ATTEMPTS):
            before = [*self._apart()]
            stored = {
                (level, id_): rollup
                for level, span in self._spans.items()
                for id_, rollup in self._rollups.between(level, *span).items()
            }
            if before == (apart := [*self._apart()]):
                return stored, apart
        raise Stale

    def _apart(self) -> Iterable[Document]:
        start, end = self._time()
        return self._events.find({"event_timestamp": {"$gte": start, "$lt": end}, "kafka.apart": True}, FIELDS)

    def _keys(self, recount: Recount) -> Iterator[Key]:
        for level, rollups in recount.rollups.items():
            start, end = self._spans[level]
            yield from ((level, id_) for id_, rollup in rollups.items() if start <= rollup.bucket_ms < end)

    def _bound(self, rollup: Rollup) -> int:
        return self._bounds.get(rollup.lane, rollup.offset)

    def _counted_up_to(self, lane: Lane, offset: int) -> Recount:
        if not _INCARNATION.fullmatch(lane.life):
            raise Stale  # the `_id` of its events cannot be told from their offset
        reached, recount = self._ahead.get(lane) or (self._bounds[lane], self._recount.copy())
        if offset < reached:
            raise Stale
        start, end = self._time()
        ids = iter(f"{lane.life}-{lane.partition}-{each}" for each in range(reached + 1, offset + 1))
        while some := [*islice(ids, READ_AT_ONCE)]:
            events = self._events.find({"_id": {"$in": some}, "kafka.apart": {"$ne": True}}, FIELDS)
            recount.add([event for event in events if start <= event["event_timestamp"] < end], {})
        self._ahead[lane] = offset, recount
        return recount

    def _time(self) -> Span:
        return min(start for start, _ in self._spans.values()), max(end for _, end in self._spans.values())


def events_between(mongo: Mongo, start_ms: int, end_ms: int) -> Iterator[Sequence[Document]]:
    """The events that came in their turn, by event time, some at a time."""
    query = {"event_timestamp": {"$gte": start_ms, "$lt": end_ms}, "kafka.apart": {"$ne": True}}
    by_time = [("event_timestamp", pymongo.ASCENDING)]
    with mongo.primary["events"].find(query, FIELDS, sort=by_time, allow_disk_use=True) as found:
        found.batch_size(READ_AT_ONCE)
        while events := [*islice(found, READ_AT_ONCE)]:
            yield events


def _differences(keys: Iterable[Key], stored: Stored, recount: Recount) -> list[Difference]:
    found: list[Difference] = []
    for level, id_ in keys:
        there, wanted = stored.get((level, id_)), recount.rollups[level].get(id_)
        if why := difference(there, wanted):
            found.append(Difference((level, id_), why, there, wanted and wanted.copy()))
    return found


def _by_offset(keys: Iterable[Key], stored: Stored) -> dict[tuple[Lane, int], list[Key]]:
    found: dict[tuple[Lane, int], list[Key]] = {}
    for key in keys:
        found.setdefault((stored[key].lane, stored[key].offset), []).append(key)
    return found


def _is_done(stored: Rollup | None, swap: Swap | None) -> bool:
    if stored is None or swap is None:
        return stored is None and swap is None
    return stored.guard == (swap.document["offset"], swap.document["n"])
