"""Faust's producer with a bound on every wait for a broker that is unreachable.

Callers that must know whether a record was delivered await its delivery.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from faust.transport.drivers import aiokafka as stock
from mode import get_logger

log = get_logger(__name__)

#: Seconds that a commit, a rebalance or the stop waits for records that are being sent.
FLUSH_TIMEOUT_SECONDS = 1.0


class BoundedProducer(stock.Producer):
    """Faust's producer, whose flush and stop end within a bound."""

    async def flush(self) -> None:
        """Wait, within a bound, for records that are being sent: commits, rebalances and the stop wait for this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                await super().flush()

    async def on_stop(self) -> None:
        """Close the producer, within a bound."""
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                await super().on_stop()
        except TimeoutError:
            log.warning(
                "The producer stopped while Kafka did not answer: sample events that were being sent may be missing."
            )
