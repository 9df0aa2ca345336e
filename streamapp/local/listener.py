"""Which process listens on a port, and which start of a backend has reserved it."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

PROC = Path("/proc")
_LISTENING = "0A"


def is_listener(process_group: int, port: int, *, proc: Path = PROC) -> bool:
    """Return whether a process of the group listens on the port; true where the kernel does not tell."""
    try:
        sockets = set(_listening_sockets(port, proc))
    except OSError:  # not Linux
        return True
    members = (process_group, *(pid for pid in _processes(proc) if pid != process_group))
    return any(sockets & set(_sockets(pid, proc)) for pid in members if _is_member(pid, process_group))


def _listening_sockets(port: int, proc: Path) -> Iterator[str]:
    # Java also listens on IPv4 addresses with sockets of IPv6.
    for table in ("tcp", "tcp6"):
        file = proc / "net" / table
        if table == "tcp6" and not file.exists():  # a kernel without IPv6
            return
        for line in file.read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, state, *fields = line.split()
            if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                yield f"socket:[{fields[5]}]"


def _processes(proc: Path) -> Iterator[int]:
    return (int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal())


def _is_member(pid: int, process_group: int) -> bool:
    with suppress(OSError):  # it has ended
        return os.getpgid(pid) == process_group
    return False


def _sockets(pid: int, proc: Path) -> Iterator[str]:
    with suppress(OSError):  # it has ended
        for entry in (proc / str(pid) / "fd").iterdir():
            with suppress(OSError):
                yield str(entry.readlink())


class PortReservations:
    """Ports that no other start of a backend on this machine chooses, until this context manager ends.

    A reservation is an abstract Unix socket, which the kernel removes when the process ends.
    """

    def __init__(self) -> None:
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def reserve(self, port: int) -> bool:
        """Return whether the port is reserved now, which it is not if another process has reserved it."""
        if sys.platform != "linux":
            return True
        reservation = self._held.enter_context(socket.socket(socket.AF_UNIX))
        try:
            reservation.bind(f"\0streamapp.port.{port}")
        except OSError:
            return False
        return True
