"""Many small inserts become few."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamapp.errors import StoreUnavailable
from streamapp.sink.insert_batcher import MAX_BATCH_DOCUMENTS, MAX_CONCURRENT_INSERTS, InsertBatcher
from streamapp.sink.ports import Outcome


class Writes:
    """Records each write; the test sets its result."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.results: list[asyncio.Future[Outcome]] = []

    async def __call__(self, documents: list[Any]) -> Outcome:
        self.batches.append(documents)
        self.results.append(asyncio.get_running_loop().create_future())
        return await self.results[-1]


async def settled() -> None:
    """Let all tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


def docs(*names: str) -> list[Any]:
    """Return documents with these `_id`s."""
    return [{"_id": name} for name in names]


def test_documents_that_arrive_during_an_insert_share_the_next_one() -> None:
    """At low rates one insert is in flight, which keeps the latency low."""

    async def scenario() -> None:
        writes = Writes()
        batcher = InsertBatcher(writes)
        callers = [asyncio.create_task(batcher.insert(docs("a")))]
        await settled()
        callers += [asyncio.create_task(batcher.insert(docs(name))) for name in "bc"]
        await settled()
        assert [docs("a")] == writes.batches
        writes.results[0].set_result(Outcome())
        await settled()
        assert [docs("a"), docs("b", "c")] == writes.batches
        writes.results[1].set_result(Outcome())
        await asyncio.gather(*callers)

    asyncio.run(scenario())


def test_full_inserts_run_concurrently() -> None:
    """Up to MAX_CONCURRENT_INSERTS."""

    async def scenario() -> None:
        writes = Writes()
        batcher = InsertBatcher(writes)
        callers = [
            asyncio.create_task(batcher.insert(docs("x") * MAX_BATCH_DOCUMENTS))
            for _ in range(MAX_CONCURRENT_INSERTS + 1)
        ]
        await settled()
        assert len(writes.batches) == MAX_CONCURRENT_INSERTS
        writes.results[0].set_result(Outcome())
        await settled()
        assert len(writes.batches) == MAX_CONCURRENT_INSERTS + 1
        for result in writes.results[1:]:
            result.set_result(Outcome())
        await asyncio.gather(*callers)

    asyncio.run(scenario())


def test_each_caller_gets_the_outcome_of_its_own_documents() -> None:
    """Indexes count from the caller's first document."""

    async def scenario() -> list[Outcome]:
        writes = Writes()
        batcher = InsertBatcher(writes)
        first = asyncio.create_task(batcher.insert(docs("first")))
        await settled()
        callers = [asyncio.create_task(batcher.insert(docs(*names))) for names in ("ab", "cd")]
        writes.results[0].set_result(Outcome())
        await settled()
        writes.results[1].set_result(Outcome(duplicates=frozenset({1, 2}), refused={3: "no"}))
        await first
        return await asyncio.gather(*callers)

    a, b = asyncio.run(scenario())
    assert Outcome(duplicates=frozenset({1})) == a
    assert Outcome(duplicates=frozenset({0}), refused={1: "no"}) == b


def test_outcomes_of_two_halves_are_joined() -> None:
    """MongoDB limits the bytes of a command: indexes of the second half count from its begin."""
    first = Outcome(duplicates=frozenset({0}), refused={1: "no"}, reused=frozenset({2}))
    second = Outcome(duplicates=frozenset({1}), refused={2: "never"}, reused=frozenset({0}))

    assert Outcome(
        duplicates=frozenset({0, 4}), refused={1: "no", 5: "never"}, reused=frozenset({2, 3})
    ) == first.joined(second, 3)


def test_an_error_is_raised_in_every_caller() -> None:
    """Each caller repeats its own insert."""

    async def scenario() -> list[Any]:
        writes = Writes()
        batcher = InsertBatcher(writes)
        callers = [asyncio.create_task(batcher.insert(docs(name))) for name in "ab"]
        await settled()
        writes.results[0].set_exception(StoreUnavailable("unreachable"))
        return await asyncio.gather(*callers, return_exceptions=True)

    assert [StoreUnavailable, StoreUnavailable] == list(map(type, asyncio.run(scenario())))


def test_documents_of_a_cancelled_caller_are_not_written() -> None:
    """Those of the other callers are."""

    async def scenario() -> list[Any]:
        writes = Writes()
        batcher = InsertBatcher(writes)
        first = asyncio.create_task(batcher.insert(docs("a")))
        await settled()
        cancelled = asyncio.create_task(batcher.insert(docs("cancelled")))
        other = asyncio.create_task(batcher.insert(docs("other")))
        await settled()
        cancelled.cancel()
        await settled()
        writes.results[0].set_result(Outcome())
        await settled()
        writes.results[1].set_result(Outcome())
        await asyncio.gather(first, other)
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        return writes.batches[1]

    assert docs("other") == asyncio.run(scenario())


def test_nothing_is_written_if_all_callers_are_cancelled() -> None:
    """MongoDB's driver refuses an insert without documents."""

    async def scenario() -> list[Any]:
        writes = Writes()
        cancelled = asyncio.create_task(InsertBatcher(writes).insert(docs("cancelled")))
        await asyncio.sleep(0)
        cancelled.cancel()
        await settled()
        return writes.batches

    assert [] == asyncio.run(scenario())


def test_a_caller_that_is_cancelled_during_its_insert_gets_no_outcome() -> None:
    """The other callers of the same insert get theirs."""

    async def scenario() -> Outcome:
        writes = Writes()
        batcher = InsertBatcher(writes)
        cancelled = asyncio.create_task(batcher.insert(docs("cancelled")))
        other = asyncio.create_task(batcher.insert(docs("other")))
        await settled()
        cancelled.cancel()
        await settled()
        writes.results[0].set_result(Outcome(duplicates=frozenset({0, 1})))
        return await other

    assert Outcome(duplicates=frozenset({0})) == asyncio.run(scenario())
