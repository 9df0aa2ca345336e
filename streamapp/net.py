"""Ports and addresses of this machine."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

#: The loopback address.
HOST = "127.0.0.1"
# Below the kernel's range of ephemeral ports: a client that retries to connect to a stopped server on an ephemeral port
# can at some time connect to itself, and then occupies the server's port.
CANDIDATES = range(15_000, 32_000)


def choose_port(usual: int | None = None, *, but: Collection[int] = ()) -> int:
    """Return the usual port if it is free, else a random free port; never one of `but`."""
    preferred = [] if usual is None else [usual]
    candidates = random.sample(CANDIDATES, 200)
    return next(port for port in (*preferred, *candidates) if port not in but and is_free(port))


def is_free(port: int, host: str = HOST) -> bool:
    """Return whether a server can listen on the port."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def is_here(host: str) -> bool:
    """Return whether a server on this machine can listen on the host's address."""
    try:
        with socket.create_server((host, 0), family=_family(host)):
            return True
    except (OSError, ValueError):  # an address of another machine, an unknown name, or no name at all
        return False


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def is_open(port: int) -> bool:
    """Return whether a server listens on the port of the loopback address."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
