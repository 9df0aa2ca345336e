"""One server as a child process: start it, wait until it answers, stop it; it dies with this process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from streamapp.errors import BackendError
from streamapp.local import children
from streamapp.local.listener import listens

START_WITHIN_SECONDS = 90.0
STOP_WITHIN_SECONDS = 10.0
POLL_SECONDS = 0.05
TAIL_LINES = 15
TAIL_BYTES = 32_768
LINE_LENGTH = 400
# Error and fatal lines of mongod's log; many lines about its shutdown follow them.
SEVERE = re.compile(r'"s":"[EF]"')

# The kernel sends the signal of `children` when the thread that forked the child ends. So all children are forked by
# one thread that lives as long as this process.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")


def tail(log: Path) -> str:
    """Return the last lines of a log; error lines of mongod come first. Reads the end of the file only."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    errors = [line for line in lines if SEVERE.search(line)][-TAIL_LINES:]
    others = [line for line in lines if line not in errors]
    return shorten("\n".join([*errors, *others[max(0, len(others) + len(errors) - TAIL_LINES) :]]))


def shorten(output: str) -> str:
    """Return the last lines of a program's output, with long lines shortened."""
    return "\n".join(textwrap.shorten(line, LINE_LENGTH) for line in output.splitlines()[-TAIL_LINES:]) or "(nothing)"


class Server:
    """A child process that answers requests.

    Args:
        name: its name in messages.
        command: program and arguments.
        log: file for its output.
        answers: returns whether it answers a real request now.
        port: its port; with a port, `answers` is called only once this process listens there, not another program.
        environ: variables added to the environment of this process.
    """

    def __init__(  # noqa: PLR0913 - they are named
        self,
        *,
        name: str,
        command: Sequence[str],
        log: Path,
        answers: Callable[[], bool],
        port: int | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._answers = answers
        self._port = port
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id between `launch` and `stop` or `kill`; None otherwise."""
        return self._process and self._process.pid

    def launch(self) -> None:
        """Start the process; do not wait until it answers."""
        forked = _forker.submit(self._fork)
        try:
            self._process = forked.result()
        except BaseException:
            # The handler of a signal may raise while the process starts; `stop` must find the process.
            self._process = None if forked.exception() else forked.result()
            raise

    def wait_until_ready(self, within_seconds: float = START_WITHIN_SECONDS) -> None:
        """Wait until it answers.

        Raises:
            BackendError: it has ended, or did not answer in time.
        """
        deadline = time.monotonic() + within_seconds
        while not (self._listens() and self._answers()):
            self.check()
            if time.monotonic() > deadline:
                raise self._error(f"did not answer within {within_seconds:g} s")
            time.sleep(POLL_SECONDS)
        self.check()  # where the kernel does not tell who listens, another program may have answered

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.wait_until_ready()

    def check(self) -> None:
        """Raise BackendError if it has ended unexpectedly."""
        if end := self.unexpected_end():
            raise self._error(f"has ended ({end})")

    def unexpected_end(self) -> str | None:
        """Return how it has ended without `stop` or `kill`; None if it runs or was stopped."""
        if not self._process or (code := self._process.poll()) is None:
            return None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def stop(self, within_seconds: float = STOP_WITHIN_SECONDS) -> None:
        """Send SIGTERM; send SIGKILL if it has not ended in time."""
        if not self._process:
            return
        self.resume()
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(within_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Send SIGKILL, and wait for its end."""
        if self._process:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop it if it runs, and start it again on the same port and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Send SIGSTOP: connections stay open, but no answers come."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT: continue after `pause`."""
        self._signal(signal.SIGCONT)

    def _listens(self) -> bool:
        return self._port is None or (self.pid is not None and listens(self.pid, self._port))

    def _fork(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            return children.start(
                self._command,
                signal.SIGKILL,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,  # Ctrl-C in the terminal reaches this process only
            )

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            with suppress(PermissionError):  # macOS answers so if it has just ended
                os.killpg(self._process.pid, number)

    def _error(self, what: str) -> BackendError:
        return BackendError(f"{self.name} {what}. The end of its log ({self.log}):\n{tail(self.log)}")
