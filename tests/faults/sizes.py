"""Records as large as Kafka takes them, and more of them than a worker may hold."""

from __future__ import annotations

from tests.faults.catalogue import fault
from tests.faults.scene import Scene


@fault("large-records", "load", disturbs=False)
def large_records(scene: Scene) -> None:
    """Events and poisons of a megabyte, up to the broker's limit."""
    for _ in range(int(scene.seconds(15, 300))):
        scene.load.large()
        scene.linger(0.1)
