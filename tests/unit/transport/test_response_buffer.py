"""Taking records from the responses that aiokafka holds, and their effects on aiokafka's state."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import zstandard
from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.record.default_records import DefaultRecord, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from faust.types import TP

from streamapp.transport import fetcher as batch_fetcher
from streamapp.transport.fetcher import BatchFetcher, FetchedRecords
from streamapp.transport.response_buffer import FetchedPartition, ResponseBuffer
from tests.support.factories import NOW

A, B = TP("user_events", 0), TP("user_events", 1)


class Fetcher:
    """What aiokafka's fetcher holds: a response for each partition."""

    def __init__(self) -> None:
        self._records: dict[Any, FetchResult] = {}
        self._wait_consume_future = object()
        self.notified: list[Any] = []
        self.subscription = SubscriptionState()
        self.subscription.assign_from_user({TopicPartition(*tp) for tp in (A, B)})

    def _notify(self, future: object) -> None:
        self.notified.append(future)

    def state(self, tp: TP) -> Any:
        """Return aiokafka's state of a partition."""
        assignment: Any = self.subscription.subscription.assignment
        return assignment.state_value(tp)

    def receive(self, buffer: ResponseBuffer, tp: TP, values: Sequence[bytes], window_log: int = 0) -> None:
        """Receive a response with one batch, compressed by Zstandard if it has a window."""
        self.subscription.seek(TopicPartition(*tp), 0)
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 30)
        for offset, value in enumerate(values):
            builder.append(offset, NOW, None, value, [])
        data = bytes(builder.build())
        if window_log:
            data = compressed(data, window_log)
        topics = [(tp.topic, [(tp.partition, 0, 9, data)]), ("another", [(0, 0, 9, data)])]
        buffer.keep(SimpleNamespace(topics=topics), {tp.topic})
        found = PartitionRecords(tp, MemoryRecords(data), [], 0, None, None, check_crcs=True, isolation_level=0)
        assignment = self.subscription.subscription.assignment
        self._records[TopicPartition(*tp)] = FetchResult(
            TopicPartition(*tp), assignment=assignment, partition_records=found, backoff=0
        )


def compressed(data: bytes, window_log: int) -> bytes:
    """Compress a batch in a stream, as producers do: the frame does not say how long it is."""
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    found = bytearray(data[:61] + packer.compress(data[61:]) + packer.flush())
    found[8:12] = struct.pack(">i", len(found) - 12)
    found[21:23] = struct.pack(">h", 4)
    found[17:21] = struct.pack(">I", calc_crc32c(bytes(found[21:])))
    return bytes(found)


@pytest.fixture
def fetcher() -> Fetcher:
    """Return aiokafka's fetcher without a response."""

    async def make() -> Fetcher:
        return Fetcher()

    return asyncio.run(make())


@pytest.fixture
def buffer(fetcher: Fetcher) -> ResponseBuffer:
    """Return a buffer from which at most three records are taken at once."""
    held: Any = fetcher
    return ResponseBuffer(lambda: held, max_records=3)


def take(buffer: ResponseBuffer, fetcher: Fetcher, max_bytes: int = 10_000, *, tp: TP = A) -> FetchedPartition:
    """Take records of a partition."""
    return buffer.take(tp, fetcher.state(tp), max_bytes, deadline=math.inf)


def test_records_are_taken_as_they_were_decoded(fetcher: Fetcher, buffer: ResponseBuffer) -> None:
    """Stock aiokafka copies each into a larger object."""
    fetcher.receive(buffer, A, [b"a", b"b"])

    taken = take(buffer, fetcher)

    assert [(0, b"a"), (1, b"b")] == [(record.offset, record.value) for record in taken.records]
    assert {DefaultRecord} == {type(record) for record in taken.records}
    assert (0, 2, 602) == (taken.position_before, taken.position_after, taken.size)


def test_a_response_is_kept_until_all_of_it_is_taken(fetcher: Fetcher, buffer: ResponseBuffer) -> None:
    """Then aiokafka fetches the partition again."""
    fetcher.receive(buffer, A, [b"a", b"b", b"c", b"d", b"e"])

    assert 3 == len(take(buffer, fetcher).records)
    assert buffer.has_records(A)
    assert [] == fetcher.notified
    assert [b"d"] == [record.value for record in take(buffer, fetcher, max_bytes=301).records]
    assert [b"e"] == [record.value for record in take(buffer, fetcher).records]

    assert not buffer.has_records(A)
    assert [fetcher._wait_consume_future] == fetcher.notified
    assert fetcher.state(A).position == 5


def test_after_a_seek_the_rest_of_a_response_is_discarded(fetcher: Fetcher, buffer: ResponseBuffer) -> None:
    """The partition is fetched from its new position."""
    fetcher.receive(buffer, A, [b"a", b"b", b"c", b"d", b"e"])
    take(buffer, fetcher)
    fetcher.subscription.seek(TopicPartition(*A), 1)

    assert [] == take(buffer, fetcher).records
    assert not buffer.has_records(A)
    assert fetcher.state(A).position == 1


@pytest.mark.parametrize("is_revoked", [False, True])
def test_one_large_window_is_in_memory_at_a_time(fetcher: Fetcher, buffer: ResponseBuffer, is_revoked: bool) -> None:
    """Until its batch is read, or aiokafka has discarded it; windows of usual levels are not limited."""
    values = [b"%d" % number * 500_000 for number in range(5)]
    fetcher.receive(buffer, A, values, window_log=25)
    fetcher.receive(buffer, B, values, window_log=26)

    assert 1 == len(take(buffer, fetcher).records)
    assert [] == take(buffer, fetcher, tp=B).records
    assert buffer.has_records(B)
    assert (True, False) == (buffer.has_more(A), buffer.has_more(B))
    if is_revoked:
        fetcher._records.pop(A)
    while buffer.has_records(A):
        take(buffer, fetcher)

    assert [values[0]] == [record.value for record in take(buffer, fetcher, tp=B).records]
    fetcher.receive(buffer, A, values, window_log=23)
    assert 1 == len(take(buffer, fetcher).records)


class OnlyResponses(BatchFetcher):
    """Reads responses that it has."""

    def __init__(self, fetcher: Fetcher, buffer: ResponseBuffer) -> None:
        consumer: Any = SimpleNamespace(_fetcher=fetcher, _subscription=fetcher.subscription, _coordinator=self)
        self._consumer, self._responses = consumer, buffer
        self.consumer: Any = SimpleNamespace(flow_active=True)
        self.generation, self.waits = 1, 0

    def _check_health(self) -> None: ...

    async def _wait_for_records(self, timeout: float) -> None:  # noqa: ASYNC109 - its signature
        self.waits += 1
        await asyncio.sleep(timeout)


def test_a_batch_of_several_turns_does_not_wait_between_them(
    fetcher: Fetcher, buffer: ResponseBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop runs other tasks; the next fetch begins with the other partition."""
    monkeypatch.setattr(batch_fetcher, "MAX_TURN_SECONDS", -1)
    fetcher.receive(buffer, A, [b"x" * 3_000_000])
    fetcher.receive(buffer, B, [b"y" * 3_000_000])
    reading = OnlyResponses(fetcher, buffer)
    reading.budgets = {A: 10_000_000, B: 10_000_000}
    others = 0

    async def run_others() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    async def fetches() -> list[FetchedRecords]:
        task = asyncio.create_task(run_others())
        found = [await reading._fetch_until(math.inf) for _ in range(2)]
        task.cancel()
        return found

    taken = [each for found in asyncio.run(fetches()) for each in found.batch_partitions]

    assert {A, B} == {each.tp for each in taken}
    assert [1, 1] == [len(each.records) for each in taken]
    assert others > 10
    assert reading.waits == 0
