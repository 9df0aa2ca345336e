"""A range of buckets: its stored rollups, compared with the rollups that the stored events give."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import pymongo

from streamapp.model.record import PartitionId
from streamapp.model.user_event import TIME
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.rollups.keys import Document
from streamapp.rollups.levels import Level
from streamapp.rollups.recount import PROJECTION, Recount, difference, shortfall
from streamapp.rollups.rollup import ConditionalWrite, Rollup

#: Events in memory at the same time.
MAX_EVENTS_PER_READ = 5_000
MAX_ATTEMPTS = 20

_TOPIC_ID = re.compile(r"[A-Za-z0-9_-]{22}")

#: The start of the first bucket and the end of the last, epoch ms.
Span = tuple[int, int]
#: A rollup's level and `_id`.
RollupKey = tuple[Level, str]
StoredRollups = Mapping[RollupKey, Rollup]


class ConcurrentChange(Exception):  # noqa: N818 - no error
    """The stored rollups have changed in a way that cannot be followed from here: compare the range again."""


class Difference(NamedTuple):
    """A rollup that differs from the events."""

    key: RollupKey
    why: str
    stored: Rollup | None
    #: None: no rollup must be stored.
    wanted: Rollup | None
    #: Whether `wanted` is the right rollup: not if events of the bucket were deleted because of their age.
    is_repairable: bool = True

    @property
    def partition_id(self) -> PartitionId:
        """The partition of the rollup."""
        return Rollup(self.key[1]).partition_id


class BucketRange:
    """The buckets within a span per level.

    A partition whose events a worker will count has a bound: the last offset that the worker has settled, or, if no
    worker runs, the last that is committed. Every rollup of the partition holds all events up to the bound; a rollup
    with a higher offset holds all events up to that offset.

    Args:
        mongo: the database.
        rollups: its rollups.
        spans: the span of each level.
        recount: the counts of the events in these buckets; of a partition with a bound, of the events up to it.
        bounds: the bounds of the partitions that have one.
        complete_since: returns the time (epoch ms) since when no event was deleted because of its age, as of now. A
            rollup of an earlier bucket may count more events than are stored; it must not count fewer.
    """

    def __init__(  # noqa: PLR0913 - what is compared
        self,
        mongo: Mongo,
        rollups: RollupStore,
        *,
        spans: Mapping[Level, Span],
        recount: Recount,
        bounds: Mapping[PartitionId, int],
        complete_since: Callable[[], int],
    ) -> None:
        self._events = mongo.primary["events"]
        self._rollups = rollups
        self._spans = spans
        self._recount = recount
        self._bounds = bounds
        self._complete_since = complete_since
        #: Of a partition with events above its bound: the offset up to which they are counted, and the counts.
        self._ahead: dict[PartitionId, tuple[int, Recount]] = {}
        #: The number of rollups that are stored or should be; of these, the number that may count deleted events.
        self.size = self.aged_out = 0

    def compare(self, only: Collection[RollupKey] | None = None) -> list[Difference]:
        """Return the rollups that differ from the events; reads the events above the bounds where rollups hold them.

        Args:
            only: the rollups to compare; all of them by default.

        Raises:
            ConcurrentChange: workers change the rollups faster than they can be read.
        """
        stored, out_of_order = self._read()
        keys = {*stored, *self._keys(self._recount.with_out_of_order(out_of_order))}
        self.size = len(keys)
        every_key, keys = keys, keys if only is None else keys & {*only}
        ahead = {key for key in keys if key in stored and stored[key].offset > self._bound(stored[key])}
        wanted = _chosen(keys - ahead, self._recount.with_out_of_order(out_of_order))
        for (partition_id, offset), together in sorted(_by_offset(ahead, stored).items()):
            counted = self._counted_up_to(partition_id, offset).with_out_of_order(out_of_order)
            # Copies: this recount continues to the next offset, at which others of these rollups can be.
            wanted |= {key: rollup and rollup.copy() for key, rollup in _chosen(together, counted).items()}
        # After all reads: MongoDB may have deleted events meanwhile.
        since = self._complete_since()
        self.aged_out = sum(Rollup(id_).bucket_ms < since for _, id_ in every_key)
        return [*_differences(wanted, stored, since)]

    def repair(self, differences: Sequence[Difference]) -> Collection[RollupKey]:
        """Write or delete these rollups; return those that another process has changed since they were read."""
        writes = {each.key: self._write_for(each) for each in differences}
        for level in self._spans:
            of_level = [(each, writes[each.key]) for each in differences if each.key[0] is level]
            self._rollups.write(level, [write for _, write in of_level if write])
            self._rollups.remove(level, [each.stored for each, write in of_level if each.stored and not write])
        stored, _ = self._read()
        return [key for key, write in writes.items() if not _is_done(stored.get(key), write)]

    def _write_for(self, each: Difference) -> ConditionalWrite | None:
        """The write that repairs a rollup; None if it must be deleted."""
        if each.wanted is None:
            return None
        bound, stored = self._bounds.get(each.partition_id, -1), each.stored
        offset = max(each.wanted.offset, bound, stored.offset if stored else -1)
        version = stored.expected_version if stored else None
        return ConditionalWrite(version, {**each.wanted.document(), "offset": offset})

    def _read(self) -> tuple[StoredRollups, Sequence[Document]]:
        """The stored rollups, and the events that they count out of order."""
        for _ in range(MAX_ATTEMPTS):
            before = [*self._out_of_order()]
            stored = {
                (level, id_): rollup
                for level, span in self._spans.items()
                for id_, rollup in self._rollups.between(level, *span).items()
            }
            if before == (out_of_order := [*self._out_of_order()]):
                return stored, out_of_order
        raise ConcurrentChange

    def _out_of_order(self) -> Iterable[Document]:
        start, end = self._time_span()
        return self._events.find({TIME: {"$gte": start, "$lt": end}, "kafka.apart": True}, PROJECTION)

    def _keys(self, recount: Recount) -> Iterator[RollupKey]:
        for level, rollups in recount.rollups.items():
            start, end = self._spans[level]
            yield from ((level, id_) for id_, rollup in rollups.items() if start <= rollup.bucket_ms < end)

    def _bound(self, rollup: Rollup) -> int:
        return self._bounds.get(rollup.partition_id, rollup.offset)

    def _counted_up_to(self, partition_id: PartitionId, offset: int) -> Recount:
        if not _TOPIC_ID.fullmatch(partition_id.topic_id):
            raise ConcurrentChange  # without a topic id, the offset does not give the `_id` of an event
        reached, recount = self._ahead.get(partition_id) or (self._bounds[partition_id], self._recount.copy())
        if offset < reached:
            raise ConcurrentChange
        start, end = self._time_span()
        ids = iter(
            f"{partition_id.topic_id}-{partition_id.partition}-{each}" for each in range(reached + 1, offset + 1)
        )
        while chunk := [*islice(ids, MAX_EVENTS_PER_READ)]:
            events = self._events.find({"_id": {"$in": chunk}, "kafka.apart": {"$ne": True}}, PROJECTION)
            recount.add([event for event in events if start <= event[TIME] < end], {})
        self._ahead[partition_id] = offset, recount
        return recount

    def _time_span(self) -> Span:
        return min(start for start, _ in self._spans.values()), max(end for _, end in self._spans.values())


def events_between(mongo: Mongo, start_ms: int, end_ms: int) -> Iterator[Sequence[Document]]:
    """The events that were counted in order, by event time, in chunks."""
    query = {TIME: {"$gte": start_ms, "$lt": end_ms}, "kafka.apart": {"$ne": True}}
    by_time = [(TIME, pymongo.ASCENDING)]
    with mongo.primary["events"].find(query, PROJECTION, sort=by_time, allow_disk_use=True) as found:
        found.batch_size(MAX_EVENTS_PER_READ)
        while events := [*islice(found, MAX_EVENTS_PER_READ)]:
            yield events


def _chosen(keys: Iterable[RollupKey], recount: Recount) -> dict[RollupKey, Rollup | None]:
    return {(level, id_): recount.rollups[level].get(id_) for level, id_ in keys}


def _differences(
    all_wanted: Mapping[RollupKey, Rollup | None], stored: StoredRollups, complete_since: int
) -> Iterator[Difference]:
    for key, wanted in all_wanted.items():
        actual = stored.get(key)
        is_complete = Rollup(key[1]).bucket_ms >= complete_since
        if why := (difference if is_complete else shortfall)(actual, wanted):
            yield Difference(key, why, actual, wanted and wanted.copy(), is_repairable=is_complete or actual is None)


def _by_offset(keys: Iterable[RollupKey], stored: StoredRollups) -> dict[tuple[PartitionId, int], list[RollupKey]]:
    found: dict[tuple[PartitionId, int], list[RollupKey]] = {}
    for key in keys:
        found.setdefault((stored[key].partition_id, stored[key].offset), []).append(key)
    return found


def _is_done(stored: Rollup | None, write: ConditionalWrite | None) -> bool:
    if stored is None or write is None:
        return stored is None and write is None
    return stored.expected_version == (write.document["offset"], write.document["n"])
