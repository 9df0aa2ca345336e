"""Some buckets side by side: the rollups that are stored there, and those that the stored events make."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import pymongo

from streamapp.model.record import PartitionId
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.rollups.keys import Document
from streamapp.rollups.levels import Level
from streamapp.rollups.recount import FIELDS, Recount, difference
from streamapp.rollups.rollup import ConditionalWrite, Rollup

#: Events that are read at the same time.
READ_AT_ONCE = 5_000
ATTEMPTS = 20

_INCARNATION = re.compile(r"[A-Za-z0-9_-]{22}")

#: The first bucket and the end, epoch ms.
Span = tuple[int, int]
#: A rollup's level and `_id`.
Key = tuple[Level, str]
Stored = Mapping[Key, Rollup]


class ConcurrentChange(Exception):  # noqa: N818 - no error
    """More has changed meanwhile than can be made out from here: begin again."""


class Difference(NamedTuple):
    """A rollup that is not as the events say."""

    key: Key
    why: str
    stored: Rollup | None
    #: None: there must be none.
    wanted: Rollup | None

    @property
    def partition_id(self) -> PartitionId:
        """Whose rollup it is."""
        return Rollup(self.key[1]).partition_id


class BucketRange:
    """The buckets of some spans, one per level.

    A partition that a worker holds has a bound: the last offset that the worker has settled. Every rollup of the
    partition holds all events up to it; a rollup with a later offset holds all events up to that offset.

    Args:
        recount: the events of these buckets; of a partition with a bound, those up to it.
    """

    def __init__(
        self,
        mongo: Mongo,
        rollups: RollupStore,
        *,
        spans: Mapping[Level, Span],
        recount: Recount,
        bounds: Mapping[PartitionId, int],
    ) -> None:
        self._events = mongo.primary["events"]
        self._rollups = rollups
        self._spans = spans
        self._recount = recount
        self._bounds = bounds
        #: Of a partition with later offsets: how far its events are counted, and the count.
        self._ahead: dict[PartitionId, tuple[int, Recount]] = {}
        #: How many rollups there are and should be.
        self.size = 0

    def compare(self, only: Collection[Key] | None = None) -> list[Difference]:
        """Read the stored rollups, and the events that they may hold beyond what is counted; tell what is wrong.

        Raises:
            Stale: they are changed faster than they can be read.
        """
        stored, out_of_order = self._read()
        keys = {*stored, *self._keys(self._recount.with_out_of_order(out_of_order))}
        self.size = len(keys)
        keys = keys if only is None else keys & {*only}
        later = {key for key in keys if key in stored and stored[key].offset > self._bound(stored[key])}
        found = _differences(keys - later, stored, self._recount.with_out_of_order(out_of_order))
        for (partition_id, offset), together in sorted(_by_offset(later, stored).items()):
            found += _differences(
                together, stored, self._counted_up_to(partition_id, offset).with_out_of_order(out_of_order)
            )
        return found

    def mend(self, differences: Sequence[Difference]) -> Collection[Key]:
        """Write what must be there; return where somebody else was faster."""
        writes = {each.key: self._swap(each) for each in differences}
        for level in self._spans:
            ours = [(each, writes[each.key]) for each in differences if each.key[0] is level]
            self._rollups.write(level, [write_if_unchanged for _, write_if_unchanged in ours if write_if_unchanged])
            self._rollups.remove(
                level, [each.stored for each, write_if_unchanged in ours if each.stored and not write_if_unchanged]
            )
        stored, _ = self._read()
        return [key for key, write_if_unchanged in writes.items() if not _is_done(stored.get(key), write_if_unchanged)]

    def _swap(self, each: Difference) -> ConditionalWrite | None:
        if each.wanted is None:
            return None
        offset = max(
            each.wanted.offset, self._bounds.get(each.partition_id, -1), each.stored.offset if each.stored else -1
        )
        return ConditionalWrite(
            each.stored.expected_version if each.stored else None, {**each.wanted.document(), "offset": offset}
        )

    def _read(self) -> tuple[Stored, Sequence[Document]]:
        """The stored rollups, and the events that were counted in them out of order."""
        for _ in range(ATTEMPTS):
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
        start, end = self._time()
        return self._events.find({"event_timestamp": {"$gte": start, "$lt": end}, "kafka.apart": True}, FIELDS)

    def _keys(self, recount: Recount) -> Iterator[Key]:
        for level, rollups in recount.rollups.items():
            start, end = self._spans[level]
            yield from ((level, id_) for id_, rollup in rollups.items() if start <= rollup.bucket_ms < end)

    def _bound(self, rollup: Rollup) -> int:
        return self._bounds.get(rollup.partition_id, rollup.offset)

    def _counted_up_to(self, partition_id: PartitionId, offset: int) -> Recount:
        if not _INCARNATION.fullmatch(partition_id.topic_id):
            raise ConcurrentChange  # the `_id` of its events cannot be told from their offset
        reached, recount = self._ahead.get(partition_id) or (self._bounds[partition_id], self._recount.copy())
        if offset < reached:
            raise ConcurrentChange
        start, end = self._time()
        ids = iter(
            f"{partition_id.topic_id}-{partition_id.partition}-{each}" for each in range(reached + 1, offset + 1)
        )
        while some := [*islice(ids, READ_AT_ONCE)]:
            events = self._events.find({"_id": {"$in": some}, "kafka.apart": {"$ne": True}}, FIELDS)
            recount.add([event for event in events if start <= event["event_timestamp"] < end], {})
        self._ahead[partition_id] = offset, recount
        return recount

    def _time(self) -> Span:
        return min(start for start, _ in self._spans.values()), max(end for _, end in self._spans.values())


def events_between(mongo: Mongo, start_ms: int, end_ms: int) -> Iterator[Sequence[Document]]:
    """The events that came in order, by event time, some at a time."""
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


def _by_offset(keys: Iterable[Key], stored: Stored) -> dict[tuple[PartitionId, int], list[Key]]:
    found: dict[tuple[PartitionId, int], list[Key]] = {}
    for key in keys:
        found.setdefault((stored[key].partition_id, stored[key].offset), []).append(key)
    return found


def _is_done(stored: Rollup | None, write_if_unchanged: ConditionalWrite | None) -> bool:
    if stored is None or write_if_unchanged is None:
        return stored is None and write_if_unchanged is None
    return stored.expected_version == (write_if_unchanged.document["offset"], write_if_unchanged.document["n"])
