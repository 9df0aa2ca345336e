"""Choose the ports of the local backend's servers on the loopback interface."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Self

from streamapp import net
from streamapp.local.cluster_size import ClusterSize

USUAL = {"kafka": 9092, "registry": 8081, "mongod": 27017}
_NAMES = {"kafka": "Kafka", "registry": "The schema registry", "mongod": "MongoDB"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Ports of the servers; for Kafka and MongoDB, one for each member."""

    registry: int
    registry_management: int
    kafkas: tuple[int, ...]
    kafka_controllers: tuple[int, ...]
    #: For connections with a certificate; none unless the backend is secured.
    kafkas_tls: tuple[int, ...] = ()
    #: Of the registry behind its proxy, whose port is `registry`; None unless the backend is secured.
    registry_behind: int | None = None
    mongods: tuple[int, ...]

    @classmethod
    def choose(
        cls,
        *,
        usual: bool,
        size: ClusterSize | None = None,
        reserve: Callable[[int], bool] = lambda _: True,
        is_secure: bool = False,
    ) -> Self:
        """Choose free ports that can be reserved.

        With `usual`, the first server of each kind gets its usual port where that is possible.
        """
        size, taken = size or ClusterSize(), list[int]()

        def take(name: str = "") -> int:
            taken.append(choose_port(USUAL.get(name) if usual else None, but=taken, reserve=reserve))
            return taken[-1]

        registry = take("registry")
        return cls(
            kafkas=(take("kafka"), *(take() for _ in range(size.brokers - 1))),
            registry=registry,
            registry_behind=take() if is_secure else None,
            mongods=(take("mongod"), *(take() for _ in range(size.mongods - 1))),
            kafka_controllers=tuple(take() for _ in range(size.brokers)),
            registry_management=take(),
            kafkas_tls=tuple(take() for _ in range(size.brokers if is_secure else 0)),
        )

    @property
    def registry_itself(self) -> int:
        """The port of the registry, not of a proxy."""
        return self.registry if self.registry_behind is None else self.registry_behind

    def are_free(self) -> bool:
        """Return whether no process listens on any of the ports."""
        kafka = (*self.kafkas, *self.kafkas_tls, *self.kafka_controllers)
        registry = (self.registry, self.registry_itself, self.registry_management)
        return all(map(net.is_free, (*kafka, *registry, *self.mongods)))

    def notices(self) -> list[str]:
        """Return a sentence for each first server of a kind that is not on its usual port."""
        first = {"kafka": self.kafkas[0], "registry": self.registry, "mongod": self.mongods[0]}
        return [port_notice(_NAMES[name], USUAL[name], port) for name, port in first.items() if port != USUAL[name]]


def choose_port(usual: int | None, *, but: Collection[int] = (), reserve: Callable[[int], bool]) -> int:
    """Choose a free port that can be reserved, the usual one if possible; never one of `but`."""
    refused = list[int]()
    while True:
        port = net.choose_port(usual, but=[*but, *refused])
        if reserve(port):
            return port
        refused.append(port)


def port_notice(server: str, usual: int, port: int) -> str:
    """Return the sentence that a server is not on its usual port."""
    return f"{server} listens on port {port} because port {usual} is in use."
