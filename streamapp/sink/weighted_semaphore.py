"""Room for a bounded number of things, which are taken and given back many at a time, first come, first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class WeightedSemaphore:
    """Like a semaphore, but whoever enters says how much room it takes."""

    def __init__(self, size: int) -> None:
        self.free = size
        self._size = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, amount: int) -> AsyncGenerator[None]:
        """Wait for room, and hold it; more than there is at all takes all of it."""
        amount = min(amount, self._size)
        await self._enter(amount)
        try:
            yield
        finally:
            self._give_back(amount)

    async def _enter(self, amount: int) -> None:
        entered = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, entered))
        self._give_back(0)
        try:
            await entered
        except asyncio.CancelledError:
            self._give_back(0 if entered.cancelled() else amount)
            raise

    def _give_back(self, amount: int) -> None:
        self.free += amount
        while self._waiting:
            wanted, entered = self._waiting[0]
            if not entered.cancelled():
                if wanted > self.free:
                    return
                self.free -= wanted
                entered.set_result(None)
            self._waiting.popleft()
