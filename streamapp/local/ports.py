"""Choose ports on the loopback interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from streamapp import net
from streamapp.local.cluster_size import Size

USUAL = {"kafka": 9092, "registry": 8081, "mongod": 27017}


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
            taken.append(net.choose_port(USUAL.get(name) if usual else None, but=taken))
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
        return all(map(net.is_free, all_of_them))

    def notices(self) -> list[str]:
        """Say which usual ports were taken."""
        firsts = {"kafka": self.kafkas[0], "registry": self.registry, "mongod": self.mongods[0]}
        pairs = [(name, port) for name, port in firsts.items() if port != USUAL[name]]
        return [f"port {USUAL[name]} is taken; {name} is on port {port}" for name, port in pairs]
