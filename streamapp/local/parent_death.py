"""Run a command that gets a signal when its parent dies: `parent_death.py PARENT_PID SIGNAL PIPE COMMAND…`.

PIPE is "-" where the kernel sends the signal. Elsewhere it is the file descriptor of the pipe to the process that sends
it, `watchdog`.

A script, not a `preexec_fn`: Python code between fork and exec can deadlock in a process with threads.
It imports nothing of streamapp, so that it starts fast.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, pipe: str, command: list[str]) -> None:
    """Request the signal, reset Python's signal settings, and replace this process by the command."""
    if pipe == "-":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    else:
        # Closed only after the line is written: the watchdog acts when no process has the pipe open any more.
        with open(int(pipe), "w", encoding="ascii") as watchdog:  # noqa: PTH123 - a file descriptor has no path
            watchdog.write(f"{os.getpid()} {death_signal}\n")
    if os.getppid() != parent:  # the parent died before the request
        sys.exit(f"{command[0]} was not started: its parent process {parent} has ended")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would inherit that
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
