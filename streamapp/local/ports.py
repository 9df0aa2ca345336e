"""Choose ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from streamapp.local.cluster_size import Size

HOST = "127.0.0.1"
USUAL = {"kafka": 9092, "registry": 8081, "mongod": 27017}
# Below the range from which the kernel serves outgoing connections: a client that keeps trying to reach a server which
# is down would otherwise sooner or later be connected to itself, and keep the server from its port.
FREE = range(15_000, 32_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the servers listen on; of Kafka and MongoDB one for each member."""

    registry: int
    registry_management: int
    kafkas: tuple[int, ...]
    kafka_controllers: tuple[int, ...]
    mongods: tuple[int, ...]

    @classmethod
    def choose(cls, *, usual: bool, size: Size | None = None) -> Self:
        """Choose free ports; for the first of each kind the usual ones as far as they are free, if they are wanted."""
        size, taken = size or Size(), list[int]()

        def take(name: str = "") -> int:
            taken.append(choose(USUAL.get(name) if usual else None, but=taken))
            return taken[-1]

        return cls(
            kafkas=(take("kafka"), *(take() for _ in range(size.brokers - 1))),
            registry=take("registry"),
            mongods=(take("mongod"), *(take() for _ in range(size.mongods - 1))),
            kafka_controllers=tuple(take() for _ in range(size.brokers)),
            registry_management=take(),
        )

    def are_free(self) -> bool:
        """Tell whether none of them is taken."""
        all_of_them = (*self.kafkas, *self.mongods, *self.kafka_controllers, self.registry, self.registry_management)
        return all(map(is_free, all_of_them))

    def notices(self) -> list[str]:
        """Say which usual ports were taken."""
        firsts = {"kafka": self.kafkas[0], "registry": self.registry, "mongod": self.mongods[0]}
        pairs = [(name, port) for name, port in firsts.items() if port != USUAL[name]]
        return [f"port {USUAL[name]} is taken; {name} is on port {port}" for name, port in pairs]


def choose(usual: int | None = None, *, but: Collection[int] = ()) -> int:
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
