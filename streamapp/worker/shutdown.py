"""Stop a worker within its shutdown deadline, even if a server does not answer."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, NoReturn

import faust

from streamapp import net

log = logging.getLogger(__name__)

#: Loggers that log every HTTP request at the level INFO.
_HTTP_LOGGERS = ("httpx", "httpcore", "schema_registry")

_STOP_SIGNALS = (signal.Signals.SIGINT, signal.Signals.SIGTERM)

_FAILED = 1
_WRONG_USAGE = 2


def stop_worker(why: str) -> None:
    """Shut this worker down with exit code 1, because of an error that a retry cannot fix."""
    if BoundedWorker.failure is None:
        log.critical(why)
        BoundedWorker.failure = why
        os.kill(os.getpid(), signal.SIGTERM)


def _web_error(host: str, port: int) -> str | None:
    if not net.is_here(host):
        return (
            f"this machine has no address {host!r} (STREAMAPP_WEB_HOST); /healthz, /readyz and /metrics cannot be"
            " served. Example: STREAMAPP_WEB_HOST=127.0.0.1"
        )
    if not net.is_free(port, host):
        return (
            f"port {port} on {host}, for /healthz, /readyz and /metrics, is in use. Set another port with --web-port or"
            " STREAMAPP_WEB_PORT."
        )
    return None


class BoundedWorker(faust.Worker):
    """The first signal starts a graceful shutdown with a deadline; a second signal ends the process immediately.

    A forced end loses no event: Kafka delivers the records that are not acked again.
    """

    #: Seconds from the first signal until the process ends.
    deadline = 10.0
    #: The error that stopped this worker; None without one.
    failure: str | None = None
    _signalled = False

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        for name in _HTTP_LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        # Faust's spinner advances at each debug record, and so makes all libraries create debug records.
        self.spinner = None

    def execute_from_commandline(self) -> NoReturn:
        """Run until stopped; exit with code 2 if the pages cannot be served."""
        conf = self.app.conf
        if conf.web_enabled and (why := _web_error(conf.web_bind, conf.web_port)):
            print(f"Error: {why}", file=sys.stderr)  # noqa: T201 - logging is not set up yet
            sys.exit(_WRONG_USAGE)
        self._receive_signals()
        try:
            super().execute_from_commandline()
        except SystemExit as exc:
            logging.shutdown()
            sys.stdout.flush()
            # Skips Python's finalization, in which datasketches reports each live object as a leak, over many lines.
            os._exit(_FAILED if BoundedWorker.failure else int(exc.code or 0))

    def _on_startup_end_spinner(self) -> None:
        """Print "ready", whatever the level of the log; a log in JSON has a line "Ready" at the level INFO instead."""
        if self.app.conf.logging_config:
            super()._on_startup_end_spinner()
        else:
            self.say("ready")

    def _receive_signals(self) -> None:
        """Wait for signals in a thread, because the event loop, which Faust lets handle them, may be blocked."""
        # A blocked signal stays pending until sigwait returns it. Threads that start later inherit the mask.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        threading.Thread(target=self._wait_for_signals, name="signals", daemon=True).start()

    def _wait_for_signals(self) -> None:
        while True:
            received = signal.Signals(signal.sigwait(_STOP_SIGNALS))
            self._start_deadline(received)
            with suppress(RuntimeError):  # the event loop is closed
                self.loop.call_soon_threadsafe(super()._schedule_shutdown, received)

    def _schedule_shutdown(self, signal: Any) -> None:
        # A signal that the event loop received: sent to a thread that is older than the mask.
        self._start_deadline(signal)
        super()._schedule_shutdown(signal)

    def _start_deadline(self, received: signal.Signals) -> None:
        if self._signalled:
            self._end("second signal received")
        self._signalled = True
        timer = threading.Timer(self.deadline, self._end, ["shutdown deadline exceeded"])
        timer.daemon = True
        timer.start()
        if BoundedWorker.failure is None:
            name, seconds = received.name, self.deadline
            log.warning(
                "%s received: stopping within %g s; a second signal ends the process immediately", name, seconds
            )

    def _end(self, why: str) -> NoReturn:
        print(f"process ended: {why}; Kafka delivers the records that are not acked again", file=sys.stderr)  # noqa: T201
        os._exit(_FAILED)
