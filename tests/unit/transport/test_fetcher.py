"""Fetching: what it leaves behind in aiokafka."""

import asyncio
from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any, Never

import pytest
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.record.default_records import DefaultRecord, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from faust.types import TP

from streamapp.transport.fetcher import BatchFetcher, Fetched, FetchedPartition
from tests.support.factories import NOW

FAILED = TP("user_events", 0)


class Waiting(BatchFetcher):
    """Fetches what it is told to."""

    def __init__(self, fetched: "asyncio.Future[Fetched]") -> None:
        self._consumer: Any = SimpleNamespace(_subscription=SubscriptionState())
        self._fetched = fetched

    async def _fetch_until(self, deadline: float) -> Fetched:
        return await self._fetched

    @property
    def fetches(self) -> int:
        """How many aiokafka takes to be under way: while there are any, the member counts as active."""
        return self._consumer._subscription._fetch_count


def test_a_fetch_that_is_cancelled_is_over() -> None:
    """Or aiokafka would never take the member for idle again."""

    async def fetches() -> tuple[int, int, bool]:
        fetcher = Waiting(asyncio.get_running_loop().create_future())
        fetching = asyncio.create_task(fetcher.fetch(1.0))
        await asyncio.sleep(0)
        before = fetcher.fetches
        fetching.cancel()
        await asyncio.wait([fetching])
        return before, fetcher.fetches, fetching.cancelled()

    assert asyncio.run(fetches()) == (1, 0, True)


def test_a_fetch_that_fails_is_over() -> None:
    """The error is the caller's."""

    async def fetches() -> int:
        fetched = asyncio.get_running_loop().create_future()
        fetched.set_exception(OSError("no broker"))
        fetcher = Waiting(fetched)
        with pytest.raises(OSError, match="no broker"):
            await fetcher.fetch(1.0)
        return fetcher.fetches

    assert asyncio.run(fetches()) == 0


def test_a_fetch_that_is_cancelled_leaves_no_waiter() -> None:
    """An error that aiokafka gave to it would be told as one that nobody had looked at."""

    async def is_cancelled() -> bool:
        waiter = asyncio.get_running_loop().create_future()
        fetcher = Waiting(asyncio.get_running_loop().create_future())
        fetcher._consumer._fetcher = SimpleNamespace(_create_fetch_waiter=lambda: waiter)
        waiting = asyncio.create_task(fetcher._news(1.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return waiter.cancelled()

    assert asyncio.run(is_cancelled())


class Buffering(BatchFetcher):
    """Holds an error for one partition, as aiokafka does, and nothing for another."""

    def __init__(self) -> None:
        self._consumer: Any = SimpleNamespace(_fetcher=SimpleNamespace(_records={FAILED: "an error"}))
        self._consumer._fetcher.fetched_records = self._fetched_records
        self._max_batch_records = 4_000

    async def _fetched_records(self, tps: Collection[TP], **_: Any) -> Never:
        raise TopicAuthorizationFailedError(*tps)

    async def take(self, tp: TP) -> FetchedPartition:
        """Take what there is of a partition, which is read from offset 5 on and ends at 9."""
        return await self._take(tp, SimpleNamespace(position=5, highwater=9), 1_000)


def test_a_partition_without_news_is_not_read() -> None:
    """To ask for it costs as much as to read a few records, and most fetches bring news of one partition."""
    idle = TP("user_events", 1)

    assert asyncio.run(Buffering().take(idle)) == FetchedPartition(idle, 5, [], 0, 5, 9)


def test_an_error_of_a_partition_is_raised() -> None:
    """It counts as news."""
    with pytest.raises(TopicAuthorizationFailedError):
        asyncio.run(Buffering().take(FAILED))


class Holding(BatchFetcher):
    """Holds a batch that aiokafka has received, of records with these values."""

    def __init__(self, tp: TopicPartition, values: Sequence[bytes]) -> None:
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 16_384)
        for offset, value in enumerate(values):
            builder.append(offset, NOW, None, value, [])
        batch = MemoryRecords(bytes(builder.build()))
        subscription = SubscriptionState()
        subscription.assign_from_user({tp})
        subscription.seek(tp, 0)
        assignment = subscription.subscription.assignment
        found = PartitionRecords(tp, batch, [], 0, None, None, check_crcs=True, isolation_level=0)
        self._held = {tp: FetchResult(tp, assignment=assignment, partition_records=found, backoff=0)}
        fetcher = SimpleNamespace(_records=self._held, fetched_records=self._fetched_records)
        self._consumer: Any = SimpleNamespace(_fetcher=fetcher)
        self._max_batch_records = 4_000
        self.reading: Any = assignment.state_value(tp)

    async def _fetched_records(self, tps: Collection[TP], *, max_records: int, **_: Any) -> dict[Any, Any]:
        return {tp: self._held.pop(tp).getall(max_records) for tp in tps}


def test_records_are_taken_as_they_were_decoded() -> None:
    """Aiokafka's consumer would copy each into a larger object."""
    tp = TopicPartition("user_events", 0)

    async def taken() -> FetchedPartition:
        holding = Holding(tp, [b"a", b"b"])
        return await holding._take(TP(*tp), holding.reading, 1_000)

    found = asyncio.run(taken())

    assert [(0, b"a"), (1, b"b")] == [(record.offset, record.value) for record in found.records]
    assert {DefaultRecord} == {type(record) for record in found.records}
    assert found.after == 2


class Idle(BatchFetcher):
    """Reads nothing, and may fail to start or to stop."""

    def __init__(self, start_error: Exception | None = None, stop_error: Exception | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._errors = start_error, stop_error
        consumer: Any = SimpleNamespace(transport=SimpleNamespace(app=None))
        super().__init__(consumer, loop=loop, thread_loop=loop, max_batch_records=4_000)

    def __post_init__(self) -> None:
        """Do without Faust's app."""

    async def on_start(self) -> None:
        """Fail if told to."""
        if self._errors[0]:
            raise self._errors[0]

    async def on_thread_stop(self) -> None:
        """Fail if told to."""
        await super().on_thread_stop()
        if self._errors[1]:
            raise self._errors[1]


def test_it_stops_alone() -> None:
    """What else runs on the worker's loop goes on, and nothing of it is left."""

    async def is_alone() -> bool:
        other = asyncio.create_task(asyncio.sleep(60))
        fetcher = Idle()
        await fetcher.start()
        async with asyncio.timeout(10):
            await fetcher.stop()
            await asyncio.gather(*asyncio.all_tasks() - {other, asyncio.current_task()}, return_exceptions=True)
        return not other.done()

    assert asyncio.run(is_alone())


def test_an_error_at_the_start_is_raised() -> None:
    """Faust ends by it."""

    async def start() -> None:
        await Idle(start_error=OSError("no broker")).start()

    with pytest.raises(OSError, match="no broker"):
        asyncio.run(start())


def test_an_error_at_the_stop_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """It ends all the same."""

    async def live() -> None:
        fetcher = Idle(stop_error=OSError("no broker"))
        await fetcher.start()
        async with asyncio.timeout(10):
            await fetcher.stop()

    asyncio.run(live())

    assert "left Kafka with an error: OSError('no broker')" in caplog.text
