"""Stop before the dead-letter topic floods: where most records are poison, the fault lies elsewhere than in them.

Each record is judged once, however often it comes: in offset order within a batch, batches in the order of their turns,
all partitions together. What a batch with dead letters brings is judged before any of them is sent.
"""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence

from streamapp.errors import PoisonFlood
from streamapp.model.record import BatchRecord, DeadLetter, PartitionId, Reason

#: Seconds that the first dead letters wait, if too few records have been seen to judge by: what comes behind them and
#: in other partitions is looked at meanwhile, so that a worker that starts over and over during poison buries none.
FIRST_LOOK_SECONDS = 1.0
_MOST_ERROR = 200


class Breaker:
    """Knows how many of the last records were bad, and breaks once, for good.

    Args:
        share: of bad records among the last ones, from which on it breaks; 0: never.
        window: how many the last ones are.
        least: how many must have been seen.
        sleep: what passes the time.
    """

    def __init__(
        self,
        *,
        share: float,
        window: int,
        least: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._share = share
        self._least = least
        self._sleep = sleep
        self._last = _Last(window)
        self._seen = 0
        #: Good records and reasons of bad ones, by the place where a batch begins, since it may come again: all since
        #: the start that have been judged or wait for their turn, until there are enough to judge by.
        self._expected: dict[tuple[PartitionId, int], tuple[int, Counter[Reason]]] = {}
        #: Offset of the last record that was judged.
        self._judged: dict[PartitionId, int] = {}
        self._looking: asyncio.Task[None] | None = None
        #: What is to be said, once it has broken.
        self._flood: str | None = None

    def expect(self, partition_id: PartitionId, records: Sequence[BatchRecord], dead: Sequence[DeadLetter]) -> None:
        """Know of a batch that is to be judged when it has its turn."""
        if self._share and self._seen < self._least:
            reasons = Counter(letter.reason for letter in dead)
            self._expected[partition_id, records[0].offset] = (len(records) - len(dead), reasons)

    async def judge(
        self, partition_id: PartitionId, records: Sequence[BatchRecord], dead: Sequence[DeadLetter]
    ) -> None:
        """Return if the dead letters of these records, both in offset order, may be sent; may take FIRST_LOOK_SECONDS.

        Raises:
            PoisonFlood: they may not, nor any other.
        """
        if not self._share:
            return
        self._take_in(partition_id, records, dead)
        if not dead:
            return
        if self._is_undecided:
            await self._look_round()
            expected = self._all_expected()
            self._check(expected, expected.records, dead[-1])
        if self._flood:
            raise PoisonFlood(self._flood)

    def _take_in(self, partition_id: PartitionId, records: Sequence[BatchRecord], dead: Sequence[DeadLetter]) -> None:
        done = self._judged_before(partition_id, records)
        for letter in dead:
            index = bisect_left(records, letter.record.offset, key=_offset)
            if index >= done:
                self._add_good(index - done, letter)
                self._add(1, letter.reason)
                self._check(self._last, self._seen, letter)
                done = index + 1
        self._add_good(len(records) - done, dead[-1] if dead else None)

    def _judged_before(self, partition_id: PartitionId, records: Sequence[BatchRecord]) -> int:
        """How many of them have been; from now on all have been."""
        last = self._judged.get(partition_id, -1)
        self._judged[partition_id] = max(last, records[-1].offset)
        return bisect_right(records, last, key=_offset) if records[0].offset <= last else 0

    def _add_good(self, records: int, letter: DeadLetter | None) -> None:
        missing = self._least - self._seen
        if letter and 0 < missing <= records:
            # Poison that came before them is judged as soon as there is enough to judge by.
            self._add(missing, None)
            self._check(self._last, self._seen, letter)
            records -= missing
        if records:
            self._add(records, None)

    def _add(self, records: int, reason: Reason | None) -> None:
        self._seen += records
        self._last.add(records, reason)

    def _check(self, last: _Last, seen: int, letter: DeadLetter) -> None:
        if not self._flood and seen >= self._least and last.bad_share >= self._share:
            self._flood = self._told(last, letter)

    @property
    def _is_undecided(self) -> bool:
        return self._seen < self._least and self._last.bad_share >= self._share

    async def _look_round(self) -> None:
        # Once: where nothing else comes, dead letters are not to be held up one by one.
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._sleep(FIRST_LOOK_SECONDS))
        await asyncio.wait([self._looking])

    def _all_expected(self) -> _Last:
        together = _Last(sys.maxsize)
        for good, reasons in self._expected.values():
            together.add(good, None)
            for reason, bad in reasons.items():
                together.add(bad, reason)
        return together

    def _told(self, last: _Last, letter: DeadLetter) -> str:
        record, bad = letter.record, last.bad
        reasons = ", ".join(f"{n:,} {reason.value}" for reason, n in bad.most_common() if n)
        return (
            f"circuit breaker: {bad.total():,} of the last {last.records:,} records can never be stored"
            f" (STREAMAPP_BREAKER_SHARE is {self._share:g}), so this worker stops before the dead-letter topic floods."
            f"\n  Reasons: {reasons}"
            f"\n  Example: {record.topic}, partition {record.partition}, offset {record.offset}:"
            f" {_why(letter)}"
            "\nWhat has not been dead-lettered yet is not acked, and comes again. Mend the cause (register the schema"
            "\nthat is missing, set the producer right) and start the worker again. Or let the records go to the"
            "\ndead-letter topic with STREAMAPP_BREAKER_SHARE=0, and bring them back later: `streamapp dlq replay`."
        )


def _why(letter: DeadLetter) -> str:
    # MongoDB quotes the document, and a log holds no values of events.
    if letter.reason is Reason.REFUSED_BY_STORE:
        return "what MongoDB says stands in the dead letters sent before, if any: `streamapp dlq list`"
    return letter.error[:_MOST_ERROR]


class _Last:
    """The last records, as runs of good ones and of bad ones with the same reason."""

    def __init__(self, size: int) -> None:
        self.records = 0
        self.bad = Counter[Reason]()
        self._size = size
        self._runs: deque[tuple[Reason | None, int]] = deque()

    def add(self, records: int, reason: Reason | None) -> None:
        self._runs.append((reason, records))
        self._count(records, reason)
        while self.records > self._size:
            self._drop(self.records - self._size)

    @property
    def bad_share(self) -> float:
        return self.bad.total() / self.records

    def _drop(self, excess: int) -> None:
        reason, records = self._runs.popleft()
        if records > excess:
            self._runs.appendleft((reason, records - excess))
        self._count(-min(records, excess), reason)

    def _count(self, records: int, reason: Reason | None) -> None:
        self.records += records
        if reason:
            self.bad[reason] += records


def _offset(record: BatchRecord) -> int:
    return record.offset
