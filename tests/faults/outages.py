"""Servers that are stopped, or hang."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamapp.local.process import Server
from tests.faults.catalogue import fault
from tests.faults.environment import Environment


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Freeze a server: it keeps its connections and does not answer."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


@fault("mongodb-away", "mongod", disturbs=False)
def mongodb_away(environment: Environment) -> None:
    """MongoDB stopped for longer than Kafka's max poll interval."""
    environment.backend.mongod.stop()
    try:
        environment.let_time_pass(environment.seconds(environment.settings.max_poll_interval_seconds * 1.3, 600))
    finally:
        environment.backend.mongod.start()


@fault("mongodb-killed", "mongod", disturbs=False)
def mongodb_killed(environment: Environment) -> None:
    """kill -9 of MongoDB, which restarts at once."""
    environment.backend.mongod.kill()
    environment.backend.mongod.start()


@fault("mongodb-hangs", "mongod", disturbs=False)
def mongodb_hangs(environment: Environment) -> None:
    """SIGSTOP of MongoDB."""
    with frozen(environment.backend.mongod):
        environment.let_time_pass(environment.seconds(1 + environment.source.random() * 12, 300))


@fault("registry-away", "registry", disturbs=False)
def registry_away(environment: Environment) -> None:
    """The registry stopped while events of a new schema arrive."""
    version = environment.load.announce()
    environment.backend.registry.stop()
    try:
        for _ in range(10):
            environment.load.events(20, version=version)
            environment.let_time_pass(environment.seconds(0.4, 18))
    finally:
        environment.backend.registry.start()


@fault("registry-hangs", "registry", disturbs=False)
def registry_hangs(environment: Environment) -> None:
    """SIGSTOP of the registry while events of a new schema arrive."""
    version = environment.load.announce()
    with frozen(environment.backend.registry):
        environment.load.events(20, version=version)
        environment.let_time_pass(environment.seconds(1 + environment.source.random() * 6, 300))


@fault("broker-killed", "kafka")
def broker_killed(environment: Environment) -> None:
    """kill -9 of the broker, which restarts after a while."""
    environment.backend.kafka.kill()
    try:
        environment.let_time_pass(environment.seconds(environment.source.random() * 5, 120))
    finally:
        environment.backend.kafka.start()


@fault("broker-hangs", "kafka")
def broker_hangs(environment: Environment) -> None:
    """SIGSTOP of the broker, for less time than its own sessions last, or for more."""
    with frozen(environment.backend.kafka):
        environment.let_time_pass(environment.seconds(1 + environment.source.random() * 8, 300))
