"""Kafka, the schema registry and MongoDB as child processes on loopback: started together, ended together."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Self

from streamapp.errors import BackendError
from streamapp.local import artifacts, kafka, lock, mongod, ports, programs, registry

if TYPE_CHECKING:
    from pathlib import Path

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the servers listen on."""

    kafka: int = 9092
    registry: int = 8081
    mongod: int = 27017
    kafka_controller: int = 9093
    registry_management: int = 9000

    @classmethod
    def choose(cls, *, usual: bool) -> Self:
        """Choose free ports, the usual ones where they are free."""
        chosen: dict[str, int] = {}
        for field in fields(cls):
            chosen[field.name] = ports.choose(field.default if usual else None, but=chosen.values())
        return cls(**chosen)


class Backend:
    """The three servers, with their data in one folder; a context manager that starts and ends them.

    Args:
        data_dir: folder of their data; made if it is absent.
        settings: which programs to run.
        usual_ports: whether to listen on the usual ports, as far as they are free.
    """

    kafka: Server
    registry: Server
    mongod: Server

    def __init__(self, data_dir: Path, settings: Settings, *, usual_ports: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self.ports = Ports.choose(usual=usual_ports)
        self._settings = settings
        self._open = ExitStack()

    @property
    def addresses(self) -> Addresses:
        """Where the servers are."""
        return Addresses(
            kafka_bootstrap_servers=f"{ports.HOST}:{self.ports.kafka}",
            schema_registry_url=registry.url(self.ports.registry),
            mongo_uri=mongod.uri(self.ports.mongod),
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._lock(stack)
            self._launch(stack)
            for server in self._servers:
                server.wait_until_ready()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def check(self) -> None:
        """Raise BackendError if one of the servers has ended, though nobody stopped it."""
        for server in self._servers:
            server.check()

    @property
    def _servers(self) -> tuple[Server, ...]:
        return (self.mongod, self.registry, self.kafka)

    def _lock(self, stack: ExitStack) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock.held(self.data_dir / "lock", wait=False))
        except BlockingIOError as exc:
            owner = (self.data_dir / "lock").read_text(encoding="utf-8")
            raise BackendError(
                f"{self.data_dir} is in use by another `streamapp up` (process {owner}). End that one, or use another --data-dir."
            ) from exc

    def _launch(self, stack: ExitStack) -> None:
        cache = artifacts.cache_folder(self._settings.local_cache_dir)
        java = programs.java(self._settings.local_java)
        mongod_program = programs.mongod(self._settings.local_mongod)
        home = artifacts.registry_home(cache)
        jars = self._kafka_jars(cache)
        self.mongod = mongod.server(program=mongod_program, folder=self.data_dir / "mongod", port=self.ports.mongod)
        self._run(stack, self.mongod)
        self.registry = registry.server(
            java=java, home=home, folder=self.data_dir / "registry", port=self.ports.registry, management_port=self.ports.registry_management
        )
        self._run(stack, self.registry)
        self.kafka = kafka.server(
            java=java, jars=jars, folder=self.data_dir / "kafka", port=self.ports.kafka, controller_port=self.ports.kafka_controller
        )
        self._run(stack, self.kafka)

    def _run(self, stack: ExitStack, server: Server) -> None:
        stack.callback(server.stop)
        server.launch()

    def _kafka_jars(self, cache: Path) -> list[Path]:
        if home := self._settings.local_kafka_home:
            return sorted((home / "libs").glob("*.jar"))
        return list(artifacts.kafka_jars(self._settings.local_kafka_version, cache))
