"""Run a command that dies with its parent: `leash.py PARENT_PID SIGNAL COMMAND…`, before exec, without importing us.

A separate program rather than a `preexec_fn`: Python code between fork and exec may deadlock in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, command: list[str]) -> None:
    """Ask the kernel for the signal, undo Python's own signal settings, become the command."""
    if sys.platform == "linux":  # elsewhere there is no such thing, and a kill -9 of ours leaves them running
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it died before we could ask
        sys.exit(f"the process {parent} that wanted {command[0]} is gone")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would hand that on
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
