"""Send the worker's sample events at a fixed rate, and wait for their acknowledgements."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError

from streamapp.errors import BrokerUnavailable
from streamapp.kafka.broker_codes import RECORD_REMEDIES, Fault
from streamapp.model.user_event import USER
from streamapp.retry import OutageRetrier
from streamapp.samples.generator import Sample
from streamapp.transport.kafka_faults import access_error, fault_of

#: At most this many overdue events are sent after an outage; the others are left out.
MAX_BEHIND = 100
_RIGHT = "the right WRITE to the topic (STREAMAPP_TOPIC)"

#: Hands an event to Kafka; the second await is its acknowledgement.
Send = Callable[[str, dict[str, Any]], Awaitable[Awaitable[Any]]]


class Pace:
    """Counts the events that are due: one every `interval_seconds`, also for the time of a late call."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval = interval_seconds
        self._next: float | None = None

    def due(self, now: float) -> int:
        """The number of events that became due since the last call, by `now` in seconds; the first is due at once."""
        following = now if self._next is None else self._next
        if now < following:
            return 0
        count = int((now - following) / self._interval) + 1
        self._next = following + count * self._interval
        return min(count, MAX_BEHIND)


class SampleProducer:
    """Sends samples; an event counts as sent when Kafka has acknowledged it."""

    def __init__(
        self,
        samples: Iterator[Sample],
        *,
        pace: Pace,
        send: Send,
        outages: OutageRetrier,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sent = 0
        self.is_idle = False
        self._samples = samples
        self._pace = pace
        self._send = send
        self._outages = outages
        self._clock = clock

    async def produce_due(self, now: float) -> None:
        """Send the samples that are due at `now` (seconds); wait until all are acknowledged, also through an outage."""
        self.is_idle = False
        at = int(self._clock() * 1000)
        events = [next(self._samples).event(at=at) for _ in range(self._pace.due(now))]
        await asyncio.gather(*(self._outages.run(lambda e=event: self._deliver(e)) for event in events))
        self.sent += len(events)
        self.is_idle = True

    async def _deliver(self, event: dict[str, Any]) -> None:
        try:
            await (await self._send(event[USER], event))
        except (KafkaError, ProducerSendError) as exc:
            cause = exc if isinstance(exc, KafkaError) else exc.__cause__
            if cause is not None and fault_of(cause) is Fault.ACCESS:
                raise access_error(cause, _RIGHT) from exc
            why, remedy = str(exc) or type(exc).__name__, RECORD_REMEDIES.get(getattr(cause, "errno", 0))
            raise BrokerUnavailable(f"{why}. {remedy}" if remedy else why) from exc
