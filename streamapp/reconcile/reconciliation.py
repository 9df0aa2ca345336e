"""Compare the stored rollups with the stored events, and mend them: `rollups check` and `rollups rebuild`.

Events are read once, in the order of their time, while workers may go on storing and counting. Of a partition that a
worker holds, only those are counted here that it has settled. Where a rollup holds later ones, they are read too, by
their `_id`; and nothing is written over a rollup that somebody else has changed since it was read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pymongo
from bson import DatetimeMS

from streamapp.errors import StoreUnavailable
from streamapp.model.record import PartitionId
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.monitoring import heartbeat
from streamapp.reconcile.bucket_range import BucketRange, ConcurrentChange, Difference, Key, events_between
from streamapp.rollups.levels import LEVELS, Keep, Level, kept_since
from streamapp.rollups.recount import Recount
from streamapp.rollups.rollup import Rollup

#: Rollups that are compared at the same time, more or less.
COMPARED_AT_ONCE = 500
#: A worker that has not told of its partition for so long does not hold it any more …
HELD_FOR = timedelta(seconds=60)
#: … and one that has just got it has told so by then.
CLAIM_SECONDS = 2.0
#: Longer than the time from one heartbeat to the next.
HEARTBEAT_SECONDS = 10.0
ATTEMPTS = 100

#: The years 1 to 9999, epoch ms: what a Date can be.
_FIRST, _END = -62_135_596_800_000, 253_402_300_800_000
_DAY = LEVELS[-1]

#: What is to be done with a stretch, of which some partitions are held; returns what was not as the events say.
Comparison = Callable[[BucketRange, Mapping[PartitionId, int]], Sequence[Difference]]


@dataclass(slots=True, kw_only=True)
class ReconciliationResult:
    """What was found."""

    #: Events that were read.
    events: int = 0
    #: Rollups that were compared.
    rollups: int = 0
    #: Those that were not as the events say, and what was wrong.
    different: dict[Key, str] = field(default_factory=dict[Key, str])
    #: Rollups that begin before the first event that is stored: there is nothing left to compare them with.
    older: int = 0
    #: Events without a time in the years 1 to 9999, and so without a bucket.
    untimed: int = 0

    def add(self, other: ReconciliationResult) -> None:
        """Add what was found elsewhere."""
        self.events += other.events
        self.rollups += other.rollups
        self.different.update(other.different)


class Reconciliation:
    """Goes through all events and all rollups of some levels; raises StoreUnavailable and PyMongoError."""

    def __init__(
        self,
        mongo: Mongo,
        *,
        keep: Keep,
        now: Callable[[], datetime],
        levels: Sequence[Level] = LEVELS,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._mongo = mongo
        self._rollups = RollupStore(mongo, keep=keep)
        self._keep = keep
        self._now = now
        self._levels = levels
        self._on_read = on_read

    def check(self) -> ReconciliationResult:
        """Tell which rollups differ; nothing is written."""
        while True:
            held, findings = self._held(), self._go_through(lambda bucket_range, _: bucket_range.compare())
            if not findings.different or not self._is_newly_held(held):
                return findings

    def rebuild(self) -> ReconciliationResult:
        """Write those that differ again, and tell which."""
        mended: dict[Key, str] = {}
        self._await_heartbeats()
        while True:
            held, findings = self._held(), self._go_through(self._mended)
            mended.update(findings.different)
            # What a worker that came meanwhile stores may have been taken for counted.
            if not findings.different or not self._is_newly_held(held):
                findings.different = mended
                return findings

    def _go_through(self, compare: Comparison) -> ReconciliationResult:
        findings = ReconciliationResult(untimed=self._untimed())
        oldest = self._next_event(_FIRST)
        since = {level: self._since(level, _END if oldest is None else oldest, findings) for level in self._levels}
        at = _FIRST
        while (day := self._next_day(at, since)) is not None:
            findings.add(self._insist(lambda day=day: self._day(day, since, compare)))
            at = day + _DAY.width_ms
        return findings

    def _insist(self, work: Callable[[], ReconciliationResult]) -> ReconciliationResult:
        for _ in range(ATTEMPTS):
            try:
                return work()
            except ConcurrentChange:
                time.sleep(CLAIM_SECONDS)
        raise StoreUnavailable("rollups are written faster than they can be compared; try again without a worker")

    def _day(self, day: int, since: Mapping[Level, int], compare: Comparison) -> ReconciliationResult:
        found, held = ReconciliationResult(), self._held()
        for bucket_range in self._bucket_ranges(day, since, held, found):
            found.different.update({each.key: each.why for each in compare(bucket_range, held)})
            found.rollups += bucket_range.size
        return found

    def _bucket_ranges(
        self, day: int, since: Mapping[Level, int], bounds: Mapping[PartitionId, int], found: ReconciliationResult
    ) -> Iterator[BucketRange]:
        recount, begun = Recount(self._levels), day
        for events in events_between(self._mongo, day, day + _DAY.width_ms):
            recount.add(events, bounds)
            found.events += len(events)
            self._on_read(len(events))
            if len(recount) >= COMPARED_AT_ONCE:
                upto = int(events[-1]["event_timestamp"])
                yield self._bucket_range(begun, upto, since, recount.take(upto), bounds)
                begun = upto
        yield self._bucket_range(begun, day + _DAY.width_ms, since, recount, bounds)

    def _bucket_range(
        self, begun: int, upto: int, since: Mapping[Level, int], recount: Recount, bounds: Mapping[PartitionId, int]
    ) -> BucketRange:
        spans = {level: (max(level.start_of(begun), since[level]), level.start_of(upto)) for level in self._levels}
        return BucketRange(self._mongo, self._rollups, spans=spans, recount=recount, bounds=bounds)

    def _mended(self, bucket_range: BucketRange, held: Mapping[PartitionId, int]) -> Sequence[Difference]:
        found = bucket_range.compare()
        mended = [*found]
        for _ in range(ATTEMPTS):
            if not found:
                return mended
            if any(each.stored and each.partition_id not in held for each in found):
                # Nobody seems to hold it, but somebody may just have got it.
                time.sleep(CLAIM_SECONDS)
                if self._is_newly_held(held):
                    raise ConcurrentChange
            found = bucket_range.compare(only=bucket_range.mend(found))
        raise ConcurrentChange

    def _await_heartbeats(self) -> None:
        """Wait until all workers have told how far they are, lest what they just counted be taken for not settled."""
        since, end = self._now() + timedelta(seconds=CLAIM_SECONDS), time.monotonic() + HEARTBEAT_SECONDS
        while self._held(HELD_FOR).keys() - self._held(self._now() - since).keys() and time.monotonic() < end:
            time.sleep(CLAIM_SECONDS / 10)

    def _held(self, within: timedelta = HELD_FOR) -> dict[PartitionId, int]:
        """Of each partition that a worker holds, the last offset that it has settled."""
        query = {"kind": "partition", "at": {"$gt": self._now() - within}}
        found = self._mongo.primary[heartbeat.COLLECTION].find(query)
        # None settled: it has just got the partition.
        return {
            PartitionId(each["incarnation"] or each["topic"], each["partition"]): (each["settled"] or 0) - 1
            for each in found
        }

    def _is_newly_held(self, held: Mapping[PartitionId, int]) -> bool:
        return not self._held().keys() <= held.keys()

    def _since(self, level: Level, oldest: int, findings: ReconciliationResult) -> int:
        """The first bucket that can be compared: one that is kept, and whose events are not older than all others."""
        kept = max(_FIRST, kept_since(level, self._keep, self._now()))
        first = level.start_of(oldest)
        older = {"bucket": {"$gte": DatetimeMS(kept), "$lt": DatetimeMS(first)}}
        n = self._mongo.primary[level.collection].count_documents(older)
        findings.older += n
        # With older ones, some of this bucket's events may be gone too.
        return max(kept, first + level.width_ms if n else first)

    def _next_day(self, at: int, since: Mapping[Level, int]) -> int | None:
        starts = [self._next_event(at), *(self._next_bucket(level, max(at, since[level])) for level in self._levels)]
        return min((_DAY.start_of(start) for start in starts if start is not None), default=None)

    def _next_event(self, at: int) -> int | None:
        by_time = [("event_timestamp", pymongo.ASCENDING)]
        query = {"event_timestamp": {"$gte": at, "$lt": _END}}
        found = self._mongo.primary["events"].find_one(query, {"event_timestamp": 1}, sort=by_time)
        return None if found is None else int(found["event_timestamp"])

    def _next_bucket(self, level: Level, at: int) -> int | None:
        query = {"bucket": {"$gte": DatetimeMS(at), "$lt": DatetimeMS(_END)}}
        found = self._mongo.primary[level.collection].find_one(query, {"_id": 1}, sort=[("bucket", pymongo.ASCENDING)])
        return None if found is None else Rollup(found["_id"]).bucket_ms

    def _untimed(self) -> int:
        outside = ({"$not": {"$gte": _FIRST}}, {"$gte": _END})
        query = {"$or": [{"event_timestamp": each} for each in outside]}
        return self._mongo.primary["events"].count_documents(query)
