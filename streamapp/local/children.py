"""Start child processes that do not outlive this process, however it ends."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from signal import Signals
from threading import Lock
from typing import Any

from streamapp.local import parent_death

#: Whether the kernel sends a signal to a process when its parent dies; elsewhere the process `watchdog` sends it.
KERNEL_SENDS_SIGNALS = sys.platform == "linux"
# Not imported: it needs psutil.
_WATCHDOG = Path(__file__).with_name("watchdog.py")
_lock = Lock()


def start(command: Sequence[str], death_signal: Signals, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command as `subprocess.Popen` does, with its options; it gets the signal when this process dies.

    The kernel sends the signal already when the calling thread ends: call it in a thread that lives as long as the
    command.
    """
    pipes = [] if KERNEL_SENDS_SIGNALS else [_watchdog_pipe()]
    script = [sys.executable, "-IS", parent_death.__file__, str(os.getpid()), str(int(death_signal))]
    started = [*script, str(pipes[0]) if pipes else "-", *command]
    return subprocess.Popen[bytes](started, pass_fds=pipes, **options)


def _watchdog_pipe() -> int:
    with _lock:
        return _start_watchdog()


@cache
def _start_watchdog() -> int:
    reads, writes = os.pipe()
    # In a session of its own: Ctrl-C in the terminal, or the end of the terminal, does not reach it.
    command = [sys.executable, "-P", _WATCHDOG]
    process = subprocess.Popen(command, stdin=reads, stdout=subprocess.DEVNULL, start_new_session=True)
    os.close(reads)
    atexit.register(_end_watchdog, process, writes)
    return writes


def _end_watchdog(process: subprocess.Popen[bytes], pipe: int) -> None:
    os.close(pipe)
    process.wait()
