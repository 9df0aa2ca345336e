"""Compare the stored rollups with the stored events, and repair them: `rollups check` and `rollups rebuild`.

The events are read once, in the order of their time, while workers may store and count events. Of a partition that a
worker owns, only the events that it has settled are counted here; of another one, where the committed offset is known,
only those that Kafka will not deliver again: the next worker counts the others. Where a rollup holds later events, they
are read by their `_id`. A rollup is written only if no other process has changed it since it was read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import pymongo
from bson import DatetimeMS

from streamapp.decode.document import CLOCK_TOLERANCE_MS
from streamapp.errors import StoreUnavailable
from streamapp.model.expiry import Expiry
from streamapp.model.record import PartitionId
from streamapp.model.user_event import TIME
from streamapp.mongodb import event_retention
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.monitoring import heartbeat
from streamapp.reconcile.bucket_range import BucketRange, ConcurrentChange, Difference, RollupKey, events_between
from streamapp.reconcile.result import ReconciliationResult
from streamapp.rollups.levels import LEVELS, Keep, Level, kept_since
from streamapp.rollups.recount import Recount
from streamapp.rollups.rollup import Rollup

#: Rollups in memory at the same time, approximately.
MAX_ROLLUPS_PER_RANGE = 500
#: A worker whose heartbeat of a partition is older does not own the partition any more.
OWNED_FOR = timedelta(seconds=60)
#: A worker writes the first heartbeat of a new partition within this time.
FIRST_HEARTBEAT_SECONDS = 2.0
#: Longer than the interval of the heartbeats.
HEARTBEAT_SECONDS = 10.0
#: Longer than a worker takes to count what it has read.
SETTLE_SECONDS = 60.0
MAX_ATTEMPTS = 100

_HEARTBEAT_FIELDS = ("topic", "incarnation", "partition", "settled", "delivered")

#: The years 1 to 9999, epoch ms: the range of a Python datetime.
_FIRST, _END = -62_135_596_800_000, 253_402_300_800_000
_DAY = LEVELS[-1]

#: Compares a range of buckets, given the bounds of the partitions; returns the rollups that differed.
Comparison = Callable[[BucketRange, Mapping[PartitionId, int]], Sequence[Difference]]


class Reconciliation:
    """Compares all rollups of some levels with all events; raises StoreUnavailable and PyMongoError.

    Args:
        mongo: the database.
        keep: the retention of the rollups.
        now: the clock.
        levels: the levels to compare.
        max_lead_ms: the milliseconds by which an event time may be later than the time at which it was received.
        on_read: called with each number of events that were read.
    """

    def __init__(  # noqa: PLR0913 - what is compared, and the clock
        self,
        mongo: Mongo,
        *,
        keep: Keep,
        now: Callable[[], datetime],
        levels: Sequence[Level] = LEVELS,
        max_lead_ms: int = 86_400_000,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._mongo = mongo
        self._rollups = RollupStore(mongo, keep=keep)
        self._keep = keep
        self._now = now
        self._levels = levels
        self._on_read = on_read
        self._max_lead_ms = max(max_lead_ms, CLOCK_TOLERANCE_MS)
        #: For a rebuild: the last offset that no worker receives and counts again, of each partition where it is known.
        self._delivered: Mapping[PartitionId, int] = {}
        self._expiry = Expiry()

    def check(self) -> ReconciliationResult:
        """Find the rollups that differ; writes nothing."""
        while True:
            owned, result = self._owned(), self._compare_all(lambda bucket_range, _: bucket_range.compare())
            if not result.different:
                return result
            # A worker that has just been assigned to a partition has not written its heartbeat yet.
            time.sleep(FIRST_HEARTBEAT_SECONDS)
            if not self._has_new_owner(owned):
                return result

    def rebuild(self, next_offsets: Mapping[PartitionId, int] = MappingProxyType({})) -> ReconciliationResult:
        """Write the rollups that differ again, and return them.

        Args:
            next_offsets: the offset that the workers' group reads next, of each partition for which it is known.
        """
        repaired: dict[RollupKey, str] = {}
        self._delivered = {
            # If the group was rewound, rollups hold later offsets.
            partition_id: max(offset - 1, self._rollups.last_offset(partition_id))
            for partition_id, offset in next_offsets.items()
        }
        self._await_settled(self._await_heartbeats())
        while True:
            owned, result = self._owned(), self._compare_all(self._repaired)
            repaired.update(result.different)
            # A worker that joined during the comparison can have stored events that it had not counted yet.
            if not result.different or not self._has_new_owner(owned):
                result.different = repaired
                return result

    def _compare_all(self, compare: Comparison) -> ReconciliationResult:
        self._expiry = event_retention.expiry(self._mongo.primary)
        result = ReconciliationResult(untimed=self._untimed())
        oldest = self._next_event(_FIRST)
        since = {level: self._since(level, _END if oldest is None else oldest, result) for level in self._levels}
        at = _FIRST
        while (day := self._next_day(at, since)) is not None:
            result.add(self._with_retries(lambda day=day: self._compare_day(day, since, compare)))
            at = day + _DAY.width_ms
        return result

    def _with_retries(self, work: Callable[[], ReconciliationResult]) -> ReconciliationResult:
        for _ in range(MAX_ATTEMPTS):
            try:
                return work()
            except ConcurrentChange:
                time.sleep(FIRST_HEARTBEAT_SECONDS)
        raise StoreUnavailable(
            "workers change rollups faster than they can be compared; stop the workers and try again", is_running=True
        )

    def _compare_day(self, day: int, since: Mapping[Level, int], compare: Comparison) -> ReconciliationResult:
        found, bounds = ReconciliationResult(), self._bounds()
        for bucket_range in self._bucket_ranges(day, since, bounds, found):
            for each in compare(bucket_range, bounds):
                (found.different if each.is_repairable else found.unrepairable)[each.key] = each.why
            found.rollups += bucket_range.size
            found.aged_out += bucket_range.aged_out
        return found

    def _bucket_ranges(
        self, day: int, since: Mapping[Level, int], bounds: Mapping[PartitionId, int], found: ReconciliationResult
    ) -> Iterator[BucketRange]:
        recount, start, unread = Recount(self._levels), day, self._delivered.keys() - self._alive()
        for events in events_between(self._mongo, day, day + _DAY.width_ms):
            left = recount.add(events, bounds)
            found.uncounted += sum(count for partition_id, count in left.items() if partition_id in unread)
            found.events += len(events)
            self._on_read(len(events))
            if len(recount) >= MAX_ROLLUPS_PER_RANGE:
                end = int(events[-1][TIME])
                yield self._bucket_range(start, end, since, recount.take(end), bounds)
                start = end
        yield self._bucket_range(start, day + _DAY.width_ms, since, recount, bounds)

    def _bucket_range(
        self, start: int, end: int, since: Mapping[Level, int], recount: Recount, bounds: Mapping[PartitionId, int]
    ) -> BucketRange:
        spans = {level: (max(level.start_of(start), since[level]), level.start_of(end)) for level in self._levels}
        return BucketRange(
            self._mongo,
            self._rollups,
            spans=spans,
            recount=recount,
            bounds=bounds,
            complete_since=self._complete_since,
        )

    def _repaired(self, bucket_range: BucketRange, owned: Mapping[PartitionId, int]) -> Sequence[Difference]:
        repaired = bucket_range.compare()
        found = [each for each in repaired if each.is_repairable]
        for _ in range(MAX_ATTEMPTS):
            if not found:
                return repaired
            if any(each.stored and each.partition_id not in owned for each in found):
                # No worker owns the partition, but one can just have been assigned to it.
                time.sleep(FIRST_HEARTBEAT_SECONDS)
                if self._has_new_owner(owned):
                    raise ConcurrentChange
            changed = bucket_range.repair(found)
            found = [each for each in bucket_range.compare(only=changed) if each.is_repairable]
        raise ConcurrentChange

    def _await_heartbeats(self) -> Mapping[PartitionId, int]:
        """Wait for a new heartbeat of every worker; return how far the records of each partition were delivered then.

        An older heartbeat does not include the events that the worker just counted.
        """
        since = self._now() + timedelta(seconds=FIRST_HEARTBEAT_SECONDS)
        give_up_at = time.monotonic() + HEARTBEAT_SECONDS
        while self._owned(OWNED_FOR).keys() - self._owned(self._now() - since).keys() and time.monotonic() < give_up_at:
            time.sleep(FIRST_HEARTBEAT_SECONDS / 10)
        # Workers of an earlier release do not write it.
        return {_partition_id(each): each.get("delivered") or 0 for each in self._heartbeats(self._now() - since)}

    def _await_settled(self, delivered: Mapping[PartitionId, int]) -> None:
        """Wait until the workers have settled what was delivered.

        A worker may have written a rollup that was deleted since, and not have settled the events yet. If the rollup
        were counted again without them, the worker would add the events that follow, and never these.
        """
        give_up_at = time.monotonic() + SETTLE_SECONDS
        while any(
            bound < delivered.get(partition_id, 0) - 1
            for partition_id, bound in self._owned(timedelta(seconds=HEARTBEAT_SECONDS)).items()
        ):
            if time.monotonic() > give_up_at:
                raise StoreUnavailable(
                    f"workers have not counted within {SETTLE_SECONDS:.0f} s what they have read;"
                    " stop the workers and try again",
                    is_running=True,
                )
            time.sleep(FIRST_HEARTBEAT_SECONDS / 10)

    def _bounds(self) -> Mapping[PartitionId, int]:
        """The last offset that is counted here, of each partition that a worker owns, or whose next offset is known.

        The last heartbeat of a worker that was killed may be older than its last commit. While heartbeats arrive, the
        committed offset is not needed; it may belong to a topic that was deleted and re-created.
        """
        owned, alive = self._owned(), self._alive()
        delivered = {each: offset for each, offset in self._delivered.items() if each not in alive}
        return {each: max(owned.get(each, -1), delivered.get(each, -1)) for each in {*owned, *delivered}}

    def _alive(self) -> AbstractSet[PartitionId]:
        """The partitions whose worker has just written a heartbeat."""
        return self._owned(timedelta(seconds=HEARTBEAT_SECONDS)).keys()

    def _owned(self, within: timedelta = OWNED_FOR) -> dict[PartitionId, int]:
        """The last settled offset of each partition that a worker owns."""
        # `settled` is None until a worker has settled a batch of the partition.
        return {_partition_id(each): (each["settled"] or 0) - 1 for each in self._heartbeats(within)}

    def _heartbeats(self, within: timedelta) -> Iterator[Mapping[str, Any]]:
        query = {"kind": "partition", "at": {"$gt": self._now() - within}}
        # Without the history of each partition, which takes most of a heartbeat.
        return self._mongo.primary[heartbeat.COLLECTION].find(query, _HEARTBEAT_FIELDS)

    def _has_new_owner(self, owned: Mapping[PartitionId, int]) -> bool:
        return not self._owned().keys() <= owned.keys()

    def _since(self, level: Level, oldest: int, result: ReconciliationResult) -> int:
        """The first bucket that can be compared: within the retention, and not before the first stored event."""
        kept = max(_FIRST, kept_since(level, self._keep, self._now()))
        first = level.start_of(oldest)
        result.older += self._count_rollups(level, kept, first)
        # If there are older rollups whose events are not deleted because of their age, events were deleted by other
        # means, perhaps also from the first bucket.
        has_deleted = self._count_rollups(level, max(kept, self._complete_since()), first) > 0
        return max(kept, first + level.width_ms if has_deleted else first)

    def _count_rollups(self, level: Level, start_ms: int, end_ms: int) -> int:
        query = {"bucket": {"$gte": DatetimeMS(start_ms), "$lt": DatetimeMS(end_ms)}}
        return self._mongo.primary[level.collection].count_documents(query)

    def _complete_since(self) -> int:
        """No event of a bucket that begins then or later was deleted because of its age; epoch ms."""
        return self._expiry.before_ms(self._now()) + self._max_lead_ms

    def _next_day(self, at: int, since: Mapping[Level, int]) -> int | None:
        starts = [self._next_event(at), *(self._next_bucket(level, max(at, since[level])) for level in self._levels)]
        return min((_DAY.start_of(start) for start in starts if start is not None), default=None)

    def _next_event(self, at: int) -> int | None:
        by_time = [(TIME, pymongo.ASCENDING)]
        query = {TIME: {"$gte": at, "$lt": _END}}
        found = self._mongo.primary["events"].find_one(query, {TIME: 1}, sort=by_time)
        return None if found is None else int(found[TIME])

    def _next_bucket(self, level: Level, at: int) -> int | None:
        query = {"bucket": {"$gte": DatetimeMS(at), "$lt": DatetimeMS(_END)}}
        found = self._mongo.primary[level.collection].find_one(query, {"_id": 1}, sort=[("bucket", pymongo.ASCENDING)])
        return None if found is None else Rollup(found["_id"]).bucket_ms

    def _untimed(self) -> int:
        outside = ({"$not": {"$gte": _FIRST}}, {"$gte": _END})
        query = {"$or": [{TIME: each} for each in outside]}
        return self._mongo.primary["events"].count_documents(query)


def _partition_id(heartbeat_of_partition: Mapping[str, Any]) -> PartitionId:
    return PartitionId(
        heartbeat_of_partition["incarnation"] or heartbeat_of_partition["topic"], heartbeat_of_partition["partition"]
    )
