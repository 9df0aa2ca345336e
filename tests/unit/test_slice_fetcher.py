"""Fetching: what it leaves behind in aiokafka."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.subscription_state import SubscriptionState

from streamapp.slice_fetcher import Fetched, SliceFetcher


class Fetcher(SliceFetcher):
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
        fetcher = Fetcher(asyncio.get_running_loop().create_future())
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
        fetcher = Fetcher(fetched)
        with pytest.raises(OSError, match="no broker"):
            await fetcher.fetch(1.0)
        return fetcher.fetches

    assert asyncio.run(fetches()) == 0


def test_a_fetch_that_is_cancelled_leaves_no_waiter() -> None:
    """An error that aiokafka gave to it would be told as one that nobody had looked at."""

    async def is_cancelled() -> bool:
        waiter = asyncio.get_running_loop().create_future()
        fetcher = Fetcher(asyncio.get_running_loop().create_future())
        fetcher._consumer._fetcher = SimpleNamespace(_create_fetch_waiter=lambda: waiter)
        waiting = asyncio.create_task(fetcher._news(1.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return waiter.cancelled()

    assert asyncio.run(is_cancelled())
