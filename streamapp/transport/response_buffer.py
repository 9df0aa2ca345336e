"""Take records from the fetch responses that aiokafka has received, within a number of bytes for each partition."""

# aiokafka's fetcher is private: tests/unit/test_vendor_internals.py.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.structs import TopicPartition
from faust.types import TP

from streamapp.model.record import BatchRecord
from streamapp.transport.column_reader import KernelOf, without_kernel
from streamapp.transport.response_reader import ResponseReader


class FetchedPartition(NamedTuple):
    """The records that a fetch took from one partition of a batch topic."""

    tp: TP
    #: The position before the fetch and after it. Between records, offsets may be missing.
    position_before: int
    records: Sequence[BatchRecord]
    #: Memory size of the records.
    size: int
    position_after: int
    #: None until a fetch response has reported it.
    log_end: int | None


class ResponseBuffer:
    """The responses of the batch topics that aiokafka's fetcher holds.

    Args:
        fetcher: returns aiokafka's fetcher.
        max_records: the most records to take from a partition at once.
        kernel: returns what finds the records.
    """

    def __init__(self, fetcher: Callable[[], Fetcher], *, max_records: int, kernel: KernelOf = without_kernel) -> None:
        self._fetcher = fetcher
        self._max_records = max_records
        self._kernel = kernel
        #: The bytes of the responses of which no record was taken yet.
        self._data: dict[TP | TopicPartition, bytes] = {}
        #: The readers of the responses of which some records were taken.
        self._readers: dict[TP, ResponseReader] = {}

    def keep(self, response: Any, topics: Collection[str]) -> None:
        """Keep the bytes of a fetch response before aiokafka adds it to its buffer."""
        self._close_discarded()
        for topic, partitions in response.topics:
            if topic in topics:
                self._data.update((TopicPartition(topic, each[0]), bytes(each[-1] or b"")) for each in partitions)

    def has_records(self, tp: TP) -> bool:
        """Whether there is a response of a partition."""
        return isinstance(self._fetcher()._records.get(tp), FetchResult)

    def has_more(self, tp: TP) -> bool:
        """Whether records of a partition can be taken at once, although it may need several turns."""
        return self.has_records(tp) and not (tp in self._readers and self._readers[tp].is_waiting)

    def take(self, tp: TP, state: Any, max_bytes: int, *, deadline: float) -> FetchedPartition:
        """Take the next records of a partition; see `ResponseReader.take`."""
        fetcher, before = self._fetcher(), state.position
        result: Any = fetcher._records[tp]
        if not result.check_assignment(tp):
            self._remove(tp)
            return FetchedPartition(tp, before, [], 0, before, state.highwater)
        if not isinstance(result._partition_records, ResponseReader):
            result._partition_records = self._reader(tp, result._partition_records)
        reader: ResponseReader = result._partition_records
        records, size = reader.take(max_records=self._max_records, max_bytes=max_bytes, deadline=deadline)
        result._update_position()
        if reader.has_ended:
            self._remove(tp)
        return FetchedPartition(tp, before, records, size, state.position, state.highwater)

    def _reader(self, tp: TP, stock: PartitionRecords) -> ResponseReader:
        self._close_discarded()
        reader = ResponseReader(
            stock, self._data.pop(tp), may_use_large_window=self._may_use_large_window, kernel=self._kernel()
        )
        self._readers[tp] = reader
        return reader

    def _may_use_large_window(self) -> bool:
        self._close_discarded()
        return not any(reader.has_large_window for reader in self._readers.values())

    def _close_discarded(self) -> None:
        """Free the memory of responses that aiokafka does not hold any more: partitions were revoked, or sought."""
        held = self._fetcher()._records
        self._data = {tp: data for tp, data in self._data.items() if tp in held}
        for tp, reader in [*self._readers.items()]:
            if getattr(held.get(tp), "_partition_records", None) is not reader:
                self._readers.pop(tp).close()

    def _remove(self, tp: TP) -> None:
        """Let aiokafka fetch the partition again."""
        fetcher = self._fetcher()
        del fetcher._records[tp]
        self._close_discarded()
        fetcher._notify(fetcher._wait_consume_future)
