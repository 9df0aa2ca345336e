"""Health: /healthz says that the worker runs, /readyz whether it can store events now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streamapp.errors import Transient

#: Seconds for which an answer of a dependency counts.
FRESH_FOR = 5.0
#: Seconds between two questions to a dependency, and until one that does not answer is given up.
ASK_EVERY = 1.5
ASK_TIMEOUT = 3.0


@dataclass(slots=True)
class Dependency:
    """Something that the worker needs, asked in the background, so that /readyz answers at once."""

    name: str
    ping: Callable[[], Awaitable[None]]
    clock: Callable[[], float] = time.monotonic
    answered_at: float | None = None
    error: str = "not asked yet"

    async def ask(self) -> None:
        """Ask once, and keep the answer."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                await self.ping()
        except (Transient, TimeoutError) as exc:
            self.error = str(exc) or "no answer"
        else:
            self.answered_at = self.clock()

    @property
    def state(self) -> str:
        """`ok`, or what is wrong."""
        if self.answered_at is None:
            return self.error
        age = self.clock() - self.answered_at
        return "ok" if age <= FRESH_FOR else f"no answer for {age:.0f} s: {self.error}"


class Readiness:
    """Ready means: member of the group with its partitions known, Kafka, MongoDB and the registry answering."""

    def __init__(self, *dependencies: Dependency) -> None:
        self.dependencies = dependencies
        #: Number of partitions assigned; None before the first assignment and while partitions move.
        self.partitions: int | None = None

    def report(self) -> tuple[bool, dict[str, str]]:
        """Whether the worker is ready, and the state of each thing it takes."""
        assigned = "not assigned yet" if self.partitions is None else "ok"
        states = {"partitions": assigned, **{d.name: d.state for d in self.dependencies}}
        return all(state == "ok" for state in states.values()), states
