"""Stop the worker before the dead-letter topic floods: where most records fail, the records are not the cause.

Each record is counted once, on repeated delivery too: in offset order within a batch, and in the order in which the
batches have their turn, over all partitions. A batch is counted before any of its dead letters is sent.
"""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence

from streamapp.errors import PoisonFlood
from streamapp.model import record_columns
from streamapp.model.record import BatchRecord, DeadLetter, PartitionId, Reason

#: Seconds that the first dead letters wait while fewer than `min_records` were counted. Meanwhile, later batches and
#: other partitions announce theirs. So a worker that starts again and again during a flood sends no dead letters.
FIRST_WAIT_SECONDS = 1.0
_MAX_ERROR_LENGTH = 200


class CircuitBreaker:
    """Counts how many of the last records failed; once open, it stays open.

    Args:
        failure_ratio: it opens when at least this fraction of the last records failed; 0 means never.
        window: the number of last records.
        min_records: the number of records that must be counted before it can open.
        sleep: waits; a parameter for tests.
    """

    def __init__(
        self,
        *,
        failure_ratio: float,
        window: int,
        min_records: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._failure_ratio = failure_ratio
        self._min_records = min_records
        self._sleep = sleep
        self._last = _Window(window)
        self._counted = 0
        #: Number of good records, and reasons of failed ones, by the first offset of a batch, since a batch can be
        #: delivered again. All batches since the start are here until `min_records` are counted.
        self._announced: dict[tuple[PartitionId, int], tuple[int, Counter[Reason]]] = {}
        self._last_counted_offset: dict[PartitionId, int] = {}
        self._first_wait: asyncio.Task[None] | None = None
        #: The message of the error, once it is open.
        self._message: str | None = None

    def announce(self, partition_id: PartitionId, records: Sequence[BatchRecord], dead: Sequence[DeadLetter]) -> None:
        """Note a batch that waits for its turn; `check` is called when it has it."""
        if self._failure_ratio and self._counted < self._min_records:
            reasons = Counter(letter.reason for letter in dead)
            self._announced[partition_id, records[0].offset] = (len(records) - len(dead), reasons)

    async def check(
        self, partition_id: PartitionId, records: Sequence[BatchRecord], dead: Sequence[DeadLetter]
    ) -> None:
        """Count a batch and return if its dead letters may be sent; can wait for FIRST_WAIT_SECONDS.

        Args:
            partition_id: the partition of the batch.
            records: all its records, in offset order.
            dead: its dead letters, in offset order.

        Raises:
            PoisonFlood: too many of the last records failed; no dead letter may be sent any more.
        """
        if not self._failure_ratio:
            return
        self._count_batch(partition_id, records, dead)
        if not dead:
            return
        if self._is_undecided:
            await self._wait_for_announcements()
            announced = self._all_announced()
            self._open_if_due(announced, announced.records, dead[-1])
        if self._message:
            raise PoisonFlood(self._message)

    def _count_batch(
        self, partition_id: PartitionId, records: Sequence[BatchRecord], dead: Sequence[DeadLetter]
    ) -> None:
        done = self._counted_before(partition_id, records)
        offsets = record_columns.offsets(records) if dead else ()
        for letter in dead:
            index = bisect_left(offsets, letter.record.offset)
            if index >= done:
                self._count_good(index - done, letter)
                self._count(1, letter.reason)
                self._open_if_due(self._last, self._counted, letter)
                done = index + 1
        self._count_good(len(records) - done, dead[-1] if dead else None)

    def _counted_before(self, partition_id: PartitionId, records: Sequence[BatchRecord]) -> int:
        """The number of these records that were counted before; from now on, all of them were."""
        last = self._last_counted_offset.get(partition_id, -1)
        self._last_counted_offset[partition_id] = max(last, records[-1].offset)
        return bisect_right(records, last, key=_offset) if records[0].offset <= last else 0

    def _count_good(self, records: int, letter: DeadLetter | None) -> None:
        missing = self._min_records - self._counted
        if letter and 0 < missing <= records:
            # Failed records that came first are judged as soon as `min_records` are counted.
            self._count(missing, None)
            self._open_if_due(self._last, self._counted, letter)
            records -= missing
        if records:
            self._count(records, None)

    def _count(self, records: int, reason: Reason | None) -> None:
        self._counted += records
        self._last.add(records, reason)

    def _open_if_due(self, last: _Window, counted: int, letter: DeadLetter) -> None:
        if not self._message and counted >= self._min_records and last.failure_ratio >= self._failure_ratio:
            self._message = self._message_of(last, letter)

    @property
    def _is_undecided(self) -> bool:
        return self._counted < self._min_records and self._last.failure_ratio >= self._failure_ratio

    async def _wait_for_announcements(self) -> None:
        # Once per worker: where nothing else arrives, dead letters must not wait one by one.
        if self._first_wait is None:
            self._first_wait = asyncio.ensure_future(self._sleep(FIRST_WAIT_SECONDS))
        await asyncio.wait([self._first_wait])

    def _all_announced(self) -> _Window:
        announced = _Window(sys.maxsize)
        for good, reasons in self._announced.values():
            announced.add(good, None)
            for reason, failed in reasons.items():
                announced.add(failed, reason)
        return announced

    def _message_of(self, last: _Window, letter: DeadLetter) -> str:
        record, failed = letter.record, last.failed
        reasons = ", ".join(f"{n:,} {reason.value}" for reason, n in failed.most_common() if n)
        return (
            f"The worker stops: {failed.total():,} of the last {last.records:,} records could not be stored"
            f" (STREAMAPP_BREAKER_FAILURE_RATIO is {self._failure_ratio:g})."
            f"\n  Reasons: {reasons}"
            f"\n  Example: {record.topic}, partition {record.partition}, offset {record.offset}:"
            f" {_error_text(letter)}"
            "\nThe worker has not acked these records. Kafka delivers them again after the next start."
            "\nRemove the cause (register the missing schema, or correct the producer), then start the worker again."
            "\nOr send the records to the dead-letter topic: set STREAMAPP_BREAKER_FAILURE_RATIO=0, start the worker"
            "\nagain, and replay them later with `streamapp dlq replay`."
        )


def _error_text(letter: DeadLetter) -> str:
    # MongoDB's error quotes the document, and a log must not hold values of events.
    if letter.reason is Reason.REFUSED_BY_STORE:
        return "MongoDB refused the document; earlier dead letters have its error: `streamapp dlq list`"
    return letter.error[:_MAX_ERROR_LENGTH]


class _Window:
    """The last records, as runs of good ones and of failed ones with the same reason."""

    def __init__(self, size: int) -> None:
        self.records = 0
        self.failed = Counter[Reason]()
        self._size = size
        self._runs: deque[tuple[Reason | None, int]] = deque()

    def add(self, records: int, reason: Reason | None) -> None:
        self._runs.append((reason, records))
        self._count(records, reason)
        while self.records > self._size:
            self._drop(self.records - self._size)

    @property
    def failure_ratio(self) -> float:
        return self.failed.total() / self.records

    def _drop(self, excess: int) -> None:
        reason, records = self._runs.popleft()
        if records > excess:
            self._runs.appendleft((reason, records - excess))
        self._count(-min(records, excess), reason)

    def _count(self, records: int, reason: Reason | None) -> None:
        self.records += records
        if reason:
            self.failed[reason] += records


def _offset(record: BatchRecord) -> int:
    return record.offset
