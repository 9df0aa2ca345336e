"""Kafka, the schema registry and MongoDB as child processes on loopback: started together, ended together.

Kafka and MongoDB may have several members each; then the death of some of them is survived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from streamapp.errors import BackendError
from streamapp.local import artifacts, cluster_size, kafka, lock, mongod, programs, registry
from streamapp.local.ports import Ports
from streamapp.local.process import START_WITHIN_SECONDS, Server
from streamapp.net import HOST
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
    """The servers, with their data in one folder; a context manager that starts and ends them.

    Args:
        data_dir: folder of their data; made if it is absent.
        settings: which programs to run.
        usual_ports: whether to listen on the usual ports, as far as they are free.
        brokers: how many Kafka brokers, an odd number; None means as many as the folder has, 1 in a new one.
        mongods: how many members of MongoDB's replica set, likewise.
    """

    #: What the servers listen on; chosen as they start, since a download before that may take minutes.
    ports: Ports
    kafkas: Sequence[Server]
    registry: Server
    mongods: Sequence[Server]

    def __init__(
        self,
        data_dir: Path,
        settings: Settings,
        *,
        usual_ports: bool = True,
        brokers: int | None = None,
        mongods: int | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._brokers, self._mongods = brokers, mongods
        self._fallen = set[Server]()
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
    def kafka(self) -> Server:
        """The first broker, which is the only one unless more are wanted."""
        return self.kafkas[0]

    @property
    def mongod(self) -> Server:
        """The first member of MongoDB's set, likewise."""
        return self.mongods[0]

    @property
    def servers(self) -> tuple[Server, ...]:
        """All, in the order of their start."""
        return (*self.mongods, self.registry, *self.kafkas)

    @property
    def addresses(self) -> Addresses:
        """Where the servers are."""
        return Addresses(
            kafka_bootstrap_servers=",".join(f"{HOST}:{port}" for port in self.ports.kafkas),
            schema_registry_url=registry.url(self.ports.registry),
            mongo_uri=mongod.uri(*self.ports.mongods),
        )

    def members(self) -> list[str]:
        """Say where each member is, if there are several, for those who want to hurt one."""
        pairs = [(self.kafkas, self.ports.kafkas), (self.mongods, self.ports.mongods)]
        several = [(server, port) for pair in pairs if len(pair[0]) > 1 for server, port in zip(*pair, strict=True)]
        return [f"{server.name}: {HOST}:{port}, process {server.pid}" for server, port in several]

    def check(self) -> list[str]:
        """Tell of members that have ended since the last look, though nobody stopped them, and are not needed.

        Raises:
            BackendError: one has ended that is needed: too few are left.
        """
        kinds = (self.kafkas, self.mongods, [self.registry])
        return [loss for kind in kinds for loss in self._losses(kind)]

    def _losses(self, kind: Sequence[Server]) -> Iterable[str]:
        ended = {server: how for server in kind if (how := server.end())}
        if len(ended) * 2 >= len(kind):
            for server in reversed(ended):
                server.check()
        new = ended.keys() - self._fallen
        self._fallen |= new
        for server in new:
            yield f"{server.name} has ended ({ended[server]}), and the others go on without it. Its log: {server.log}"

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
        size = cluster_size.sized(self.data_dir, brokers=self._brokers, mongods=self._mongods)
        found = _Programs.find(self._settings)
        cluster_size.keep(self.data_dir, size)
        # Somebody may take a port before our server does, above all another of us that starts at the same moment.
        for usual in (self._usual_ports, False):
            try:
                return self._start_on(Ports.choose(usual=usual, size=size), found, stack)
            except BackendError:
                if self.ports.are_free():
                    raise
        return self._start_on(Ports.choose(usual=False, size=size), found, stack)

    def _start_on(self, ports: Ports, found: _Programs, outer: ExitStack) -> None:
        self.ports = ports
        with ExitStack() as stack:
            self._launch(stack, found)
            # Three as usual; more share the same cores.
            within_seconds = START_WITHIN_SECONDS * len(self.servers) / 3
            for server in self.servers:
                server.wait_until_ready(within_seconds)
            for server in self.servers:
                server.check()  # somebody else's may have answered before ours found its port taken
            outer.push(stack.pop_all())

    def _launch(self, stack: ExitStack, found: _Programs) -> None:
        launched: list[Server] = []
        stack.callback(_stop, launched)

        def run(servers: Sequence[Server]) -> Sequence[Server]:
            for server in servers:
                launched.append(server)
                server.launch()
            return servers

        ports, folder = self.ports, self.data_dir
        self.mongods = run(mongod.servers(program=found.mongod, data_dir=folder, ports=ports.mongods))
        (self.registry,) = run(
            [registry.server(java=found.java, home=found.registry, folder=folder / "registry", ports=ports)]
        )
        # Last, since formatting takes a second, in which the others get on with their start.
        self.kafkas = run(kafka.servers(java=found.java, jars=found.kafka, data_dir=folder, ports=ports))


def _stop(servers: Sequence[Server]) -> None:
    # Side by side: the last brokers of a cluster cannot hand over to anybody, and wait for their deadline.
    with ThreadPoolExecutor(max(1, len(servers))) as threads:
        list(threads.map(lambda server: server.stop(), servers))


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
