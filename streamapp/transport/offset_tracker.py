"""Remember which batches are outstanding, and up to where a partition may be committed: the end of the acked prefix."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple, TypeVar

TP = tuple[str, int]

P = TypeVar("P", bound=TP)


@dataclass(slots=True, eq=False)
class InFlightBatch:
    """One delivered batch, until everything before it and itself is acked."""

    assignment: PartitionAssignment
    #: See `Batch.begin`.
    begin: int | None
    end: int
    #: Bytes that it holds.
    size: int
    #: Kafka's timestamp of its first record, in milliseconds since the epoch.
    first_ms: int | None = None
    acked: bool = False


@dataclass(slots=True, eq=False)
class PartitionAssignment:
    """One partition for as long as it is ours and its offsets only grow."""

    tp: TP
    #: Grows with every partition that a ledger has had.
    number: int
    #: Everything below was delivered or will never come; None until the first fetch tells.
    position: int | None
    #: Where the last batch ended that was delivered, or the partition began.
    delivered: int | None = field(init=False)
    #: Everything below is acked.
    settled: int | None
    #: What the broker holds for our group.
    confirmed: int | None
    queue: deque[InFlightBatch] = field(default_factory=deque[InFlightBatch])
    held: int = 0

    def __post_init__(self) -> None:
        self.delivered = self.position

    def settle(self) -> None:
        """Move the acked prefix on."""
        while self.queue and self.queue[0].acked:
            self.settled = self.queue.popleft().end
        if not self.queue:
            # Control records and holes at the end would look like lag for ever.
            self.settled = self.position


class Ends(NamedTuple):
    """Where a partition ends, as the last fetch told; None until one has."""

    log: int | None
    #: See `Progress.stable_end`.
    stable: int | None


UNKNOWN = Ends(None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one partition is."""

    topic: str
    partition: int
    #: See `Batch.topic id`.
    topic_id: str | None
    #: The next offset to settle; None until the first fetch of a group without a committed offset.
    settled: int | None
    #: The log's end; None until a fetch tells.
    end: int | None
    #: Kafka's timestamp of the oldest record that is read and not settled.
    oldest_ms: int | None
    #: The end of what may be read: records of a transaction that is under way come later.
    stable_end: int | None = None
    #: What the broker holds for our group.
    committed: int | None = None

    @property
    def key(self) -> tuple[str, int, str | None]:
        """What makes it the same partition."""
        return self.topic, self.partition, self.topic_id

    @property
    def lag(self) -> int | None:
        """Records that are not settled; None if unknown."""
        return None if self.settled is None or self.end is None else max(0, self.end - self.settled)


class OffsetTracker:
    """The batches in flight of all partitions, their bytes, and what may be committed.

    An `Outstanding` belongs to one partition. A rebalance, or offsets that went back, put a new partition in its place,
    so that a late ack finds nothing to change.
    """

    def __init__(self, *, max_bytes: int, max_batches: int) -> None:
        self._max_bytes = max_bytes
        self._max_slices = max_batches
        self._assignments: dict[TP, PartitionAssignment] = {}
        self._numbers = count()
        #: How often offsets went back: the topic was re-created, or the group's offsets were reset.
        self.rewinds = 0
        #: Offsets that Kafka deleted before they were read: lost.
        self.deleted_offsets = 0
        #: Offsets that hold no record: compacted away, control records, records of aborted transactions.
        self.empty_offsets = 0

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of all batches that are not acked."""
        return sum(assignment.held for assignment in self._assignments.values())

    @property
    def in_flight_batches(self) -> int:
        """Batches that are delivered and not acked."""
        return sum(not in_flight.acked for assignment in self._assignments.values() for in_flight in assignment.queue)

    def assign(self, committed: Mapping[TP, int | None]) -> None:
        """Hold exactly these partitions, each from its committed offset on."""
        self._assignments = {
            tp: PartitionAssignment(tp, next(self._numbers), offset, offset, offset) for tp, offset in committed.items()
        }

    def drop(self) -> None:
        """Forget everything in flight: the partitions are no longer ours."""
        self._assignments = {}

    def budgets(self) -> dict[TP, int]:
        """Bytes that one fetch may take from each partition; those that hold enough are left out.

        Half of the bound is divided, so that partitions whose batches do not get acked cannot starve another.
        What is free of the other half is offered to all, since one fetch may take from all.
        """
        if not self._assignments:
            return {}
        own = max(2, self._max_bytes // (2 * len(self._assignments)))  # so that half of it is more than nothing
        borrowed = sum(max(0, assignment.held - own) for assignment in self._assignments.values())
        offer = max(0, self._max_bytes // 2 - borrowed) // len(self._assignments)
        max_batches = max(1, self._max_slices // len(self._assignments))
        budgets = {
            tp: max(0, own - assignment.held) + offer
            for tp, assignment in self._assignments.items()
            if len(assignment.queue) < max_batches
        }
        # Or what is free would be taken in ever smaller batches, each of which costs as much as a large one.
        return {tp: budget for tp, budget in budgets.items() if budget >= own // 2}

    def __contains__(self, tp: TP) -> bool:
        """Whether the partition is ours."""
        return tp in self._assignments

    def goes_back(self, tp: TP, position: int) -> bool:
        """Whether a fetch from `position` starts below what was already delivered."""
        known = self._assignments[tp].position
        return known is not None and position < known

    def rewind(self, tp: TP, position: int) -> None:
        """Start a partition again from `position`; acks of what was in flight do nothing any more."""
        self.rewinds += 1
        self._assignments[tp] = PartitionAssignment(
            tp, next(self._numbers), position, position, self._assignments[tp].confirmed
        )

    def lose_up_to(self, tp: TP, offset: int) -> int:
        """Go on from `offset`, which is the first that is left, and return how many before it are lost."""
        assignment = self._assignments[tp]
        lost = 0 if assignment.position is None else offset - assignment.position
        self.deleted_offsets += lost
        assignment.position = offset
        return lost

    def deliver(self, tp: TP, *, end: int, records: int, size: int, first_ms: int | None = None) -> InFlightBatch:
        """Enter a batch of so many records that ends before `end`."""
        assignment = self._assignments[tp]
        self.empty_offsets += 0 if assignment.position is None else end - assignment.position - records
        in_flight = InFlightBatch(assignment, assignment.delivered, end, size, first_ms)
        assignment.queue.append(in_flight)
        assignment.held += size
        assignment.position = assignment.delivered = end
        return in_flight

    def reach(self, tp: TP, position: int) -> None:
        """Note that nothing below `position` is still to come, control records and holes included."""
        assignment = self._assignments[tp]
        self.empty_offsets += 0 if assignment.position is None else position - assignment.position
        assignment.position = position
        assignment.settle()

    def forget_records(self, in_flight: InFlightBatch, left: int) -> bool:
        """Note that a batch holds only so many bytes any more, see `Batch.forget_records`; False if that frees none."""
        freed = in_flight.size - left
        if freed <= 0 or not self._is_in_flight(in_flight):
            return False
        in_flight.size = left
        in_flight.assignment.held -= freed
        return True

    def ack(self, in_flight: InFlightBatch) -> bool:
        """Let a batch be committed once everything before it is acked; False if that is no longer ours to say."""
        if not self._is_in_flight(in_flight):
            return False
        assignment = in_flight.assignment
        in_flight.acked = True
        assignment.held -= in_flight.size
        assignment.settle()
        return True

    def _is_in_flight(self, in_flight: InFlightBatch) -> bool:
        return not in_flight.acked and self._assignments.get(in_flight.assignment.tp) is in_flight.assignment

    def unsettle(self, topic: str) -> None:
        """Take the settled offsets of a topic as unknown: they are those of another life."""
        for assignment in self._assignments.values():
            if assignment.tp[0] == topic:
                assignment.settled = None

    def progress(self, ends: Mapping[TP, Ends], topic_ids: Mapping[str, str | None]) -> list[Progress]:
        """How far each partition is, of the topics whose topic id is known."""
        return [
            Progress(
                topic=topic,
                partition=partition,
                topic_id=topic_ids[topic],
                settled=assignment.settled,
                end=ends.get(assignment.tp, UNKNOWN).log,
                stable_end=ends.get(assignment.tp, UNKNOWN).stable,
                oldest_ms=assignment.queue[0].first_ms if assignment.queue else None,
                committed=assignment.confirmed,
            )
            for (topic, partition), assignment in self._assignments.items()
            if topic in topic_ids
        ]

    def committable(self, tp: TP) -> int | None:
        """Tell the offset to commit, None if the broker has it; nothing changes, so a failed commit is repeated."""
        assignment = self._assignments.get(tp)
        if assignment is None or assignment.settled is None or assignment.settled == (assignment.confirmed or 0):
            return None
        return assignment.settled

    def committable_partitions(self) -> Iterable[TP]:
        """Partitions with something to commit."""
        return [tp for tp in self._assignments if self.committable(tp) is not None]

    def confirm(self, offsets: Mapping[P, int]) -> None:
        """Note what the broker has taken."""
        for tp, offset in offsets.items():
            if tp in self._assignments:
                self._assignments[tp].confirmed = offset
