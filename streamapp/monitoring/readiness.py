"""The page /readyz: whether the worker stores events now, and if not, why.

Each check is `ok` or says what is wrong:
    partitions       partitions are assigned; an assignment of none passes, since a group may have idle workers
    agent            the agent that stores events runs
    settling         no partition has unsettled records and no progress
    commits          no partition has settled offsets that stay uncommitted
    mongodb          MongoDB answers, and no operation on it is being retried
    mongodb_writes   `pipeline_state` is written: detects a MongoDB that refuses writes even while no events arrive
    schema_registry  the registry answers, and no request to it is being retried
    kafka            Kafka answers
    dead_letters     no dead letter is being retried
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamapp.errors import AccessRefused, StreamappError
from streamapp.monitoring.consumer import ConsumerState
from streamapp.monitoring.stall_detector import StallDetector
from streamapp.retry import OutageRetrier

#: Seconds for which the last answer of a server counts.
ANSWER_VALID_SECONDS = 5.0
#: Seconds between two pings of a server.
PING_INTERVAL_SECONDS = 1.5
#: Seconds for a ping: it ends earlier, but after it failed, its cause is looked for.
PING_TIMEOUT_SECONDS = 6.0
#: An outage that is shorter does not make the worker unready.
OUTAGE_GRACE_SECONDS = 3.0


class Check(Protocol):
    """One of the checks of /readyz."""

    @property
    def name(self) -> str:
        """The key in the answer of /readyz."""
        ...

    @property
    def state(self) -> str:
        """`ok`, or what is wrong."""
        ...


@dataclass(slots=True, kw_only=True)
class DependencyStatus:
    """Passes while the last answer of a dependency is recent and none of its retriers has an outage."""

    name: str
    outages: Sequence[OutageRetrier] = ()
    answer_valid_seconds: float = ANSWER_VALID_SECONDS
    clock: Callable[[], float] = time.monotonic
    answered_at: float | None = None
    error: str = "not checked yet"

    def record(self, error: str | None) -> None:
        """Record the result of an attempt: an error, or None for an answer."""
        if error is None:
            self.answered_at = self.clock()
            self.error = "the last ping has not ended"
        else:
            self.error = error

    @property
    def state(self) -> str:
        """`ok`, or what is wrong."""
        if self.answered_at is None:
            return self.error
        age = self.clock() - self.answered_at
        return f"no answer for {age:.0f} s: {self.error}" if age > self.answer_valid_seconds else _state(self.outages)


@dataclass(slots=True, kw_only=True)
class Dependency(DependencyStatus):
    """A server that is pinged in the background, so that /readyz answers at once.

    If it refuses access, that is reported to the first of `outages`, which logs it: a worker without records may make
    no other request.
    """

    ping: Callable[[], Awaitable[None]]

    async def check(self) -> None:
        """Ping the server once, and record the result."""
        try:
            async with asyncio.timeout(PING_TIMEOUT_SECONDS):
                await self.ping()
        except (StreamappError, TimeoutError) as exc:
            self.record(str(exc) or "no answer")
            if isinstance(exc, AccessRefused):
                self._report(exc)
        else:
            self.record(None)
            self._report(None)

    def _report(self, refused: AccessRefused | None) -> None:
        for outages in self.outages[:1]:
            outages.report(refused, owner="ping")


@dataclass(slots=True)
class OutageCheck:
    """Passes while none of these retriers has an outage."""

    name: str
    outages: Sequence[OutageRetrier]

    @property
    def state(self) -> str:
        """`ok`, or what is wrong."""
        return _state(self.outages)


def _state(outages: Sequence[OutageRetrier]) -> str:
    failing = next((each for each in outages if each.outage_seconds > OUTAGE_GRACE_SECONDS), None)
    return f"failing for {failing.outage_seconds:.0f} s: {failing.error}" if failing else "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """All checks of one worker."""

    state: ConsumerState
    is_agent_running: Callable[[], bool]
    checks: Sequence[Check] = ()
    stall_detector: StallDetector = field(default_factory=StallDetector)
    clock: Callable[[], float] = time.monotonic

    def report(self) -> tuple[bool, dict[str, str]]:
        """Whether the worker is ready, and the state of each check by name."""
        states = {
            "partitions": "not assigned yet" if self.state.partitions is None else "ok",
            "agent": "ok" if self.is_agent_running() else "not running",
            "settling": self.stall_detector.settling(self.clock()),
            "commits": self.stall_detector.commits(self.clock()),
            **{check.name: check.state for check in self.checks},
        }
        return all(state == "ok" for state in states.values()), states
