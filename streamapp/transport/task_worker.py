"""Run Faust's consumer as a task of the worker's event loop, not in a thread with an event loop of its own.

When events arrive one by one, waking another thread for each fetch makes up a good part of the cost of an event.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio

from mode import get_logger
from mode.threads import WorkerThread

log = get_logger(__name__)


class TaskWorker(WorkerThread):
    """Runs a service as a task of the current event loop, in place of Faust's thread."""

    def start(self) -> None:
        """Run the service until it stops."""
        self._serving = asyncio.create_task(self.service._serve())
        self._serving.add_done_callback(self._on_end)

    def _on_end(self, serving: asyncio.Task[None]) -> None:
        error = None if serving.cancelled() else serving.exception()
        if error and error is not self.service.crash_reason:  # Faust reports the crash reason itself.
            log.error("The Kafka consumer stopped with an error: %r", error)
        self.service.set_shutdown()

    def stop(self) -> None:
        """Do nothing: there is no thread to end."""
