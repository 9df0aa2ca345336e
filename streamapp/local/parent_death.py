"""Run a command that gets a signal when its parent dies: `parent_death.py PARENT_PID SIGNAL COMMAND…`.

A script, not a `preexec_fn`: Python code between fork and exec can deadlock in a process with threads.
It imports nothing of streamapp, so that it starts fast.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, command: list[str]) -> None:
    """Request the signal from the kernel, reset Python's signal settings, and replace this process by the command."""
    if sys.platform == "linux":  # other kernels lack it: there the command keeps running after a kill -9 of its parent
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # the parent died before the request
        sys.exit(f"{command[0]} was not started: its parent process {parent} has ended")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would inherit that
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
