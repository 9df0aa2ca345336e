"""Wait out errors of Kafka that a person corrects, and report them: missing rights, wrong settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import BrokerResponseError, KafkaError
from mode import get_logger

from streamapp.kafka.broker_codes import Fault
from streamapp.retry import OutageRetrier
from streamapp.transport.kafka_faults import access_error, fault_of, setting_message

log = get_logger(__name__)

#: Seconds without another error after which access counts as restored, and between two attempts without it.
ACCESS_RESTORED_SECONDS = 5.0
ACCESS_RETRY_SECONDS = 0.5


class KafkaAccess:
    """Whether Kafka refuses access now.

    Args:
        outages: shows missing access on /readyz.
        stop_worker: called with the message of an error that only another setting corrects.
    """

    def __init__(self, *, outages: OutageRetrier, stop_worker: Callable[[str], None]) -> None:
        self._outages, self._stop_worker = outages, stop_worker
        #: When Kafka last refused access; None while it does not.
        self._refused_at: float | None = None

    @property
    def is_refused(self) -> bool:
        """Whether Kafka has refused access in the last seconds."""
        return self._refused_at is not None

    def is_waited_out(self, exc: BaseException) -> bool:
        """Whether the worker waits; report missing access on /readyz, and stop the worker after a wrong setting."""
        fault = fault_of(exc)
        if fault is Fault.SETTING and isinstance(exc, BrokerResponseError):
            self._stop_worker(setting_message(exc))
        elif fault is Fault.ACCESS:
            self._refused_at = monotonic()
            self._outages.report(access_error(exc), owner="consumer")
        return fault is not Fault.DEFECT

    def check_group(self, coordinator: GroupCoordinator) -> None:
        """Raise an error of the group that only a restart fixes, and join the group again after any other."""
        try:
            coordinator.check_errors()
        except KafkaError as exc:
            if not self.is_waited_out(exc):
                raise
            # The error has ended the heartbeats; only a join starts them again.
            if not self.is_refused:
                log.warning("The group coordination failed; the worker joins its consumer group again: %r", exc)
            coordinator.request_rejoin()

    async def wait(self, most_seconds: float) -> None:
        """Wait for the next attempt, at most so long, while access is refused, or report that it is restored."""
        if self._refused_at is None:
            return
        if monotonic() - self._refused_at > ACCESS_RESTORED_SECONDS:
            self._refused_at = None
            self._outages.report(None, owner="consumer")
        else:
            await asyncio.sleep(min(most_seconds, ACCESS_RETRY_SECONDS))
