"""A worker that ends within its deadline, whatever it is waiting for."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any, NoReturn

import faust

from streamapp import net

log = logging.getLogger(__name__)

_FAILED = 1
_WRONG_USAGE = 2


def give_up(why: str) -> None:
    """End this worker in order, with exit code 1: somebody must mend something first."""
    if BoundedWorker.failure is None:
        log.critical(why)
        BoundedWorker.failure = why
        os.kill(os.getpid(), signal.SIGTERM)


def _why_no_pages(host: str, port: int) -> str | None:
    if not net.is_here(host):
        return (
            f"this machine has no address {host!r} (STREAMAPP_WEB_HOST), on which /healthz, /readyz and /metrics were"
            " to be answered. Example: STREAMAPP_WEB_HOST=127.0.0.1"
        )
    if not net.is_free(port, host):
        return (
            f"port {port} on {host}, for /healthz, /readyz and /metrics, is taken. Give another one with --web-port, or"
            " STREAMAPP_WEB_PORT."
        )
    return None


class BoundedWorker(faust.Worker):
    """The first signal stops in order, up to a deadline; a second one ends at once.

    Nothing is lost by a forced end: what is not acked is delivered again.
    """

    #: Seconds from the first signal to the end.
    deadline = 10.0
    #: Why this worker had to give up; None while all is well.
    failure: str | None = None
    _signalled = False

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        # To turn at each of them, it would have all libraries make debug records, for good.
        self.spinner = None

    def execute_from_commandline(self) -> NoReturn:
        """Run until stopped; exit code 2 where the pages cannot be served."""
        conf = self.app.conf
        if conf.web_enabled and (why := _why_no_pages(conf.web_bind, conf.web_port)):
            print(f"Error: {why}", file=sys.stderr)  # noqa: T201 - there is no logging yet
            sys.exit(_WRONG_USAGE)
        try:
            super().execute_from_commandline()
        except SystemExit as exc:
            logging.shutdown()
            sys.stdout.flush()
            # Without Python's last clean-up: the sketches' library takes whatever is alive by then for a leak, and
            # says so on a screen full.
            os._exit(_FAILED if BoundedWorker.failure else int(exc.code or 0))

    async def on_startup_finished(self) -> None:
        """Say so to people; without its spinner Faust does at the level INFO only."""
        await super().on_startup_finished()
        if not self._shutdown_immediately and not self.app.conf.logging_config:
            self.say("ready")

    def _schedule_shutdown(self, signal: Any) -> None:
        if self._signalled:
            self._end("second signal")
        self._signalled = True
        # A thread, since the event loop may be what hangs.
        timer = threading.Timer(self.deadline, self._end, ["deadline of the shutdown has passed"])
        timer.daemon = True
        timer.start()
        super()._schedule_shutdown(signal)

    def _end(self, why: str) -> NoReturn:
        print(f"ended at once: {why}; what was not acked is delivered again", file=sys.stderr)  # noqa: T201
        os._exit(_FAILED)
