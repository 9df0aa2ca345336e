"""Ports and addresses of this machine."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

#: The loopback address.
HOST = "127.0.0.1"
# Below the range from which the kernel serves outgoing connections: a client that keeps trying to reach a server which
# is down would otherwise sooner or later be connected to itself, and keep the server from its port.
FREE = range(15_000, 32_000)


def choose_port(usual: int | None = None, *, but: Collection[int] = ()) -> int:
    """Return the usual port if it is free, else any free one; none of `but`."""
    wanted = [] if usual is None else [usual]
    anywhere = random.sample(FREE, 200)
    return next(port for port in (*wanted, *anywhere) if port not in but and is_free(port))


def is_free(port: int, host: str = HOST) -> bool:
    """Tell whether a server could listen on the port."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def is_here(host: str) -> bool:
    """Tell whether a server on this machine could listen on this host's address."""
    try:
        with socket.create_server((host, 0), family=_family(host)):
            return True
    except (OSError, ValueError):  # no address of ours, no name that is known, no name at all
        return False


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def is_open(port: int) -> bool:
    """Tell whether a server listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
