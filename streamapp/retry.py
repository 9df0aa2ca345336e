"""Retries through an outage: exponential backoff with jitter, no deadline, one log line at its start and its end."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from streamapp.errors import AccessRefused, Transient

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with jitter; waits are in seconds."""

    first_wait: float = 0.1
    max_wait: float = 5.0

    def wait(self, attempt: int, *, jitter: float) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1); `jitter` is from [0, 1)."""
        ceiling = min(self.max_wait, self.first_wait * 2 ** min(attempt - 1, 30))
        return ceiling * (0.5 + jitter / 2)


class OutageRetrier:
    """Retries the operations on one dependency until it answers, and records its outages.

    Many batches may wait for the same dependency; the start and the end of an outage are logged once, and so is that
    the dependency refuses access, if it answers during the outage.
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
        #: Start of the current outage, by `clock`; None without an outage.
        self.outage_since: float | None = None
        #: Message of the last failure.
        self.error = ""
        #: Number of retries since the start.
        self.retries = 0
        #: Number of outages since the start.
        self.count = 0
        #: Number of operations whose last attempt failed. The outage lasts until this is 0, even if others succeed.
        self._failing = 0
        #: Owners of operations whose last report was a failure; the outage lasts until there is none.
        self._reporters = set[str]()
        #: Whether a refused access was logged in the current outage.
        self._is_refused = False
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._clock = clock

    @property
    def outage_seconds(self) -> float:
        """Duration of the current outage; 0 without an outage."""
        return 0.0 if self.outage_since is None else self._clock() - self.outage_since

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeat `operation` while it raises Transient; return its result. Other errors propagate."""
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

    def report(self, failure: Transient | None, *, owner: str) -> None:
        """Record that an operation that its owner repeats has failed, or with None that it succeeds again."""
        if failure is not None:
            self._reporters.add(owner)
            self._note_failure(failure)
        elif owner in self._reporters:
            self._reporters.remove(owner)
            self._note_success()

    def _note_failure(self, exc: Transient) -> None:
        self.error = str(exc)
        self.retries += 1
        is_new, is_refused = self.outage_since is None, isinstance(exc, AccessRefused)
        if is_new:
            self.outage_since = self._clock()
            self.count += 1
            self._is_refused = False
        if is_refused and not self._is_refused:
            self._is_refused = True
            log.warning("%s refuses access; retrying until it grants it: %s", self.name, exc)
        elif is_new and exc.is_running:
            log.warning("%s answers with an error; retrying until it succeeds: %s", self.name, exc)
        elif is_new:
            log.warning("%s is unreachable; retrying until it answers: %s", self.name, exc)

    def _note_success(self) -> None:
        if self.outage_since is not None and not self._failing and not self._reporters:
            log.warning("%s works again after %.1f s", self.name, self.outage_seconds)
            self.outage_since = None


class NoRetry(OutageRetrier):
    """Tries each operation once: a command reports a failure to its user immediately."""

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run `operation` once; every error propagates."""
        return await operation()
