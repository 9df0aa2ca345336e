"""What the heartbeat, /readyz and /metrics read from the consumer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streamapp.transport.offset_tracker import Progress


class Consumer(Protocol):
    """A consumer whose progress is known."""

    @property
    def in_flight(self) -> tuple[int, int]:
        """Number of batches that are delivered and not acked, and their bytes."""
        ...

    @property
    def deleted_offsets(self) -> int:
        """Number of offsets that Kafka deleted before they were read."""
        ...

    def progress(self) -> Sequence[Progress]:
        """Return the progress of each assigned partition whose topic id is known."""
        ...


class MeteredConsumer(Consumer, Protocol):
    """A consumer with further counters."""

    @property
    def empty_offsets(self) -> int:
        """Number of offsets that hold no record."""
        ...

    @property
    def rewinds(self) -> int:
        """How often the offsets of a partition went back."""
        ...


@dataclass(slots=True)
class ConsumerState:
    """The state of the worker's consumer; the app updates it, /readyz and /metrics read it."""

    #: Number of assigned partitions; None before the first assignment and during a rebalance.
    partitions: int | None = None
    #: Number of assignments since the start.
    rebalances: int = 0
    #: None until the consumer has started.
    consumer: MeteredConsumer | None = None

    def assigned(self, partitions: int) -> None:
        """Record an assignment of this many partitions."""
        self.partitions = partitions
        self.rebalances += 1

    def revoked(self) -> None:
        """Record the start of a rebalance."""
        self.partitions = None
