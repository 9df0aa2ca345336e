"""The circuit breaker opens when too many records fail, and only then."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from unittest.mock import Mock

import pytest

from streamapp.errors import PoisonFlood
from streamapp.model import record_columns
from streamapp.model.record import DeadLetter, PartitionId, Reason
from streamapp.sink.circuit_breaker import FIRST_WAIT_SECONDS, CircuitBreaker
from tests.support.columns import columns_of
from tests.support.factories import FakeRecord, a_letter, a_record

GOOD, BAD = "g", "b"


class Feed:
    """Batches of several partitions, written as strings of `g`ood and `b`ad records."""

    def __init__(self, *, failure_ratio: float = 0.5, window: int = 1_000, min_records: int = 100) -> None:
        self.waits: list[float] = []
        self.breaker = CircuitBreaker(
            failure_ratio=failure_ratio, window=window, min_records=min_records, sleep=self._sleep
        )
        self._ends: dict[int, int] = {}

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def check(self, kinds: str, *, partition: int = 0, start: int | None = None) -> None:
        """Check a batch, after the one before it or at `start`; every second offset is missing."""
        start = self._ends.get(partition, 0) if start is None else start
        self._ends[partition] = start + 2 * len(kinds)
        records = [a_record(partition=partition, offset=start + 2 * index) for index in range(len(kinds))]
        dead = [_letter(record) for record, kind in zip(records, kinds, strict=True) if kind == BAD]
        partition_id = PartitionId("topic-id", partition)
        self.breaker.announce(partition_id, records, dead)
        await self.breaker.check(partition_id, records, dead)

    def opens(self, *batches: str) -> bool:
        """Return whether one of these batches of a partition opens it."""
        try:
            asyncio.run(self._check_all(batches))
        except PoisonFlood:
            return True
        return False

    async def _check_all(self, batches: Sequence[str]) -> None:
        for kinds in batches:
            await self.check(kinds)


def _letter(record: FakeRecord, reason: Reason = Reason.UNDECODABLE) -> DeadLetter:
    return a_letter(reason, partition=record.partition, offset=record.offset)


def scattered(bad: int, good: int) -> str:
    """Return that many, shuffled."""
    kinds = [*(BAD * bad + GOOD * good)]
    random.Random(bad).shuffle(kinds)
    return "".join(kinds)


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([BAD * 100], True),
        ([BAD * 99], False),
        ([BAD * 99, BAD], True),
        ([BAD] * 100, True),
        ([BAD], False),
        ([GOOD * 1_000, BAD * 499], False),
        ([GOOD * 1_000, BAD * 499, BAD], True),
        ([GOOD * 10_000, BAD * 500], True),
        ([GOOD * 600 + BAD * 400] * 3, False),
        ([BAD * 50 + GOOD * 50], True),
        ([BAD * 49 + GOOD * 51], False),
        ([BAD * 60 + GOOD * 5_000], True),
        ([BAD * 60 + GOOD * 5_000 + BAD], True),
        ([BAD * 60, GOOD * 40, GOOD * 1_000, BAD], False),
        ([BAD * 60, GOOD * 39 + BAD], True),
        ([scattered(25, 250)], False),
        ([*scattered(25, 250)], False),
        ([scattered(40, 60)] * 30, False),
        ([scattered(60, 40)] * 30, True),
    ],
)
def test_it_opens_when_half_of_the_last_thousand_records_failed(batches: list[str], expected: bool) -> None:
    """With at least a hundred counted; good records alone never open it."""
    assert expected == Feed().opens(*batches)


def naive(batches: Sequence[str], *, failure_ratio: float, window: int, min_records: int) -> bool:
    """Return whether it must open, computed record by record."""
    last: deque[str] = deque(maxlen=window)
    seen = 0
    for kinds in batches:
        is_open = False
        for kind in kinds:
            last.append(kind)
            seen += 1
            is_due = kind == BAD or seen == min_records
            is_open = is_open or (is_due and seen >= min_records and last.count(BAD) / len(last) >= failure_ratio)
        if is_open and BAD in kinds:
            return True
    return False


@pytest.mark.parametrize("seed", range(60))
def test_runs_are_counted_like_single_records(seed: int) -> None:
    """For random windows, ratios and batches."""
    source = random.Random(seed)
    window, min_records = source.randrange(1, 60), source.randrange(1, 80)
    failure_ratio, badness = source.choice((0.05, 0.3, 0.5, 0.9, 1.0)), source.random()
    batches = [
        "".join(BAD if source.random() < badness else GOOD for _ in range(source.choice((1, 5, 40))))
        for _ in range(source.randrange(1, 12))
    ]
    expected = naive(batches, failure_ratio=failure_ratio, window=window, min_records=min_records)

    assert expected == Feed(failure_ratio=failure_ratio, window=window, min_records=min_records).opens(*batches)


def test_records_in_columns_are_counted_without_an_object_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object copies the value and the headers of its record."""
    made = Mock(wraps=record_columns._record)
    monkeypatch.setattr(record_columns, "_record", made)
    records, breaker = [a_record(offset=offset) for offset in range(100)], Feed(min_records=10).breaker
    dead = [_letter(record) for record in records[20:]]

    with pytest.raises(PoisonFlood):
        asyncio.run(breaker.check(PartitionId("topic-id", 0), columns_of(records), dead))
    assert made.call_count <= 2


def test_a_ratio_of_zero_turns_it_off() -> None:
    """Nothing waits, and nothing is kept."""
    feed = Feed(failure_ratio=0)

    assert not feed.opens(BAD * 5_000, BAD, GOOD)
    assert {} == feed.breaker._announced
    assert [] == feed.waits


def test_all_partitions_count_together() -> None:
    """The ratio is that of the worker."""
    feed = Feed()
    asyncio.run(feed.check(BAD * 60, partition=0))

    with pytest.raises(PoisonFlood):
        asyncio.run(feed.check(BAD * 60, partition=1))


def test_an_open_breaker_lets_good_batches_pass_and_no_dead_letters() -> None:
    """Of any partition, however many good records come before."""
    feed = Feed()
    assert feed.opens(BAD * 100)

    asyncio.run(feed.check(GOOD * 4_000, partition=1))
    with pytest.raises(PoisonFlood, match="100 of the last 100 records"):
        asyncio.run(feed.check(GOOD * 4_000 + BAD, partition=2))


def test_redelivered_records_are_not_counted_again() -> None:
    """Rebalances during an outage of the dead-letter topic deliver the same records many times."""
    feed = Feed()

    async def scenario() -> None:
        for _ in range(10):
            await feed.check(GOOD * 20 + BAD * 30, start=0)
        await feed.check((GOOD * 20 + BAD * 30) + GOOD * 50, start=0)
        await feed.check(BAD * 39, partition=1)

    asyncio.run(scenario())

    assert feed.opens(BAD)


def test_the_first_dead_letters_wait_for_batches_of_other_partitions() -> None:
    """Else each start during a flood would send some before enough records are counted."""
    feed = Feed()

    async def scenario() -> list[BaseException | None]:
        batches = (BAD * 56, BAD * 30, GOOD * 4 + BAD * 10)
        checks = [feed.check(kinds, partition=partition) for partition, kinds in enumerate(batches)]
        return await asyncio.gather(*checks, return_exceptions=True)

    assert [PoisonFlood] * 3 == [type(outcome) for outcome in asyncio.run(scenario())]
    assert [FIRST_WAIT_SECONDS] == feed.waits


def test_dead_letters_wait_once_per_worker() -> None:
    """Not once per dead letter."""
    feed = Feed()

    async def scenario() -> None:
        for _ in range(5):
            await feed.check(BAD)

    asyncio.run(scenario())

    assert [FIRST_WAIT_SECONDS] == feed.waits


@pytest.mark.parametrize("kinds", [GOOD * 4 + BAD, GOOD * 100 + BAD * 90])
def test_dead_letters_among_good_records_do_not_wait(kinds: str) -> None:
    """The ratio is low, or enough records are counted."""
    feed = Feed()

    asyncio.run(feed.check(kinds))

    assert [] == feed.waits


def test_the_message_says_what_is_wrong_and_what_to_do() -> None:
    """The numbers, the reasons, an example, and both remedies."""
    breaker = CircuitBreaker(failure_ratio=0.5, window=1_000, min_records=100)
    records = [a_record(partition=3, offset=offset) for offset in range(2_000)]
    dead = [
        _letter(record, Reason.EMPTY if record.offset % 10 == 0 else Reason.UNKNOWN_SCHEMA_ID)
        for record in records[1_000:]
    ]

    with pytest.raises(PoisonFlood) as caught:
        asyncio.run(breaker.check(PartitionId("topic-id", 3), records, dead))

    for words in (
        "The worker stops: 500 of the last 1,000 records could not be stored",
        "STREAMAPP_BREAKER_FAILURE_RATIO is 0.5",
        "Reasons: 450 unknown-schema-id, 50 empty\n",
        "user_events, partition 3, offset 1499: broken\n",
        "register the missing schema",
        "STREAMAPP_BREAKER_FAILURE_RATIO=0,",
        "`streamapp dlq replay`",
    ):
        assert words in str(caught.value)


def test_a_long_error_is_cut() -> None:
    """The message goes into a log line."""
    breaker = CircuitBreaker(failure_ratio=0.5, window=1, min_records=1)
    record = a_record()

    with pytest.raises(PoisonFlood) as caught:
        asyncio.run(breaker.check(PartitionId("topic-id", 0), [record], [a_letter(error="x" * 5_000)]))

    assert len(str(caught.value)) < 1_000


def test_the_message_holds_no_values_of_events() -> None:
    """MongoDB's error does, and stays in the headers of the dead letter."""
    error = 'E11000 duplicate key error dup key: { user_id: "alice@example.org" }'
    breaker = CircuitBreaker(failure_ratio=0.5, window=10, min_records=1)
    record = a_record(offset=77)

    with pytest.raises(PoisonFlood) as failure:
        asyncio.run(
            breaker.check(PartitionId("topic-id", 0), [record], [a_letter(Reason.REFUSED_BY_STORE, error, offset=77)])
        )

    message = str(failure.value)
    assert "alice" not in message
    for words in ("1 refused-by-store", "offset 77", "streamapp dlq list"):
        assert words in message
