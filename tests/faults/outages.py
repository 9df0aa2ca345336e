"""Servers that are away, or hang."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamapp.local.process import Server
from tests.faults.catalogue import fault
from tests.faults.environment import Scene


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Let a server hold its connections and answer nothing meanwhile."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


@fault("mongodb-away", "mongod", disturbs=False)
def mongodb_away(scene: Scene) -> None:
    """MongoDB stopped for longer than Kafka's max poll interval."""
    scene.backend.mongod.stop()
    try:
        scene.linger(scene.seconds(scene.settings.max_poll_interval_seconds * 1.3, 600))
    finally:
        scene.backend.mongod.start()


@fault("mongodb-killed", "mongod", disturbs=False)
def mongodb_killed(scene: Scene) -> None:
    """kill -9 of MongoDB, which is started again at once."""
    scene.backend.mongod.kill()
    scene.backend.mongod.start()


@fault("mongodb-hangs", "mongod", disturbs=False)
def mongodb_hangs(scene: Scene) -> None:
    """SIGSTOP of MongoDB."""
    with frozen(scene.backend.mongod):
        scene.linger(scene.seconds(1 + scene.source.random() * 12, 300))


@fault("registry-away", "registry", disturbs=False)
def registry_away(scene: Scene) -> None:
    """The registry stopped while events of a schema come that nobody has seen yet."""
    version = scene.load.announce()
    scene.backend.registry.stop()
    try:
        for _ in range(10):
            scene.load.events(20, version=version)
            scene.linger(scene.seconds(0.4, 18))
    finally:
        scene.backend.registry.start()


@fault("registry-hangs", "registry", disturbs=False)
def registry_hangs(scene: Scene) -> None:
    """SIGSTOP of the registry, with a new schema on its way."""
    version = scene.load.announce()
    with frozen(scene.backend.registry):
        scene.load.events(20, version=version)
        scene.linger(scene.seconds(1 + scene.source.random() * 6, 300))


@fault("broker-killed", "kafka")
def broker_killed(scene: Scene) -> None:
    """kill -9 of the broker, which comes back after a while."""
    scene.backend.kafka.kill()
    try:
        scene.linger(scene.seconds(scene.source.random() * 5, 120))
    finally:
        scene.backend.kafka.start()


@fault("broker-hangs", "kafka")
def broker_hangs(scene: Scene) -> None:
    """SIGSTOP of the broker, for less than its own sessions last, or longer."""
    with frozen(scene.backend.kafka):
        scene.linger(scene.seconds(1 + scene.source.random() * 8, 300))
