"""Workers and commands that start quickly: forked by a process that has imported Faust once.

They behave and die as other processes do; only their start is shorter, and some tests start dozens of them.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from streamapp.settings import Settings
from tests.support.until import until
from tests.support.workers import Process, Worker, environment

#: What `streamapp.worker.app` imports; the module itself reads the settings of one worker.
_IMPORTED = [
    "faust.app.base",
    "faust.cli.worker",
    "faust.web.drivers.aiohttp",
    "streamapp.transport.faust_codec",
    "streamapp.monitoring.metrics",
    "streamapp.samples.producer",
    "streamapp.worker.shutdown",
    "streamapp.worker.dependencies",
    "streamapp.worker.service",
]
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(_IMPORTED)
_TIMEOUT_SECONDS = 120
#: Guards the module's list of children, which every start uses.
_lock = threading.Lock()


def streamapp() -> None:
    """Run the command line that is in `sys.argv`."""
    from streamapp.__main__ import main  # noqa: PLC0415 - not needed in the process of the tests

    main()


class Forked:
    """A process of its own, used like a `subprocess.Popen`.

    Args:
        command: its arguments, with its name first.
        environ: its environment.
        folder: its working directory.
        log: what it prints.
        main: a function of a module, which runs the arguments; `streamapp` for the command of this name.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environ: Mapping[str, str],
        folder: Path,
        log: Path,
        main: Callable[[], None] = streamapp,
    ) -> None:
        log.write_bytes(b"")
        # it never outlives this process
        self._process = _forks.Process(target=_run, args=(command, environ, folder, log, main), daemon=True)
        with _lock:
            self._process.start()
        self.pid = self._process.pid or 0
        until(self._has_own_group, what="a process group of its own")

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        with _lock:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises TimeoutExpired."""
        multiprocessing.connection.wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send it a signal if it runs."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def _has_own_group(self) -> bool:
        try:
            return os.getpgid(self.pid) == self.pid
        except ProcessLookupError:  # it has ended
            return True


class ForkedWorker(Worker):
    """`streamapp worker`."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__(settings, folder, command=("streamapp", "worker"))

    def _start(self, command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Process:
        return Forked(command, environ=environ, folder=folder, log=self.log)


def run(*command: str, settings: Settings, folder: Path, log: Path) -> tuple[int, str]:
    """Run a command of streamapp to its end in this folder; return its exit code and what it printed."""
    process = Forked(command, environ=environment(settings), folder=folder, log=log)
    return process.wait(_TIMEOUT_SECONDS), log.read_text(errors="replace")


def _run(command: Sequence[str], environ: Mapping[str, str], folder: Path, log: Path, main: Callable[[], None]) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    with log.open("wb") as file, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [*command]
    main()
