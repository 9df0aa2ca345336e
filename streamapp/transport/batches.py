"""Turn the records that a fetch took from one partition into Faust messages, each of which holds one partition batch.

Every batch stays within the limits, is entered in the offset tracker, and begins where the batch before it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import get_logger

from streamapp.model.record import BatchRecord, PartitionBatch
from streamapp.transport.batch_size import memory_sizes, split
from streamapp.transport.offset_tracker import InFlightBatch, OffsetTracker
from streamapp.transport.response_buffer import FetchedPartition

log = get_logger(__name__)


class PartitionBatchMessage(ConsumerMessage):
    """A Faust message whose value is a partition batch."""

    __slots__ = ("in_flight_batch",)

    #: The batch's entry in the offset tracker, which an ack of the message completes.
    in_flight_batch: InFlightBatch

    def __init__(self, tp: TP, batch: PartitionBatch, in_flight_batch: InFlightBatch, generation: int) -> None:
        last = batch.records[-1]
        super().__init__(
            *tp,
            last.offset,
            timestamp=last.timestamp / 1000,
            timestamp_type=0,
            headers=[],
            key=None,
            # Faust hands the value over untouched where the topic's serializer is raw.
            value=batch,  # pyright: ignore[reportArgumentType]
            checksum=None,
            tp=tp,
            generation_id=generation,
        )
        self.in_flight_batch = in_flight_batch


class Source(NamedTuple):
    """What fetched records belong to."""

    topic_id: str | None
    #: Number of the assignment.
    assignment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBuilder:
    """Builds the messages of the batch topics."""

    offset_tracker: OffsetTracker
    #: The topic ids of the topics that may be read.
    topic_ids: Mapping[str, str | None]
    max_records: int
    #: Bytes of values.
    max_bytes: int
    #: Tells whether records of a group generation may still be delivered.
    is_current: Callable[[int], bool]
    #: Receives the end of a partition's log.
    on_log_end: Callable[[TP, int], None]
    #: Called when a batch releases its records, with the bytes that stay in memory.
    on_release: Callable[[InFlightBatch, int], None]
    #: Called with a partition and the first offset of its records that are not delivered, to read them again.
    seek_back: Callable[[TP, int], None]

    def messages(self, fetched: FetchedPartition, generation: int, source: Source) -> Iterator[PartitionBatchMessage]:
        """Yield the messages of one fetched partition; stop once the group generation or the source is another."""
        position = fetched.position_before
        if not self._may_deliver(fetched.tp, position, generation, source):
            return
        self._note_start(fetched)
        for records, size in self._split(fetched):
            if not self._may_deliver(fetched.tp, position, generation, source):
                return
            position = records[-1].offset + 1
            yield self._message(fetched.tp, records, size, generation)
        if self._may_deliver(fetched.tp, position, generation, source):
            self.offset_tracker.advance_position(fetched.tp, fetched.position_after)

    def source(self, tp: TP) -> Source:
        """What the records that were just fetched belong to."""
        return Source(self.topic_ids[tp.topic], self.offset_tracker.number(tp))

    def _may_deliver(self, tp: TP, position: int, generation: int, source: Source) -> bool:
        """Whether the records still belong to the topic: between two messages, a check may find that it is another."""
        if not self.is_current(generation) or tp not in self.offset_tracker:
            return False
        if self.offset_tracker.number(tp) != source.assignment:  # `_read_from_start` has begun
            return False
        if tp.topic not in self.topic_ids:
            self.seek_back(tp, position)  # read again if the topic id has not changed
            return False
        return self.topic_ids[tp.topic] == source.topic_id

    def _split(self, fetched: FetchedPartition) -> Iterator[tuple[Sequence[BatchRecord], int]]:
        """Yield the records of each batch and their memory size; nearly always there is one batch."""
        if 0 < len(fetched.records) <= self.max_records and fetched.size <= self.max_bytes:
            yield fetched.records, fetched.size
            return
        for records in split(fetched.records, max_records=self.max_records, max_bytes=self.max_bytes):
            yield records, sum(memory_sizes(records))

    def _note_start(self, fetched: FetchedPartition) -> None:
        if fetched.log_end is not None:
            self.on_log_end(fetched.tp, fetched.log_end)
        if lost := self.offset_tracker.skip_deleted(fetched.tp, fetched.position_before):
            log.error(
                "Kafka has deleted %d offsets of %s, partition %d, below offset %d, before they were read: their"
                " records are lost. Check whether the topic's retention is shorter than the worker's lag.",
                lost,
                fetched.tp.topic,
                fetched.tp.partition,
                fetched.position_before,
            )

    def _message(self, tp: TP, records: Sequence[BatchRecord], size: int, generation: int) -> PartitionBatchMessage:
        first_ms = records[0].timestamp
        in_flight_batch = self.offset_tracker.deliver(
            tp,
            end=records[-1].offset + 1,
            records=len(records),
            size=size,
            first_ms=first_ms if first_ms >= 0 else None,
        )
        batch = PartitionBatch(
            topic=tp.topic,
            partition=tp.partition,
            topic_id=self.topic_ids[tp.topic],
            assignment=in_flight_batch.assignment.number,
            begin=in_flight_batch.begin,
            records=records,
            size=size,
            on_release=partial(self.on_release, in_flight_batch),
        )
        return PartitionBatchMessage(tp, batch, in_flight_batch, generation)
