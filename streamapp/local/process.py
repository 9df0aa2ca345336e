"""One server as a child process: started, waited for until it answers, and stopped; it never outlives us."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from streamapp.errors import BackendError
from streamapp.local import parent_death

START_WITHIN_SECONDS = 90.0
STOP_WITHIN_SECONDS = 10.0
POLL_SECONDS = 0.05
TAIL_LINES = 15
TAIL_BYTES = 32_768
LINE_LENGTH = 400
# mongod's errors, after which it goes on to tell at length how it ends.
SEVERE = re.compile(r'"s":"[EF]"')

# The kernel takes the end of the thread that forked for the parent's death, so one thread that lives as long as we do
# forks every child.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")


def die_with_parent(command: Sequence[str], death_signal: signal.Signals) -> list[str]:
    """Return the command that runs `command` such that it gets the signal when the calling process dies."""
    return [sys.executable, "-IS", parent_death.__file__, str(os.getpid()), str(int(death_signal)), *command]


def tail(log: Path) -> str:
    """Return the last lines of a log, without reading all of it; those with mongod's errors come first."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    errors = [line for line in lines if SEVERE.search(line)][-TAIL_LINES:]
    others = [line for line in lines if line not in errors]
    return shorten("\n".join([*errors, *others[max(0, len(others) + len(errors) - TAIL_LINES) :]]))


def shorten(output: str) -> str:
    """Return the last lines of what a program printed, none of them too long for a person."""
    return "\n".join(textwrap.shorten(line, LINE_LENGTH) for line in output.splitlines()[-TAIL_LINES:]) or "(nothing)"


class Server:
    """A child process that answers requests.

    Args:
        name: what people call it.
        command: program and arguments.
        log: file that takes what it prints.
        answers: tells whether it has answered a real request.
        environ: what it finds in its environment besides ours.
    """

    def __init__(
        self,
        *,
        name: str,
        command: Sequence[str],
        log: Path,
        answers: Callable[[], bool],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._answers = answers
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it is wanted to run."""
        return self._process and self._process.pid

    def launch(self) -> None:
        """Start the process, without waiting for it."""
        self._process = _forker.submit(self._fork).result()

    def wait_until_ready(self, within_seconds: float = START_WITHIN_SECONDS) -> None:
        """Wait until it answers.

        Raises:
            BackendError: it died, or did not answer in time.
        """
        give_up_at = time.monotonic() + within_seconds
        while not self._answers():
            self.check()
            if time.monotonic() > give_up_at:
                raise BackendError(self._complaint(f"did not answer within {within_seconds:g} s"))
            time.sleep(POLL_SECONDS)
        self.check()  # it may have been another one, on the same port, that answered

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.wait_until_ready()

    def check(self) -> None:
        """Raise BackendError if it has ended, though nobody stopped it."""
        if end := self.end():
            raise BackendError(self._complaint(f"has ended ({end})"))

    def end(self) -> str | None:
        """How it has ended, though nobody stopped it; None if it has not."""
        if not self._process or (code := self._process.poll()) is None:
            return None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def stop(self, within_seconds: float = STOP_WITHIN_SECONDS) -> None:
        """Ask it to end, and kill it when it has not after a while."""
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
        """End it without giving it a chance to tidy up."""
        if self._process:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Start it again on the same port and data; end it first if it runs."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay, answers do not come."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _fork(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            return subprocess.Popen(
                die_with_parent(self._command, signal.SIGKILL),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,  # Ctrl-C in our terminal is ours, not theirs
            )

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _complaint(self, what: str) -> str:
        return f"{self.name} {what}. The end of its log ({self.log}):\n{tail(self.log)}"
