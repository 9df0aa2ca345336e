"""Track the batches in flight of each partition, and the offset that may be committed: the end of the acked prefix.

An offset is never committed before every record below it is acknowledged, whatever the order of acknowledgements.
The bytes in flight are bounded, and no partition can take the whole bound.
"""

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
    """A delivered batch, tracked until it and all batches before it are acknowledged."""

    assignment: PartitionAssignment
    #: See `PartitionBatch.begin`.
    begin: int | None
    end: int
    #: Bytes in memory.
    size: int
    #: Kafka's timestamp of its first record, in milliseconds since the epoch.
    first_ms: int | None = None
    is_acked: bool = False


@dataclass(slots=True, eq=False)
class PartitionAssignment:
    """A partition from its assignment until it is revoked or its offsets go back."""

    tp: TP
    #: Unique among all assignments of a tracker, and growing.
    number: int
    #: The offset to read next: all below was delivered or holds no record. None until the first fetch.
    position: int | None
    #: The end of the last delivered batch, or the start of the assignment.
    delivered_end: int | None = field(init=False)
    #: All records below this offset are acknowledged.
    settled: int | None
    #: The committed offset of the consumer group.
    committed: int | None
    batches: deque[InFlightBatch] = field(default_factory=deque[InFlightBatch])
    #: Bytes of the batches that are not acknowledged.
    in_flight_bytes: int = 0

    def __post_init__(self) -> None:
        self.delivered_end = self.position

    def advance(self) -> None:
        """Move the settled offset to the end of the acknowledged prefix."""
        while self.batches and self.batches[0].is_acked:
            self.settled = self.batches.popleft().end
        if not self.batches:
            # Control records and gaps at the end of the log would look like lag otherwise.
            self.settled = self.position


class EndOffsets(NamedTuple):
    """The end of a partition, as the last fetch response reported it; None before the first response."""

    log: int | None
    #: See `Progress.stable_end`.
    stable: int | None


UNKNOWN_END_OFFSETS = EndOffsets(None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the worker is in one partition."""

    topic: str
    partition: int
    #: See `PartitionBatch.topic_id`.
    topic_id: str | None
    #: All records below this offset are acknowledged; None until the first fetch of a group without committed offset.
    settled: int | None
    #: The log end offset; None until a fetch response has reported it.
    end: int | None
    #: Kafka's timestamp of the oldest record that was read and is not settled.
    oldest_ms: int | None
    #: The end of the last delivered batch: records below it may be stored and counted; None as for `settled`.
    delivered: int | None = None
    #: The last stable offset: records of open transactions lie above it and cannot be read yet.
    stable_end: int | None = None
    #: The committed offset of the consumer group.
    committed: int | None = None

    @property
    def key(self) -> tuple[str, int, str | None]:
        """What identifies the partition."""
        return self.topic, self.partition, self.topic_id

    @property
    def lag(self) -> int | None:
        """Records that are not settled; None if unknown."""
        return None if self.settled is None or self.end is None else max(0, self.end - self.settled)


class OffsetTracker:
    """The batches in flight of all assigned partitions, their bytes, and the offsets to commit.

    Each `InFlightBatch` belongs to one `PartitionAssignment`. A rebalance and a rewind replace the assignment, so that
    a late acknowledgement changes nothing.
    """

    def __init__(self, *, max_bytes: int, max_batches: int) -> None:
        self._max_bytes = max_bytes
        self._max_batches = max_batches
        self._assignments: dict[TP, PartitionAssignment] = {}
        self._numbers = count()
        #: How often offsets went back: a topic was deleted and re-created, or the group's offsets were reset.
        self.rewinds = 0
        #: Offsets that Kafka deleted before they were read: their records are lost.
        self.deleted_offsets = 0
        #: Offsets that hold no record: compacted, control records, records of aborted transactions.
        self.empty_offsets = 0

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of all batches that are not acknowledged."""
        return sum(assignment.in_flight_bytes for assignment in self._assignments.values())

    @property
    def in_flight_batches(self) -> int:
        """Number of batches that are delivered and not acknowledged."""
        return sum(not batch.is_acked for assignment in self._assignments.values() for batch in assignment.batches)

    def assign(self, committed: Mapping[P, int | None]) -> None:
        """Replace all assignments by these partitions, each from its committed offset on."""
        self._assignments = {
            tp: PartitionAssignment(tp, next(self._numbers), offset, offset, offset) for tp, offset in committed.items()
        }

    def revoke_all(self) -> None:
        """Drop all assignments and their batches in flight."""
        self._assignments = {}

    def budgets(self) -> dict[TP, int]:
        """Bytes that one fetch may take from each partition; partitions with enough in flight are left out.

        Half of the bound is divided among the partitions, so that partitions whose batches are not acknowledged cannot
        starve the others. The free part of the other half is offered to all, since one fetch may take from all.
        """
        if not self._assignments:
            return {}
        own = max(2, self._max_bytes // (2 * len(self._assignments)))  # at least 2: half of it must not be 0
        borrowed = sum(max(0, assignment.in_flight_bytes - own) for assignment in self._assignments.values())
        offer = max(0, self._max_bytes // 2 - borrowed) // len(self._assignments)
        max_batches = max(1, self._max_batches // len(self._assignments))
        budgets = {
            tp: max(0, own - assignment.in_flight_bytes) + offer
            for tp, assignment in self._assignments.items()
            if len(assignment.batches) < max_batches
        }
        # Smaller budgets would lead to ever smaller batches, and each batch costs as much as a large one.
        return {tp: budget for tp, budget in budgets.items() if budget >= own // 2}

    def __contains__(self, tp: TP) -> bool:
        """Whether the partition is assigned."""
        return tp in self._assignments

    def number(self, tp: TP) -> int:
        """The number of the assignment of an assigned partition."""
        return self._assignments[tp].number

    def is_behind(self, tp: TP, position: int) -> bool:
        """Whether `position` lies below the offsets that were delivered already."""
        known = self._assignments[tp].position
        return known is not None and position < known

    def acknowledged_end(self, tp: TP) -> int:
        """The offset below which all records are acknowledged; 0 if it is unknown."""
        return self._assignments[tp].settled or 0

    def rewind(self, tp: TP, position: int) -> None:
        """Start a partition again from `position`; acknowledgements of batches in flight change nothing any more."""
        self.rewinds += 1
        self._assignments[tp] = PartitionAssignment(
            tp, next(self._numbers), position, position, self._assignments[tp].committed
        )

    def skip_deleted(self, tp: TP, offset: int) -> int:
        """Continue from `offset`, the first that Kafka still has, and return how many offsets before it are lost."""
        assignment = self._assignments[tp]
        lost = 0 if assignment.position is None else offset - assignment.position
        self.deleted_offsets += lost
        assignment.position = offset
        return lost

    def deliver(self, tp: TP, *, end: int, records: int, size: int, first_ms: int | None = None) -> InFlightBatch:
        """Track a batch of `records` records that ends before the offset `end`."""
        assignment = self._assignments[tp]
        self.empty_offsets += 0 if assignment.position is None else end - assignment.position - records
        batch = InFlightBatch(assignment, assignment.delivered_end, end, size, first_ms)
        assignment.batches.append(batch)
        assignment.in_flight_bytes += size
        assignment.position = assignment.delivered_end = end
        return batch

    def advance_position(self, tp: TP, position: int) -> None:
        """Note that no record below `position` is still to come: the offsets up to it hold none."""
        assignment = self._assignments[tp]
        self.empty_offsets += 0 if assignment.position is None else position - assignment.position
        assignment.position = position
        assignment.advance()

    def release_records(self, batch: InFlightBatch, remaining_bytes: int) -> bool:
        """Reduce the size of a batch to `remaining_bytes`, see `PartitionBatch.release_records`.

        Returns:
            False if this frees no bytes.
        """
        freed = batch.size - remaining_bytes
        if freed <= 0 or not self._is_in_flight(batch):
            return False
        batch.size = remaining_bytes
        batch.assignment.in_flight_bytes -= freed
        return True

    def ack(self, batch: InFlightBatch) -> bool:
        """Allow a batch to be committed once all batches before it are acknowledged.

        Returns:
            False if the batch is acknowledged already, or its assignment is over.
        """
        if not self._is_in_flight(batch):
            return False
        assignment = batch.assignment
        batch.is_acked = True
        assignment.in_flight_bytes -= batch.size
        assignment.advance()
        return True

    def _is_in_flight(self, batch: InFlightBatch) -> bool:
        return not batch.is_acked and self._assignments.get(batch.assignment.tp) is batch.assignment

    def reset_settled(self, topic: str) -> None:
        """Mark the settled offsets of a topic as unknown: they belong to the topic's previous topic id."""
        for assignment in self._assignments.values():
            if assignment.tp[0] == topic:
                assignment.settled = None

    def progress(self, ends: Mapping[TP, EndOffsets], topic_ids: Mapping[str, str | None]) -> list[Progress]:
        """How far each partition is, for the topics whose topic id is known."""
        return [
            Progress(
                topic=topic,
                partition=partition,
                topic_id=topic_ids[topic],
                settled=assignment.settled,
                delivered=assignment.delivered_end,
                end=ends.get(assignment.tp, UNKNOWN_END_OFFSETS).log,
                stable_end=ends.get(assignment.tp, UNKNOWN_END_OFFSETS).stable,
                oldest_ms=assignment.batches[0].first_ms if assignment.batches else None,
                committed=assignment.committed,
            )
            for (topic, partition), assignment in self._assignments.items()
            if topic in topic_ids
        ]

    def committable(self, tp: TP) -> int | None:
        """The offset to commit; None if it is committed already. A failed commit returns the same offset again."""
        assignment = self._assignments.get(tp)
        if assignment is None or assignment.settled is None or assignment.settled == (assignment.committed or 0):
            return None
        return assignment.settled

    def committable_partitions(self) -> Iterable[TP]:
        """Partitions with an offset to commit."""
        return [tp for tp in self._assignments if self.committable(tp) is not None]

    def mark_committed(self, offsets: Mapping[P, int]) -> None:
        """Note the offsets that the broker has stored for the group."""
        for tp, offset in offsets.items():
            if tp in self._assignments:
                self._assignments[tp].committed = offset
