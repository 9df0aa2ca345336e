"""The circuit breaker stops a flood of dead letters, and nothing else."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence

import pytest

from streamapp.errors import PoisonFlood
from streamapp.model.record import DeadLetter, PartitionId, Reason
from streamapp.sink.circuit_breaker import FIRST_LOOK_SECONDS, Breaker
from tests.support.factories import FakeRecord, a_letter, a_record

GOOD, BAD = "g", "b"


class Feed:
    """Records of some partitions, one batch after the other, as `g`ood and `b`ad ones."""

    def __init__(self, *, share: float = 0.5, window: int = 1_000, least: int = 100) -> None:
        self.waits: list[float] = []
        self.breaker = Breaker(share=share, window=window, least=least, sleep=self._sleep)
        self._ends: dict[int, int] = {}

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)

    async def judge(self, kinds: str, *, partition: int = 0, start: int | None = None) -> None:
        """Judge a batch, after the one before it or at `start`; every second offset is missing."""
        start = self._ends.get(partition, 0) if start is None else start
        self._ends[partition] = start + 2 * len(kinds)
        records = [a_record(partition=partition, offset=start + 2 * index) for index in range(len(kinds))]
        dead = [_letter(record) for record, kind in zip(records, kinds, strict=True) if kind == BAD]
        partition_id = PartitionId("life", partition)
        self.breaker.expect(partition_id, records, dead)
        await self.breaker.judge(partition_id, records, dead)

    def breaks(self, *batches: str) -> bool:
        """Whether one of these batches of a partition breaks it."""
        try:
            asyncio.run(self._judge_all(batches))
        except PoisonFlood:
            return True
        return False

    async def _judge_all(self, batches: Sequence[str]) -> None:
        for kinds in batches:
            await self.judge(kinds)


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
def test_it_breaks_when_half_of_the_last_thousand_are_bad(batches: list[str], expected: bool) -> None:
    """With at least a hundred seen; good records alone never break it."""
    assert expected == Feed().breaks(*batches)


def naive(batches: Sequence[str], *, share: float, window: int, least: int) -> bool:
    """Return whether it must break, found record by record."""
    last: deque[str] = deque(maxlen=window)
    seen = 0
    for kinds in batches:
        broken = False
        for kind in kinds:
            last.append(kind)
            seen += 1
            is_due = kind == BAD or seen == least
            broken = broken or (is_due and seen >= least and last.count(BAD) / len(last) >= share)
        if broken and BAD in kinds:
            return True
    return False


@pytest.mark.parametrize("seed", range(60))
def test_runs_are_counted_as_single_records_would_be(seed: int) -> None:
    """Windows, shares and batches at random."""
    source = random.Random(seed)
    window, least = source.randrange(1, 60), source.randrange(1, 80)
    share, badness = source.choice((0.05, 0.3, 0.5, 0.9, 1.0)), source.random()
    batches = [
        "".join(BAD if source.random() < badness else GOOD for _ in range(source.choice((1, 5, 40))))
        for _ in range(source.randrange(1, 12))
    ]
    expected = naive(batches, share=share, window=window, least=least)

    assert expected == Feed(share=share, window=window, least=least).breaks(*batches)


def test_a_share_of_zero_turns_it_off() -> None:
    """And nothing waits, or is remembered."""
    feed = Feed(share=0)

    assert not feed.breaks(BAD * 5_000, BAD, GOOD)
    assert {} == feed.breaker._expected
    assert [] == feed.waits


def test_all_partitions_count_together() -> None:
    """A flood is one, wherever it comes in."""
    feed = Feed()
    asyncio.run(feed.judge(BAD * 60, partition=0))

    with pytest.raises(PoisonFlood):
        asyncio.run(feed.judge(BAD * 60, partition=1))


def test_once_broken_no_dead_letter_passes_and_good_records_do() -> None:
    """Of any partition, however good those before it are."""
    feed = Feed()
    assert feed.breaks(BAD * 100)

    asyncio.run(feed.judge(GOOD * 4_000, partition=1))
    with pytest.raises(PoisonFlood, match="100 of the last 100 records"):
        asyncio.run(feed.judge(GOOD * 4_000 + BAD, partition=2))


def test_records_that_come_again_are_not_judged_again() -> None:
    """A rebalance in an outage of the dead-letter topic brings the same ones over and over."""
    feed = Feed()

    async def scenario() -> None:
        for _ in range(10):
            await feed.judge(GOOD * 20 + BAD * 30, start=0)
        await feed.judge((GOOD * 20 + BAD * 30) + GOOD * 50, start=0)
        await feed.judge(BAD * 39, partition=1)

    asyncio.run(scenario())

    assert feed.breaks(BAD)


def test_the_first_dead_letters_wait_for_what_other_partitions_bring() -> None:
    """Or each start during poison would bury some before there is enough to judge by."""
    feed = Feed()

    async def scenario() -> list[BaseException | None]:
        batches = (BAD * 56, BAD * 30, GOOD * 4 + BAD * 10)
        judging = [feed.judge(kinds, partition=partition) for partition, kinds in enumerate(batches)]
        return await asyncio.gather(*judging, return_exceptions=True)

    assert [PoisonFlood] * 3 == [type(outcome) for outcome in asyncio.run(scenario())]
    assert [FIRST_LOOK_SECONDS] == feed.waits


def test_dead_letters_wait_once_per_worker() -> None:
    """Those that come one by one are not held up each."""
    feed = Feed()

    async def scenario() -> None:
        for _ in range(5):
            await feed.judge(BAD)

    asyncio.run(scenario())

    assert [FIRST_LOOK_SECONDS] == feed.waits


@pytest.mark.parametrize("kinds", [GOOD * 4 + BAD, GOOD * 100 + BAD * 90])
def test_dead_letters_among_good_records_do_not_wait(kinds: str) -> None:
    """Nothing hints at a flood, or enough has been seen."""
    feed = Feed()

    asyncio.run(feed.judge(kinds))

    assert [] == feed.waits


def test_the_message_tells_what_is_wrong_and_what_to_do() -> None:
    """How many of how many, why, one of them, and both ways out."""
    breaker = Breaker(share=0.5, window=1_000, least=100)
    records = [a_record(partition=3, offset=offset) for offset in range(2_000)]
    dead = [
        _letter(record, Reason.EMPTY if record.offset % 10 == 0 else Reason.UNKNOWN_SCHEMA_ID)
        for record in records[1_000:]
    ]

    with pytest.raises(PoisonFlood) as caught:
        asyncio.run(breaker.judge(PartitionId("life", 3), records, dead))

    for words in (
        "500 of the last 1,000 records",
        "STREAMAPP_BREAKER_SHARE is 0.5",
        "Reasons: 450 unknown-schema-id, 50 empty\n",
        "user_events, partition 3, offset 1499: broken\n",
        "register the schema",
        "STREAMAPP_BREAKER_SHARE=0,",
        "`streamapp dlq replay`",
    ):
        assert words in str(caught.value)


def test_a_long_error_is_cut() -> None:
    """The message is for a log."""
    breaker = Breaker(share=0.5, window=1, least=1)
    record = a_record()

    with pytest.raises(PoisonFlood) as caught:
        asyncio.run(breaker.judge(PartitionId("life", 0), [record], [a_letter(error="x" * 5_000)]))

    assert len(str(caught.value)) < 1_000


def test_the_message_quotes_no_values_of_events() -> None:
    """MongoDB does; its text stays in the dead letter's headers."""
    said = 'E11000 duplicate key error dup key: { user_id: "alice@example.org" }'
    breaker = Breaker(share=0.5, window=10, least=1)
    record = a_record(offset=77)

    with pytest.raises(PoisonFlood) as failure:
        asyncio.run(
            breaker.judge(PartitionId("life", 0), [record], [a_letter(Reason.REFUSED_BY_STORE, said, offset=77)])
        )

    message = str(failure.value)
    assert "alice" not in message
    for words in ("1 refused-by-store", "offset 77", "streamapp dlq list"):
        assert words in message
