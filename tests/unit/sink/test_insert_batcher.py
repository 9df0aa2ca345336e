"""Many small inserts become few."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamapp.errors import StoreUnavailable
from streamapp.sink.insert_batcher import MAX_BATCH_DOCUMENTS, MAX_CONCURRENT_INSERTS, InsertBatcher
from streamapp.sink.ports import Outcome


class Writes:
    """Records each write, and lets it end when told."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.results: list[asyncio.Future[Outcome]] = []

    async def __call__(self, documents: list[Any]) -> Outcome:
        self.batches.append(documents)
        self.results.append(asyncio.get_running_loop().create_future())
        return await self.results[-1]


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def docs(*names: str) -> list[Any]:
    """Return documents that are told apart by name."""
    return [{"_id": name} for name in names]


def test_what_arrives_meanwhile_goes_together() -> None:
    """Latency at low rates: one insert in flight, the next one takes all that waits."""

    async def scenario() -> None:
        writes = Writes()
        insert_batcher = InsertBatcher(writes)
        callers = [asyncio.create_task(insert_batcher.insert(docs("a")))]
        await settled()
        callers += [asyncio.create_task(insert_batcher.insert(docs(name))) for name in "bc"]
        await settled()
        assert [docs("a")] == writes.batches
        writes.results[0].set_result(Outcome())
        await settled()
        assert [docs("a"), docs("b", "c")] == writes.batches
        writes.results[1].set_result(Outcome())
        await asyncio.gather(*callers)

    asyncio.run(scenario())


def test_full_batches_go_side_by_side() -> None:
    """Up to as many as may be in flight."""

    async def scenario() -> None:
        writes = Writes()
        insert_batcher = InsertBatcher(writes)
        callers = [
            asyncio.create_task(insert_batcher.insert(docs("x") * MAX_BATCH_DOCUMENTS))
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


def test_each_caller_learns_its_own_outcome() -> None:
    """Indexes count from the caller's first document."""

    async def scenario() -> list[Outcome]:
        writes = Writes()
        insert_batcher = InsertBatcher(writes)
        first = asyncio.create_task(insert_batcher.insert(docs("first")))
        await settled()
        callers = [asyncio.create_task(insert_batcher.insert(docs(*names))) for names in ("ab", "cd")]
        writes.results[0].set_result(Outcome())
        await settled()
        writes.results[1].set_result(Outcome(duplicates=frozenset({1, 2}), refused={3: "no"}))
        await first
        return await asyncio.gather(*callers)

    a, b = asyncio.run(scenario())
    assert Outcome(duplicates=frozenset({1})) == a
    assert Outcome(duplicates=frozenset({0}), refused={1: "no"}) == b


def test_a_failure_reaches_every_caller() -> None:
    """Each repeats its own part."""

    async def scenario() -> list[Any]:
        writes = Writes()
        insert_batcher = InsertBatcher(writes)
        callers = [asyncio.create_task(insert_batcher.insert(docs(name))) for name in "ab"]
        await settled()
        writes.results[0].set_exception(StoreUnavailable("away"))
        return await asyncio.gather(*callers, return_exceptions=True)

    assert [StoreUnavailable, StoreUnavailable] == list(map(type, asyncio.run(scenario())))


def test_a_caller_that_left_holds_nobody_up() -> None:
    """Its documents are not written, the others' are."""

    async def scenario() -> list[Any]:
        writes = Writes()
        insert_batcher = InsertBatcher(writes)
        first = asyncio.create_task(insert_batcher.insert(docs("a")))
        await settled()
        gone = asyncio.create_task(insert_batcher.insert(docs("gone")))
        stays = asyncio.create_task(insert_batcher.insert(docs("stays")))
        await settled()
        gone.cancel()
        await settled()
        writes.results[0].set_result(Outcome())
        await settled()
        writes.results[1].set_result(Outcome())
        await asyncio.gather(first, stays)
        with pytest.raises(asyncio.CancelledError):
            await gone
        return writes.batches[1]

    assert docs("stays") == asyncio.run(scenario())


def test_nothing_is_written_for_callers_that_all_left() -> None:
    """An insert of no documents is an error to MongoDB's driver."""

    async def scenario() -> list[Any]:
        writes = Writes()
        gone = asyncio.create_task(InsertBatcher(writes).insert(docs("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        await settled()
        return writes.batches

    assert [] == asyncio.run(scenario())


def test_a_caller_that_leaves_while_its_documents_are_written_is_told_nothing() -> None:
    """The others of the same insert are."""

    async def scenario() -> Outcome:
        writes = Writes()
        insert_batcher = InsertBatcher(writes)
        gone = asyncio.create_task(insert_batcher.insert(docs("gone")))
        stays = asyncio.create_task(insert_batcher.insert(docs("stays")))
        await settled()
        gone.cancel()
        await settled()
        writes.results[0].set_result(Outcome(duplicates=frozenset({0, 1})))
        return await stays

    assert Outcome(duplicates=frozenset({0})) == asyncio.run(scenario())
