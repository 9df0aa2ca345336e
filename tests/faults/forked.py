"""Workers that start quickly: forked by a process that has imported Faust once.

They behave and die as other processes do; only their start is shorter, and a run starts dozens of them.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

from tests.support.until import until

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
#: Variables of coverage in child processes. In these workers, coverage would take a quarter of the time and find
#: nothing that it does not find elsewhere.
#: time, and see nothing that it does not see elsewhere.
_MEASURED = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(_IMPORTED)
#: Guards the module's list of children, which every start uses.
_lock = threading.Lock()


class Forked:
    """A worker with fault points, whose command is `tests.faults.worker`; used like a `subprocess.Popen`."""

    def __init__(self, command: Sequence[str], *, environ: Mapping[str, str], folder: Path, log: Path) -> None:
        # it never outlives this process
        self._process = _forks.Process(target=_run, args=(command, environ, folder, log), daemon=True)
        with _lock:
            _begin()
            self._process.start()
        self.pid = self._process.pid or 0
        until(lambda: os.getpgid(self.pid) == self.pid, what="a worker with a process group of its own")

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


def _begin() -> None:
    """Start the process that forks, unless it runs already."""
    kept = {name: os.environ.pop(name) for name in _MEASURED if name in os.environ}
    try:
        forkserver.ensure_running()
    finally:
        os.environ.update(kept)


def _run(command: Sequence[str], environ: Mapping[str, str], folder: Path, log: Path) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    with log.open("wb") as file, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = [*command]
    from tests.faults import worker  # noqa: PLC0415 - here, where its settings are

    worker.run()
