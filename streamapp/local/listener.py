"""Find the process that listens on a port, and reserve ports for the start of servers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Self

from streamapp.local.programs import missing
from streamapp.net import HOST


def listens(process_group: int, port: int) -> bool:
    """Return whether a process of the group listens on the port; true where the system does not tell."""
    try:
        import psutil  # noqa: PLC0415 - the extra `local` installs it
    except ModuleNotFoundError:
        raise missing("psutil") from None

    try:
        for pid in _members(process_group, psutil.pids()):
            with suppress(psutil.NoSuchProcess):
                connections = psutil.Process(pid).net_connections("tcp")
                if any(each.status == psutil.CONN_LISTEN and each.laddr[1] == port for each in connections):
                    return True
    except (psutil.AccessDenied, OSError):
        return True
    return False


def _members(process_group: int, pids: list[int]) -> Iterator[int]:
    # The leader first: it is the server itself, unless that was started by a script.
    for pid in (process_group, *(pid for pid in pids if pid != process_group)):
        with suppress(OSError):
            if os.getpgid(pid) == process_group:
                yield pid


class PortReservations:
    """TCP ports that no other start of a backend on this machine chooses, until this context manager ends.

    A reservation is a UDP socket on the port of the same number, which is independent of the TCP port. The kernel
    closes it when the process ends.
    """

    def __init__(self) -> None:
        self._held = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def reserve(self, port: int) -> bool:
        """Return whether the port is reserved now, which it is not if another process has reserved it."""
        reservation = self._held.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        try:
            reservation.bind((HOST, port))
        except OSError:
            return False
        return True
