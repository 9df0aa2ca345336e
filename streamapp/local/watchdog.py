"""Send signals to processes when their parent dies, where the kernel does not do that.

A script, which runs as a process of its own. Its standard input is a pipe from the parent. A child of the parent writes
a line `PID SIGNAL` before it runs its command. The input ends when the parent dies, however it dies, because the kernel
then closes the parent's end of the pipe.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from contextlib import suppress

import psutil


def main(lines: Iterable[str]) -> None:
    """Read the lines; at their end, send the signals to the processes that still run."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched = list[tuple[psutil.Process, int]]()
    for line in lines:
        pid, death_signal = map(int, line.split())
        with suppress(psutil.NoSuchProcess):
            # It also holds the time at which the process started: a later process with this id gets no signal.
            watched.append((psutil.Process(pid), death_signal))
    for process, death_signal in watched:
        with suppress(psutil.Error):
            process.send_signal(death_signal)


if __name__ == "__main__":
    main(sys.stdin)
