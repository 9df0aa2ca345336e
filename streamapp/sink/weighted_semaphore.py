"""A semaphore whose holders take several permits at once, in first-come, first-served order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class WeightedSemaphore:
    """Like `asyncio.Semaphore`, but each holder takes a number of permits."""

    def __init__(self, permits: int) -> None:
        self.free = permits
        self._permits = permits
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, amount: int) -> AsyncGenerator[None]:
        """Wait for `amount` permits and hold them; an amount above the total takes all permits."""
        amount = min(amount, self._permits)
        await self._acquire(amount)
        try:
            yield
        finally:
            self._release(amount)

    async def _acquire(self, amount: int) -> None:
        acquired = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, acquired))
        self._release(0)
        try:
            await acquired
        except asyncio.CancelledError:
            self._release(0 if acquired.cancelled() else amount)
            raise

    def _release(self, amount: int) -> None:
        self.free += amount
        while self._waiting:
            wanted, acquired = self._waiting[0]
            if not acquired.cancelled():
                if wanted > self.free:
                    return
                self.free -= wanted
                acquired.set_result(None)
            self._waiting.popleft()
