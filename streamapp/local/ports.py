"""Choose ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

HOST = "127.0.0.1"
# Below the range from which the kernel serves outgoing connections: a client that keeps trying to reach a server which
# is down would otherwise sooner or later be connected to itself, and keep the server from its port.
FREE_PORTS = range(15_000, 32_000)


def choose(usual: int | None = None, *, but: Collection[int] = ()) -> int:
    """Return the usual port if it is free, else any free one; none of `but`."""
    wanted = [] if usual is None else [usual]
    anywhere = random.sample(FREE_PORTS, 200)
    return next(port for port in (*wanted, *anywhere) if port not in but and is_free(port))


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def is_open(port: int) -> bool:
    """Tell whether a server listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
