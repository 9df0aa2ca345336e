"""The rollup writer counts every event once, whatever happens between two writes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapp.decode.document import Document
from streamapp.errors import StoreUnavailable
from streamapp.model.record import PartitionId
from streamapp.retry import OutageRetrier, RetryPolicy
from streamapp.rollups import writer
from streamapp.rollups.keys import id_of
from streamapp.rollups.levels import LEVELS, Keep, Level
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.writer import RollupWriter
from tests.support.doubles.ports import FakeRollupStore
from tests.support.factories import NOW, TOPIC_ID

PARTITION = PartitionId(TOPIC_ID, 0)


def an_event(offset: int, **changes: Any) -> Document:
    """Return the document of an event; the events lie in several buckets."""
    document = {
        "user_id": f"user-{offset % 7}",
        "event_type": "click",
        "event_timestamp": NOW + offset % 3 * 700_000,
        "metadata": {"device": "mobile", "location": "DE"},
        "browser": None,
        "schema_version": "v1",
        "kafka": {"topic": "user_events", "partition": 0, "offset": offset},
    }
    return document | changes


def quick_outages() -> OutageRetrier:
    """Return a retrier that does not wait."""
    return OutageRetrier("MongoDB", policy=RetryPolicy(first_wait=0, max_wait=0))


def a_writer(
    rollups: FakeRollupStore,
    *,
    keep: Keep | None = None,
    waits: list[float] | None = None,
    outages: OutageRetrier | None = None,
    pauses_end: bool = True,
    max_waiting: int = 1_000,
) -> RollupWriter:
    """Return a rollup writer that does not wait, or whose pauses do not end by themselves; its waits go to `waits`.

    `max_waiting` is a number of events with the size of the first one.
    """

    async def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)
        await (asyncio.sleep(0) if pauses_end or not seconds else asyncio.Event().wait())

    now = datetime.fromtimestamp(NOW / 1000, UTC)
    return RollupWriter(
        rollups,
        outages=outages or quick_outages(),
        keep=keep or {},
        now=lambda: now,
        sleep=sleep,
        max_waiting_bytes=max_waiting * PendingCounts.of([an_event(0)]).size,
    )


def recounted(events: Sequence[Document]) -> dict[str, Counter[str]]:
    """Return the number of events that each rollup must hold."""
    counts: dict[str, Counter[str]] = {level.name: Counter() for level in LEVELS}
    for document in events:
        for level in LEVELS:
            counts[level.name][id_of(PARTITION, level.start_of(document["event_timestamp"]))] += 1
    return counts


def stored(rollups: FakeRollupStore) -> dict[str, Counter[str]]:
    """Return the number of events that each rollup holds."""
    return {name: Counter({id_: each["n"] for id_, each in found.items()}) for name, found in rollups.documents.items()}


def test_added_events_are_counted_at_every_level() -> None:
    """Several batches in one write, the widest level first."""
    rollups, order = FakeRollupStore(), []
    write_if_unchanged = rollups.write_if_unchanged

    async def note(level: Level, writes: Any) -> bool:
        order.append(level.name)
        return await write_if_unchanged(level, writes)

    rollups.write_if_unchanged = note  # pyright: ignore[reportAttributeAccessIssue]
    events = [an_event(offset) for offset in range(9)]

    async def scenario() -> None:
        rollup_writer = a_writer(rollups)
        await asyncio.gather(*[rollup_writer.add(PARTITION, PendingCounts.of(events[at : at + 3])) for at in (0, 3, 6)])

    asyncio.run(scenario())

    assert recounted(events) == stored(rollups)
    assert ["1d", "1h", "10m", "1m"] == order


def test_rollups_are_written_at_most_once_a_second() -> None:
    """The first write starts at once; the next ones wait."""
    waits: list[float] = []

    async def scenario() -> None:
        rollup_writer = a_writer(FakeRollupStore(), waits=waits)
        for offset in range(3):
            await rollup_writer.add(PARTITION, PendingCounts.of([an_event(offset)]))

    asyncio.run(scenario())

    first, *others = waits
    assert first == 0
    assert len(others) == 2
    assert all(0.5 < wait <= writer.WRITE_INTERVAL_SECONDS for wait in others)


def spread_events(count: int) -> list[Document]:
    """Return events of which each lies in a minute of its own."""
    return [an_event(offset, event_timestamp=NOW + offset * 60_000) for offset in range(count)]


def test_a_write_of_many_rollups_is_followed_by_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the next write has more events for each rollup; the pause has a limit."""
    monkeypatch.setattr(writer, "PAUSE_SECONDS_PER_ROLLUP", 1.0)
    monkeypatch.setattr(writer, "MAX_PAUSE_SECONDS", 50.0)
    waits: list[float] = []

    async def scenario() -> None:
        rollup_writer = a_writer(FakeRollupStore(), waits=waits)
        for begin, end in ((0, 1), (1, 101), (101, 102)):
            await rollup_writer.add(PARTITION, PendingCounts.of(spread_events(102)[begin:end]))

    asyncio.run(scenario())

    assert waits[0] == 0
    assert [round(wait) for wait in waits[1:]] == [4, 50]


def test_rollups_whose_batches_were_given_up_cause_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was written."""
    monkeypatch.setattr(writer, "PAUSE_SECONDS_PER_ROLLUP", 100.0)
    monkeypatch.setattr(writer, "MAX_PAUSE_SECONDS", 1_000.0)
    rollups, waits = FakeRollupStore(), list[float]()
    rollups.is_read_only = True

    async def scenario() -> None:
        rollup_writer = a_writer(rollups, waits=waits)
        given_up = rollup_writer.add(PARTITION, PendingCounts.of([an_event(0)]))
        for _ in range(20):
            await asyncio.sleep(0)
        given_up.cancel()
        rollups.is_read_only = False
        await rollup_writer.add(PARTITION, PendingCounts.of([an_event(1)]))

    asyncio.run(scenario())

    assert all(wait <= writer.WRITE_INTERVAL_SECONDS for wait in waits)


@pytest.mark.parametrize("limit", ["bytes", "batches"])
def test_a_pause_ends_when_many_bytes_or_batches_wait(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Those of the write before do not count."""
    monkeypatch.setattr(writer, "MAX_WAITING_BATCHES", 3 if limit == "batches" else 1_000)
    max_waiting = 3 if limit == "bytes" else 1_000
    rollups, waits = FakeRollupStore(), list[float]()

    async def scenario() -> None:
        rollup_writer = a_writer(rollups, waits=waits, pauses_end=False, max_waiting=max_waiting)
        added = [rollup_writer.add(PARTITION, PendingCounts.of([an_event(offset)])) for offset in range(2)]
        await asyncio.gather(*added)
        added = [rollup_writer.add(PARTITION, PendingCounts.of([an_event(offset)])) for offset in (2, 3)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert rollups.total("1d") == 2
        added.append(rollup_writer.add(PARTITION, PendingCounts.of([an_event(4)])))
        await asyncio.gather(*added)

    asyncio.run(scenario())

    assert recounted([an_event(offset) for offset in range(5)]) == stored(rollups)
    assert len(waits) == 2


def test_in_a_hurry_there_are_no_pauses() -> None:
    """What waits is written at once, and so is what is added soon after."""
    rollups, waits = FakeRollupStore(), list[float]()

    async def scenario() -> None:
        rollup_writer = a_writer(rollups, waits=waits, pauses_end=False)
        await rollup_writer.add(PARTITION, PendingCounts.of([an_event(0)]))
        waiting = rollup_writer.add(PARTITION, PendingCounts.of([an_event(1)]))
        for _ in range(20):
            await asyncio.sleep(0)
        assert rollups.total("1d") == 1
        rollup_writer.hurry(600)
        await waiting
        await rollup_writer.add(PARTITION, PendingCounts.of([an_event(2)]))

    asyncio.run(scenario())

    assert recounted([an_event(offset) for offset in range(3)]) == stored(rollups)
    assert [bool(wait) for wait in waits] == [False, True, False]


def test_pauses_come_back_after_a_hurry() -> None:
    """A rebalance can give the worker its partitions back."""
    waits: list[float] = []

    async def scenario() -> None:
        rollup_writer = a_writer(FakeRollupStore(), waits=waits)
        await rollup_writer.add(PARTITION, PendingCounts.of([an_event(0)]))
        rollup_writer.hurry(0)
        for offset in (1, 2):
            await rollup_writer.add(PARTITION, PendingCounts.of([an_event(offset)]))

    asyncio.run(scenario())

    assert [bool(wait) for wait in waits] == [False, True, True]


@pytest.mark.parametrize("together", [1, 8, 1_000])
def test_partitions_are_written_in_groups(monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    """Each level of a group together, and every event once. A partition is cut only if it is too large by itself."""
    monkeypatch.setattr(writer, "MAX_EVENTS_TOGETHER", together)
    rollups, calls = FakeRollupStore(), Counter[str]()
    write_if_unchanged = rollups.write_if_unchanged

    async def note(level: Level, writes: Any) -> bool:
        calls[level.name] += 1
        return await write_if_unchanged(level, writes)

    rollups.write_if_unchanged = note  # pyright: ignore[reportAttributeAccessIssue]

    async def scenario() -> None:
        rollup_writer = a_writer(rollups)
        partitions = [PartitionId(TOPIC_ID, number) for number in range(5)]
        batches = [
            (partition, PendingCounts.of([an_event(n) for n in offsets]))
            for offsets in (range(2), range(2, 4))
            for partition in partitions
        ]
        await asyncio.gather(*[rollup_writer.add(*batch) for batch in batches])

    asyncio.run(scenario())

    assert [20] * len(LEVELS) == [rollups.total(level.name) for level in LEVELS]
    assert {1: 10, 8: 3, 1_000: 1}[together] == calls["1d"]


def test_events_that_are_added_while_a_write_runs_can_end_the_pause_after_it() -> None:
    """The events of the write itself cannot."""
    rollups, waits = FakeRollupStore(), list[float]()

    async def scenario() -> None:
        rollup_writer = a_writer(rollups, waits=waits, pauses_end=False, max_waiting=2)
        later: list[asyncio.Future[None]] = []

        def add_two_more() -> None:
            if not later:
                later.extend(rollup_writer.add(PARTITION, PendingCounts.of([an_event(n)])) for n in (1, 2))

        rollups.before_write = add_two_more
        await rollup_writer.add(PARTITION, PendingCounts.of([an_event(0)]))
        await asyncio.gather(*later)

    asyncio.run(scenario())

    assert recounted([an_event(offset) for offset in range(3)]) == stored(rollups)


def test_events_that_are_added_during_a_write_are_in_the_next_write() -> None:
    """Not in the one after it."""
    rollups = FakeRollupStore()

    async def scenario() -> None:
        rollup_writer = a_writer(rollups)
        later: list[asyncio.Future[None]] = []

        def add_another() -> None:
            if not later:
                later.append(rollup_writer.add(PARTITION, PendingCounts.of([an_event(1)])))

        rollups.before_write = add_another
        await rollup_writer.add(PARTITION, PendingCounts.of([an_event(0)]))
        await later[0]

    asyncio.run(scenario())

    assert recounted([an_event(0), an_event(1)]) == stored(rollups)


def test_events_of_a_cancelled_batch_are_not_counted() -> None:
    """Kafka delivers them again, before or after events that another worker counts."""
    rollups = FakeRollupStore()

    async def scenario() -> None:
        rollup_writer = a_writer(rollups)
        rollup_writer.add(PARTITION, PendingCounts.of([an_event(0)])).cancel()
        await rollup_writer.add(PartitionId(TOPIC_ID, 1), PendingCounts.of([an_event(0)]))

    asyncio.run(scenario())

    assert rollups.total("1d") == 1


def test_events_of_a_batch_that_is_cancelled_during_an_outage_are_not_counted_after_it() -> None:
    """By then another worker can have read the high watermark, and count earlier events."""
    rollups = FakeRollupStore()
    rollups.is_read_only = True

    async def scenario() -> None:
        rollup_writer = a_writer(rollups)
        cancelled, other = (
            rollup_writer.add(PartitionId(TOPIC_ID, n), PendingCounts.of([an_event(0)])) for n in range(2)
        )
        for _ in range(20):
            await asyncio.sleep(0)
        cancelled.cancel()
        rollups.is_read_only = False
        await other

    asyncio.run(scenario())

    assert rollups.total("1d") == 1


def test_an_outage_does_not_end_because_all_batches_are_cancelled() -> None:
    """No call to MongoDB has succeeded; the events of the next batch are counted."""
    rollups, outages = FakeRollupStore(), quick_outages()
    rollups.is_read_only = True

    async def scenario() -> bool:
        rollup_writer = a_writer(rollups, outages=outages)
        cancelled = rollup_writer.add(PARTITION, PendingCounts.of([an_event(0)]))
        for _ in range(20):
            await asyncio.sleep(0)
        cancelled.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        is_unreachable = outages.outage_since is not None
        rollups.is_read_only = False
        await rollup_writer.add(PARTITION, PendingCounts.of([an_event(1)]))
        return is_unreachable

    assert asyncio.run(scenario())
    assert (rollups.total("1d"), outages.count) == (1, 1)


@pytest.mark.parametrize("limit", ["MAX_EVENTS_TOGETHER", "MAX_ROLLUPS_PER_WRITE"])
def test_an_outage_does_not_end_because_the_batches_of_one_call_are_cancelled(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Those of the other calls wait."""
    monkeypatch.setattr(writer, limit, 1)
    rollups, outages = FakeRollupStore(), quick_outages()
    rollups.is_read_only = True

    async def scenario() -> None:
        rollup_writer = a_writer(rollups, outages=outages)
        cancelled, waiting = (
            rollup_writer.add(PartitionId(TOPIC_ID, n), PendingCounts.of([an_event(0)])) for n in range(2)
        )
        for _ in range(20):
            await asyncio.sleep(0)
        cancelled.cancel()
        for _ in range(60):
            await asyncio.sleep(0)
        assert not waiting.done()
        rollups.is_read_only = False
        await waiting

    asyncio.run(scenario())

    assert (rollups.total("1d"), outages.count) == (1, 1)


def test_a_group_is_answered_when_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the whole write is done: a worker that leaves its partitions has a few seconds."""
    monkeypatch.setattr(writer, "MAX_EVENTS_TOGETHER", 1)
    rollups = FakeRollupStore()

    async def scenario() -> None:
        rollup_writer = a_writer(rollups)
        first, second = (rollup_writer.add(PartitionId(TOPIC_ID, n), PendingCounts.of([an_event(0)])) for n in range(2))

        def fail_after_the_first_group() -> None:
            if rollups.total("1m") == 1:
                rollups.is_read_only = True
                raise StoreUnavailable("read-only")

        rollups.before_write = fail_after_the_first_group
        await first
        for _ in range(20):
            await asyncio.sleep(0)
        assert not second.done()
        rollups.before_write, rollups.is_read_only = (lambda: None), False
        await second

    asyncio.run(scenario())

    assert rollups.total("1d") == 2


def test_the_high_watermark_includes_the_write_in_progress() -> None:
    """Even if its batch is cancelled: MongoDB may have executed it."""
    rollups, arrived, answered = FakeRollupStore(), asyncio.Event(), asyncio.Event()
    write_if_unchanged = rollups.write_if_unchanged

    async def answer_late(level: Level, writes: Any) -> bool:
        arrived.set()
        await answered.wait()
        return await write_if_unchanged(level, writes)

    async def scenario() -> int:
        rollups.write_if_unchanged = answer_late
        rollup_writer = a_writer(rollups)
        cancelled = rollup_writer.add(PARTITION, PendingCounts.of([an_event(7)]))
        await arrived.wait()
        cancelled.cancel()
        high_watermark = asyncio.create_task(rollup_writer.high_watermark(PARTITION))
        await asyncio.sleep(0)
        answered.set()
        return await high_watermark

    assert asyncio.run(scenario()) == 7


def test_an_outage_between_two_levels_counts_nothing_twice() -> None:
    """The rollups of an unconfirmed write are read again."""
    rollups, calls = FakeRollupStore(), []
    write_if_unchanged = rollups.write_if_unchanged

    async def lose_the_answer(level: Level, writes: Any) -> bool:
        calls.append(level.name)
        written = await write_if_unchanged(level, writes)
        if len(calls) in {2, 5}:
            raise StoreUnavailable("the connection broke after the write")
        return written

    rollups.write_if_unchanged = lose_the_answer  # pyright: ignore[reportAttributeAccessIssue]
    events = [an_event(offset) for offset in range(5)]

    async def scenario() -> None:
        await a_writer(rollups).add(PARTITION, PendingCounts.of(events))

    asyncio.run(scenario())

    assert recounted(events) == stored(rollups)


def test_an_error_is_raised_in_every_caller() -> None:
    """Here the batches are not in offset order; nothing is acked."""

    async def scenario() -> list[Any]:
        rollup_writer = a_writer(FakeRollupStore())
        waiting = [rollup_writer.add(PARTITION, PendingCounts.of([an_event(3)])) for _ in range(2)]
        cancelled = rollup_writer.add(PartitionId(TOPIC_ID, 1), PendingCounts.of([an_event(0)]))
        outcome = asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(0)
        cancelled.cancel()
        return await outcome

    assert all(isinstance(found, AssertionError) for found in asyncio.run(scenario()))


def test_buckets_before_the_retention_of_a_level_are_not_written() -> None:
    """The other levels count the event."""
    rollups = FakeRollupStore()
    old = an_event(0, event_timestamp=NOW - 8 * 86_400_000)

    async def scenario() -> None:
        await a_writer(rollups, keep={LEVELS[0]: timedelta(days=7)}).add(PARTITION, PendingCounts.of([old]))

    asyncio.run(scenario())

    assert {"1m": 0, "10m": 1, "1h": 1, "1d": 1} == {name: len(found) for name, found in rollups.documents.items()}


def test_rollups_that_do_not_fit_into_the_cache_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And counted right."""
    monkeypatch.setattr(writer, "MAX_CACHED_ROLLUPS", 2)
    monkeypatch.setattr(writer, "MAX_ROLLUPS_PER_WRITE", 3)
    rollups = FakeRollupStore()
    events = [an_event(offset, event_timestamp=NOW + offset % 10 * 86_400_000) for offset in range(40)]

    async def scenario() -> None:
        rollup_writer = a_writer(rollups)
        for at in range(0, 40, 5):
            await rollup_writer.add(PARTITION, PendingCounts.of(events[at : at + 5]))
        assert [2] * len(LEVELS) == [*map(len, rollup_writer._cached.values())]

    asyncio.run(scenario())

    assert recounted(events) == stored(rollups)


def test_a_cached_rollup_is_not_read_again() -> None:
    """Rollups of several levels that begin at the same time have the same `_id`, and are cached separately."""
    rollups, read = FakeRollupStore(), Counter[str]()
    load = rollups.load

    async def note(level: Level, ids: Sequence[str]) -> Any:
        read[level.name] += len(ids)
        return await load(level, ids)

    rollups.load = note  # pyright: ignore[reportAttributeAccessIssue]
    midnight = NOW // 86_400_000 * 86_400_000
    events = [an_event(offset, event_timestamp=midnight + offset * 60_000) for offset in (0, 1)]

    async def scenario() -> None:
        rollup_writer = a_writer(rollups)
        await rollup_writer.add(PARTITION, PendingCounts.of(events))
        await rollup_writer.add(PARTITION, PendingCounts.of([an_event(2, event_timestamp=midnight)]))

    asyncio.run(scenario())

    assert {"1m": 2, "10m": 1, "1h": 1, "1d": 1} == read


def test_a_rollup_that_lacks_a_dimension_is_read_again() -> None:
    """`rollups rebuild` may complete it between two writes."""
    rollups = FakeRollupStore()
    events = [an_event(n, event_timestamp=NOW) for n in range(3)]

    async def run() -> None:
        await a_writer(rollups).add(PARTITION, PendingCounts.of(events[:1]))
        complete = {name: {id_: {**each} for id_, each in found.items()} for name, found in rollups.documents.items()}
        for found in rollups.documents.values():
            for each in found.values():
                del each["locations"]
        rollup_writer = a_writer(rollups)
        await rollup_writer.add(PARTITION, PendingCounts.of(events[1:2]))
        for name, found in rollups.documents.items():
            for id_, each in found.items():
                each["locations"] = {"DE": complete[name][id_]["n"] + 1}
        await rollup_writer.add(PARTITION, PendingCounts.of(events[2:]))

    asyncio.run(run())

    assert [{"DE": 3}] * 4 == [each["locations"] for found in rollups.documents.values() for each in found.values()]


def test_redelivered_events_of_the_first_day_of_1970_are_not_counted_twice() -> None:
    """A device whose clock is at 0 sends them; the rollups of all levels have the same `_id`."""
    rollups = FakeRollupStore()
    events = [an_event(offset, event_timestamp=0) for offset in range(4)]

    async def scenario() -> None:
        for begin in (0, 2, 0, 2):
            await a_writer(rollups).add(PARTITION, PendingCounts.of(events[begin : begin + 2]))

    asyncio.run(scenario())

    assert recounted(events) == stored(rollups)


async def run_worker(
    rollups: FakeRollupStore, events: Sequence[Document], source: random.Random, committed: int
) -> int:
    """Add batches from the committed offset on; return the next committed offset."""
    rollup_writer = a_writer(rollups)
    while committed < len(events):
        size = source.randrange(1, 6)
        await rollup_writer.add(PARTITION, PendingCounts.of(events[committed : committed + size]))
        committed += size
        await asyncio.sleep(0)
    return committed


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_two_owners_that_are_killed_at_random_count_every_event_once(seed: int, size: int) -> None:
    """From any committed offset; the last worker adds all events."""
    source, rollups = random.Random(seed), FakeRollupStore()
    events = [an_event(offset) for offset in range(size)]

    def fail_sometimes() -> None:
        if source.random() < 0.1:
            raise StoreUnavailable("unreachable")

    async def scenario() -> None:
        committed = 0
        for _ in range(4):
            rollups.before_write = fail_sometimes
            workers = [
                asyncio.create_task(run_worker(rollups, events, source, source.randint(0, committed))) for _ in range(2)
            ]
            for _ in range(source.randrange(60)):
                await asyncio.sleep(0)
            for worker in workers:
                worker.cancel()
            done = await asyncio.gather(*workers, return_exceptions=True)
            committed = max([committed, *[each for each in done if isinstance(each, int)]])
        rollups.before_write = lambda: None
        await run_worker(rollups, events, source, 0)

    asyncio.run(scenario())

    assert recounted(events) == stored(rollups)
