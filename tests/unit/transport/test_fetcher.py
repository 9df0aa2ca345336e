"""Fetches: what they take, and their effects on aiokafka's state."""

import asyncio
import math
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any, Never

import pytest
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import IllegalStateError, InvalidSessionTimeoutError, TopicAuthorizationFailedError
from faust.types import TP

from streamapp.retry import OutageRetrier
from streamapp.transport.fetcher import BatchFetcher, FetchedRecords
from streamapp.transport.kafka_access import KafkaAccess
from streamapp.transport.response_buffer import FetchedPartition, ResponseBuffer
from streamapp.transport.topic_id_check import Send, TopicIdCheck
from streamapp.transport.truncation_check import TruncationCheck

FAILED = TP("user_events", 0)


class Waiting(BatchFetcher):
    """Returns the result of a future in place of a fetch."""

    def __init__(self, fetched: "asyncio.Future[FetchedRecords]") -> None:
        self._consumer: Any = SimpleNamespace(_subscription=SubscriptionState())
        self._access = KafkaAccess(outages=OutageRetrier("Kafka"), stop_worker=print)
        self._fetched = fetched

    async def _fetch_until(self, deadline: float) -> FetchedRecords:
        return await self._fetched

    @property
    def fetches(self) -> int:
        """The number of fetches that aiokafka counts as running; with any, the member counts as active."""
        return self._consumer._subscription._fetch_count


def test_a_cancelled_fetch_no_longer_counts_as_running() -> None:
    """Otherwise aiokafka would never count the member as idle again."""

    async def fetches() -> tuple[int, int, bool]:
        fetcher = Waiting(asyncio.get_running_loop().create_future())
        fetching = asyncio.create_task(fetcher.fetch(1.0))
        await asyncio.sleep(0)
        before = fetcher.fetches
        fetching.cancel()
        await asyncio.wait([fetching])
        return before, fetcher.fetches, fetching.cancelled()

    assert asyncio.run(fetches()) == (1, 0, True)


def test_a_failed_fetch_no_longer_counts_as_running() -> None:
    """The caller receives the error."""

    async def fetches() -> int:
        fetched = asyncio.get_running_loop().create_future()
        fetched.set_exception(OSError("no broker"))
        fetcher = Waiting(fetched)
        with pytest.raises(OSError, match="no broker"):
            await fetcher.fetch(1.0)
        return fetcher.fetches

    assert asyncio.run(fetches()) == 0


def test_a_cancelled_fetch_cancels_its_waiter() -> None:
    """Otherwise asyncio would log an error that aiokafka sets on it as never retrieved."""

    async def is_cancelled() -> bool:
        waiter = asyncio.get_running_loop().create_future()
        fetcher = Waiting(asyncio.get_running_loop().create_future())
        fetcher._consumer._fetcher = SimpleNamespace(_create_fetch_waiter=lambda: waiter)
        waiting = asyncio.create_task(fetcher._wait_for_records(1.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return waiter.cancelled()

    assert asyncio.run(is_cancelled())


class Buffering(BatchFetcher):
    """Holds an error for one partition, as aiokafka does, and nothing for another."""

    def __init__(self, error: Exception = IllegalStateError("x")) -> None:  # noqa: B008 - immutable
        self.error, self.stopped = error, list[str]()
        self.outages = OutageRetrier("Kafka")
        self._access = KafkaAccess(outages=self.outages, stop_worker=self.stopped.append)
        self._consumer: Any = SimpleNamespace(_fetcher=SimpleNamespace(_records={FAILED: "an error"}))
        self._consumer._fetcher.fetched_records = self._fetched_records
        self._responses = ResponseBuffer(lambda: self._aiokafka_fetcher, max_records=4_000)

    async def _fetched_records(self, tps: Collection[TP], **_: Any) -> Never:
        raise self.error

    async def take(self, tp: TP) -> FetchedPartition:
        """Take the records of a partition, which is read from offset 5 on and ends at 9."""
        return await self._take(tp, SimpleNamespace(position=5, highwater=9), 1_000, math.inf)


def test_a_partition_without_records_is_not_read() -> None:
    """Asking aiokafka costs as much as reading some records, and most fetches concern one partition."""
    idle = TP("user_events", 1)

    assert asyncio.run(Buffering().take(idle)) == FetchedPartition(idle, 5, [], 0, 5, 9)


def test_an_error_of_a_partition_is_raised() -> None:
    """An error is buffered like records."""
    with pytest.raises(IllegalStateError):
        asyncio.run(Buffering().take(FAILED))


def test_missing_rights_are_waited_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The log and /readyz say so once, until there was no such error for some seconds."""
    buffering = Buffering(TopicAuthorizationFailedError("user_events"))

    for _ in range(3):
        assert [] == asyncio.run(buffering.take(FAILED)).records
    assert buffering.outages.outage_since is not None
    assert 1 == caplog.text.count("Kafka refuses access")
    monkeypatch.setattr("streamapp.transport.kafka_access.ACCESS_RESTORED_SECONDS", -1)
    asyncio.run(buffering._access.wait(0))

    assert buffering.outages.outage_since is None
    assert [] == buffering.stopped


def test_a_wrong_setting_stops_the_worker() -> None:
    """With one line that names the setting."""
    buffering = Buffering(InvalidSessionTimeoutError())

    asyncio.run(buffering.take(FAILED))

    assert ["STREAMAPP_SESSION_TIMEOUT_SECONDS" in line for line in buffering.stopped] == [True]


def _no_check(send: Send) -> TopicIdCheck:
    return TopicIdCheck(send, topics=frozenset(), known=dict, on_changed=lambda _: None)


def _no_truncation_check(send: Send) -> TruncationCheck:
    return TruncationCheck(send, topics=frozenset(), on_truncated=lambda *_: None)


class Idle(BatchFetcher):
    """Reads nothing; its start or its stop may fail."""

    def __init__(self, start_error: Exception | None = None, stop_error: Exception | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._errors = start_error, stop_error
        consumer: Any = SimpleNamespace(transport=SimpleNamespace(app=None))
        super().__init__(
            consumer,
            loop=loop,
            thread_loop=loop,
            max_batch_records=4_000,
            check_topic_ids=_no_check,
            check_truncation=_no_truncation_check,
            outages=OutageRetrier("Kafka"),
            stop_worker=print,
        )

    def __post_init__(self) -> None:
        """Skip what needs Faust's app."""

    async def on_start(self) -> None:
        """Raise the given error."""
        if self._errors[0]:
            raise self._errors[0]

    async def on_thread_stop(self) -> None:
        """Raise the given error."""
        await super().on_thread_stop()
        if self._errors[1]:
            raise self._errors[1]


def test_stop_leaves_other_tasks_running() -> None:
    """The fetcher shares the worker's event loop; only its own tasks end."""

    async def is_alone() -> bool:
        other = asyncio.create_task(asyncio.sleep(60))
        fetcher = Idle()
        await fetcher.start()
        async with asyncio.timeout(10):
            await fetcher.stop()
            await asyncio.gather(*asyncio.all_tasks() - {other, asyncio.current_task()}, return_exceptions=True)
        return not other.done()

    assert asyncio.run(is_alone())


def test_an_error_of_the_start_is_raised() -> None:
    """Faust then ends the worker."""

    async def start() -> None:
        await Idle(start_error=OSError("no broker")).start()

    with pytest.raises(OSError, match="no broker"):
        asyncio.run(start())


def test_an_error_of_the_stop_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The fetcher stops nevertheless."""

    async def live() -> None:
        fetcher = Idle(stop_error=OSError("no broker"))
        await fetcher.start()
        async with asyncio.timeout(10):
            await fetcher.stop()

    asyncio.run(live())

    assert "The Kafka consumer stopped with an error: OSError('no broker')" in caplog.text
