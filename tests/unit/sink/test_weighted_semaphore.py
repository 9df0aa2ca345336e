"""A semaphore with several permits per holder, in first-come, first-served order."""

from __future__ import annotations

import asyncio

import pytest

from streamapp.sink.weighted_semaphore import WeightedSemaphore


class Holders:
    """Tasks that hold permits of a semaphore until the test releases them."""

    def __init__(self, size: int) -> None:
        self.semaphore = WeightedSemaphore(size)
        self.holding: list[int] = []
        self._released: dict[int, asyncio.Event] = {}

    def take(self, amount: int) -> asyncio.Task[None]:
        """Start a task that takes this many permits."""
        return asyncio.create_task(self._hold(amount))

    async def _hold(self, amount: int) -> None:
        async with self.semaphore.take(amount):
            self.holding.append(amount)
            await self._released.setdefault(amount, asyncio.Event()).wait()
            self.holding.remove(amount)

    def release(self, amount: int) -> None:
        """Let the task that takes this many permits end."""
        self._released[amount].set()


async def settled() -> None:
    """Let all tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_holders_share_the_permits() -> None:
    """A holder that wants more than all of them gets all of them, alone."""

    async def scenario() -> None:
        holders = Holders(10)
        for amount in (1, 2, 3, 50, 4):
            holders.take(amount)
        await settled()
        assert holders.holding == [1, 2, 3]
        for amount in (1, 2, 3):
            holders.release(amount)
        await settled()
        assert (holders.holding, holders.semaphore.free) == ([50], 0)
        holders.release(50)
        await settled()
        assert (holders.holding, holders.semaphore.free) == ([4], 6)

    asyncio.run(scenario())


def test_permits_are_given_in_the_order_of_the_requests() -> None:
    """Else a large request could wait for ever."""

    async def scenario() -> None:
        holders = Holders(10)
        for amount in (6, 5, 1):
            holders.take(amount)
        await settled()
        assert holders.holding == [6]
        holders.release(6)
        await settled()
        assert holders.holding == [5, 1]

    asyncio.run(scenario())


def test_a_cancelled_request_does_not_block_the_requests_behind_it() -> None:
    """Its permits are not lost."""

    async def scenario() -> None:
        holders = Holders(10)
        holders.take(6)
        waiting = holders.take(5)
        holders.take(4)
        await settled()
        waiting.cancel()
        await settled()
        assert (holders.holding, holders.semaphore.free) == ([6, 4], 0)

    asyncio.run(scenario())


def test_a_request_that_is_cancelled_when_it_gets_its_permits_returns_them() -> None:
    """Both can happen in one iteration of the event loop."""

    async def scenario() -> None:
        holders = Holders(10)
        first = holders.take(6)
        second = holders.take(5)
        await settled()
        holders.release(6)
        await first
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert holders.semaphore.free == 10

    asyncio.run(scenario())
