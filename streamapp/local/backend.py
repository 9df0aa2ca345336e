"""Kafka, the schema registry and MongoDB as child processes on loopback: started together, ended together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from streamapp.errors import BackendError
from streamapp.local import artifacts, kafka, lock, mongod, programs, registry
from streamapp.local.ports import HOST, Ports
from streamapp.local.process import Server
from streamapp.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the three servers are, named as in the settings."""

    kafka_bootstrap_servers: str
    schema_registry_url: str
    mongo_uri: str

    def environment(self) -> dict[str, str]:
        """Return the variables that lead the worker and the dashboard here."""
        return {f"STREAMAPP_{name.upper()}": value for name, value in asdict(self).items()}


class Backend:
    """The three servers, with their data in one folder; a context manager that starts and ends them.

    Args:
        data_dir: folder of their data; made if it is absent.
        settings: which programs to run.
        usual_ports: whether to listen on the usual ports, as far as they are free.
    """

    #: What the servers listen on; chosen as they start, since a download before that may take minutes.
    ports: Ports
    kafka: Server
    registry: Server
    mongod: Server

    def __init__(self, data_dir: Path, settings: Settings, *, usual_ports: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self._settings = settings
        self._usual_ports = usual_ports
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._lock(stack)
            self._start(stack)
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def servers(self) -> tuple[Server, ...]:
        """The three, in the order of their start."""
        return (self.mongod, self.registry, self.kafka)

    @property
    def addresses(self) -> Addresses:
        """Where the servers are."""
        return Addresses(
            kafka_bootstrap_servers=f"{HOST}:{self.ports.kafka}",
            schema_registry_url=registry.url(self.ports.registry),
            mongo_uri=mongod.uri(self.ports.mongod),
        )

    def check(self) -> None:
        """Raise BackendError if one of the servers has ended, though nobody stopped it."""
        for server in self.servers:
            server.check()

    def _lock(self, stack: ExitStack) -> None:
        file = self.data_dir / "lock"
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock.held(file, wait=False))
        except BlockingIOError:
            raise BackendError(
                f"{self.data_dir} is in use by process {file.read_text(encoding='utf-8')}."
                " End that one, or choose another --data-dir."
            ) from None
        except OSError as exc:
            raise BackendError(f"No data can be kept in {self.data_dir}: {exc}. Choose another --data-dir.") from exc

    def _start(self, stack: ExitStack) -> None:
        found = _Programs.find(self._settings)
        # Somebody may take a port before our server does, above all another of us that starts at the same moment.
        for usual in (self._usual_ports, False):
            try:
                return self._start_on(Ports.choose(usual=usual), found, stack)
            except BackendError:
                if self.ports.are_free():
                    raise
        return self._start_on(Ports.choose(usual=False), found, stack)

    def _start_on(self, ports: Ports, found: _Programs, outer: ExitStack) -> None:
        self.ports = ports
        with ExitStack() as stack:
            self._launch(stack, found)
            for server in self.servers:
                server.wait_until_ready()
            self.check()  # somebody else's may have answered before ours found its port taken
            outer.push(stack.pop_all())

    def _launch(self, stack: ExitStack, found: _Programs) -> None:
        def run(server: Server) -> Server:
            stack.callback(server.stop)
            server.launch()
            return server

        ports, folder = self.ports, self.data_dir
        self.mongod = run(mongod.server(program=found.mongod, folder=folder / "mongod", port=ports.mongod))
        self.registry = run(
            registry.server(java=found.java, home=found.registry, folder=folder / "registry", ports=ports)
        )
        # Last, since formatting takes a second, in which the others get on with their start.
        self.kafka = run(kafka.server(java=found.java, jars=found.kafka, folder=folder / "kafka", ports=ports))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Programs:
    java: Path
    mongod: Path
    registry: Path
    kafka: Sequence[Path]

    @classmethod
    def find(cls, settings: Settings) -> Self:
        """Find all of them, downloaded if need be."""
        cache = artifacts.cache_folder(settings.local_cache_dir)
        return cls(
            java=programs.java(settings.local_java),
            mongod=programs.mongod(settings.local_mongod),
            registry=artifacts.registry_home(cache),
            kafka=_kafka_jars(settings, cache),
        )


def _kafka_jars(settings: Settings, cache: Path) -> Sequence[Path]:
    home = settings.local_kafka_home
    if not home:
        return artifacts.kafka_jars(settings.local_kafka_version, cache)
    if jars := sorted((home / "libs").glob("*.jar")):
        return jars
    raise BackendError(f"STREAMAPP_LOCAL_KAFKA_HOME names {home}, and there is no Kafka in it (no libs/*.jar).")
