"""Readiness: /readyz says whether the worker stores events now, and if not, why.

Each part of it is `ok` or tells in words what is wrong:
    partitions       they are assigned; none at all is fine, where there are more workers than partitions
    agent            the agent that stores events runs
    settling         no partition has records that wait while none is settled
    commits          what is settled is committed
    mongodb          answers, and no write is being repeated
    mongodb_writes   `pipeline_state` is written, so that a MongoDB that takes no writes is noticed without events, too
    schema_registry  answers, and no question is being repeated
    kafka            answers
    dead_letters     no dead letter is waiting to be taken
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamapp.errors import StreamappError
from streamapp.monitoring.stall_detector import StallDetector
from streamapp.retry import OutageRetrier

#: Seconds for which an answer of a dependency counts.
FRESH_FOR = 5.0
#: Seconds between two questions to a dependency, and until one that does not answer is given up.
ASK_EVERY = 1.5
ASK_TIMEOUT = 3.0
#: An outage that is over sooner, in seconds, is a hiccup.
HICCUP = 3.0


class Part(Protocol):
    """Something that readiness takes."""

    @property
    def name(self) -> str:
        """Name in the answer of /readyz."""
        ...

    @property
    def state(self) -> str:
        """`ok`, or what is wrong."""
        ...


@dataclass(slots=True, kw_only=True)
class DependencyStatus:
    """Something that answers or fails now and then; an answer counts for a while."""

    name: str
    #: What is being repeated because of it.
    outages: Sequence[OutageRetrier] = ()
    fresh_for: float = FRESH_FOR
    clock: Callable[[], float] = time.monotonic
    answered_at: float | None = None
    error: str = "not asked yet"

    def note(self, error: str | None) -> None:
        """Keep what is wrong, or None for an answer."""
        if error is None:
            self.answered_at = self.clock()
        else:
            self.error = error

    @property
    def state(self) -> str:
        """`ok`, or what is wrong."""
        if self.answered_at is None:
            return self.error
        age = self.clock() - self.answered_at
        return f"no answer for {age:.0f} s: {self.error}" if age > self.fresh_for else _waiting(self.outages)


@dataclass(slots=True, kw_only=True)
class Dependency(DependencyStatus):
    """Something that the worker needs, asked in the background, so that /readyz answers at once."""

    ping: Callable[[], Awaitable[None]]

    async def ask(self) -> None:
        """Ask once, and keep the answer."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                await self.ping()
        except (StreamappError, TimeoutError) as exc:
            self.note(str(exc) or "no answer")
        else:
            self.note(None)


@dataclass(slots=True)
class Waiting:
    """Something that is noticed only by what is being repeated because of it."""

    name: str
    outages: Sequence[OutageRetrier]

    @property
    def state(self) -> str:
        """`ok`, or what is wrong."""
        return _waiting(self.outages)


def _waiting(outages: Sequence[OutageRetrier]) -> str:
    away = [each for each in outages if each.outage_seconds > HICCUP]
    return f"failing for {away[0].outage_seconds:.0f} s: {away[0].error}" if away else "ok"


@dataclass(slots=True)
class Readiness:
    """What it takes to be ready; whoever knows a part of it says so here."""

    parts: Sequence[Part] = ()
    #: Number of partitions assigned; None before the first assignment and while partitions move.
    partitions: int | None = None
    is_agent_running: Callable[[], bool] = lambda: True
    stall_detector: StallDetector = field(default_factory=StallDetector)
    clock: Callable[[], float] = time.monotonic

    def report(self) -> tuple[bool, dict[str, str]]:
        """Whether the worker is ready, and the state of each part."""
        states = {
            "partitions": "not assigned yet" if self.partitions is None else "ok",
            "agent": "ok" if self.is_agent_running() else "it does not run",
            "settling": self.stall_detector.settling(self.clock()),
            "commits": self.stall_detector.commits(self.clock()),
            **{part.name: part.state for part in self.parts},
        }
        return all(state == "ok" for state in states.values()), states
