"""Waiting out an outage: backoff with jitter, no deadline, and one line in the log where it begins and ends."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from streamapp.errors import Transient

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff, in seconds."""

    first_wait: float = 0.1
    max_wait: float = 5.0

    def wait(self, attempt: int, *, jitter: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1); `jitter` is from [0, 1)."""
        ceiling = min(self.max_wait, self.first_wait * 2 ** min(attempt - 1, 30))
        return ceiling * (0.5 + jitter / 2)


class OutageRetrier:
    """Insists on operations of one dependency, and knows since when it is away.

    Many batches may wait for the same dependency; the log hears of it once.
    """

    def __init__(
        self,
        name: str,
        *,
        policy: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.away_since: float | None = None
        #: What is, or was last, wrong.
        self.error = ""
        #: How often something was repeated, and how many outages there were.
        self.retries = 0
        self.count = 0
        #: Operations that failed when they were last tried: while there is one, what others achieve ends no outage.
        self._failing = 0
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._clock = clock

    @property
    def away_for(self) -> float:
        """Seconds since the outage began; 0 without one."""
        return 0.0 if self.away_since is None else self._clock() - self.away_since

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeat `operation` while it raises Transient; anything else goes through."""
        attempt = 0
        try:
            while True:
                try:
                    result = await operation()
                except Transient as exc:
                    attempt += 1
                    self._failing += attempt == 1
                    self._note_failure(exc)
                    await self._sleep(self._policy.wait(attempt, jitter=random.random()))  # noqa: S311 - spreads retries
                else:
                    break
        finally:
            self._failing -= attempt > 0
        self._note_success()
        return result

    def _note_failure(self, exc: Transient) -> None:
        self.error = str(exc)
        self.retries += 1
        if self.away_since is None:
            self.away_since = self._clock()
            self.count += 1
            log.warning("%s is away, waiting for it: %s", self.name, exc)

    def _note_success(self) -> None:
        if self.away_since is not None and not self._failing:
            log.warning("%s is back after %.1f s", self.name, self.away_for)
            self.away_since = None


class NoRetry(OutageRetrier):
    """For commands, whose user is told at once."""

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do `operation` once."""
        return await operation()
