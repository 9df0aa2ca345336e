"""Start and stop Kafka, the schema registry and MongoDB as child processes on the loopback interface.

Kafka and MongoDB can be clusters of several members, which survive the loss of fewer than half of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from streamapp.errors import BackendError
from streamapp.local import artifacts, cluster_size, kafka, lock, mongod, programs, registry, secure
from streamapp.local.cluster_size import ClusterSize
from streamapp.local.listener import PortReservations
from streamapp.local.ports import Ports
from streamapp.local.process import START_WITHIN_SECONDS, Server
from streamapp.local.secure import Security, SecurityOptions
from streamapp.net import HOST
from streamapp.settings import CONNECTION_SETTINGS, Settings, variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Addresses of the three servers, named as in the settings."""

    kafka_bootstrap_servers: str
    schema_registry_url: str
    mongo_uri: str
    #: Of a secured backend, the variables in place of those of the addresses.
    variables: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which worker and dashboard use these servers."""
        names = ("kafka_bootstrap_servers", "schema_registry_url", "mongo_uri")
        plain = {f"STREAMAPP_{name.upper()}": str(getattr(self, name)) for name in names}
        return dict(self.variables) or plain

    def command_environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return an environment for a command that connects to these servers, and to no others."""
        return {**environ, **self.additions(environ)}

    def additions(self, names: Iterable[str]) -> dict[str, str]:
        """Return what to add to an environment, so that programs connect to these servers, and to no others.

        The other variables of connections are empty, which counts as unset and hides the lines of a `.env`.

        Args:
            names: of the variables of the environment, in upper or lower case.
        """
        of_connections = {variable(name) for name in CONNECTION_SETTINGS}
        others = {name for name in names if name.upper() in of_connections}
        return {**dict.fromkeys(sorted(of_connections | others), ""), **self.environment()}

    def printed(self, dotenv: Iterable[str]) -> dict[str, str]:
        """Return what a person exports, so that programs connect to these servers in spite of a `.env`.

        Args:
            dotenv: names of the variables in `.env`.
        """
        hidden = {variable(name) for name in CONNECTION_SETTINGS} & {name.upper() for name in dotenv}
        return {**self.environment(), **dict.fromkeys(sorted(hidden - self.environment().keys()), "")}


class Backend:
    """The servers, with their data in one folder; a context manager that starts and stops them.

    Args:
        data_dir: folder for the data; created if it does not exist.
        settings: the programs to run.
        usual_ports: whether to use the usual ports where they are free.
        brokers: number of Kafka brokers, odd; None means that of the data folder, 1 for a new one.
        mongods: number of members of MongoDB's replica set, in the same way.
        secure: whether the servers require TLS and credentials; tests may add options.
    """

    #: Chosen immediately before the servers start, because a download can take minutes.
    ports: Ports
    kafkas: Sequence[Server]
    registry: Server
    mongods: Sequence[Server]
    #: None unless the backend is secured.
    security: Security | None = None
    registry_proxy: Server | None = None

    def __init__(  # noqa: PLR0913 - they are named
        self,
        data_dir: Path,
        settings: Settings,
        *,
        usual_ports: bool = True,
        brokers: int | None = None,
        mongods: int | None = None,
        secure: bool | SecurityOptions = False,
    ) -> None:
        self._secure = secure
        self.data_dir = data_dir.absolute()
        self._brokers, self._mongods = brokers, mongods
        self._reported = set[Server]()
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
        """The first broker; the only one unless Kafka is a cluster."""
        return self.kafkas[0]

    @property
    def mongod(self) -> Server:
        """The first member of the replica set; the only one unless MongoDB is a cluster."""
        return self.mongods[0]

    @property
    def servers(self) -> tuple[Server, ...]:
        """All servers, in the order in which they start."""
        proxy = [self.registry_proxy] if self.registry_proxy else []
        return (*self.mongods, self.registry, *proxy, *self.kafkas)

    @property
    def addresses(self) -> Addresses:
        """Addresses of the servers."""
        return Addresses(
            kafka_bootstrap_servers=",".join(f"{HOST}:{port}" for port in self.ports.kafkas),
            schema_registry_url=registry.url(self.ports.registry),
            mongo_uri=mongod.uri(*self.ports.mongods),
            variables=self.security.environment(self.ports) if self.security else {},
        )

    def member_addresses(self) -> list[str]:
        """Return a line with address and process id for each member of a cluster, for failover drills."""
        kinds = [(self.kafkas, self.ports.kafkas), (self.mongods, self.ports.mongods)]
        members = [(server, port) for kind in kinds if len(kind[0]) > 1 for server, port in zip(*kind, strict=True)]
        return [f"{server.name}: {HOST}:{port}, process {server.pid}" for server, port in members]

    def check(self) -> list[str]:
        """Return a warning for each cluster member that has ended unexpectedly since the last call.

        Raises:
            BackendError: a server has ended, and half of its kind or more are lost.
        """
        kinds = (self.kafkas, self.mongods, [self.registry], [self.registry_proxy] if self.registry_proxy else [])
        return [warning for kind in kinds for warning in self._check_kind(kind)]

    def _check_kind(self, kind: Sequence[Server]) -> Iterable[str]:
        ended = {server: how for server in kind if (how := server.unexpected_end())}
        if ended and len(ended) * 2 >= len(kind):
            for server in reversed(ended):
                server.check()
        new = ended.keys() - self._reported
        self._reported |= new
        for server in new:
            yield f"{server.name} has ended ({ended[server]}). The other members continue. Its log: {server.log}"

    def _lock(self, stack: ExitStack) -> None:
        file = self.data_dir / "lock"
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock.held(file, wait=False))
        except BlockingIOError:
            raise BackendError(
                f"The data folder {self.data_dir} is in use by process {file.read_text(encoding='utf-8')}."
                " End that process, or choose another --data-dir."
            ) from None
        except OSError as exc:
            raise BackendError(
                f"The data folder {self.data_dir} cannot be used: {exc}. Choose another --data-dir."
            ) from exc

    def _start(self, stack: ExitStack) -> None:
        size = cluster_size.choose(self.data_dir, brokers=self._brokers, mongods=self._mongods)
        secure.check_kind(self.data_dir, is_secure=bool(self._secure))
        found = _Programs.find(self._settings)
        if self._secure:
            options = self._secure if isinstance(self._secure, SecurityOptions) else None
            self.security = Security(self.data_dir, self._settings, options)
        cluster_size.save(self.data_dir, size)
        # Another program can take a chosen port before the server listens on it: then start again, on random ports. A
        # second `streamapp up` that starts at the same time does not take it, because it is reserved.
        for usual in (self._usual_ports, False):
            try:
                return self._start_on(size, found, stack, usual=usual)
            except BackendError:
                if self.ports.are_free():
                    raise
        return self._start_on(size, found, stack, usual=False)

    def _start_on(self, size: ClusterSize, found: _Programs, outer: ExitStack, *, usual: bool) -> None:
        with ExitStack() as stack:
            reservations = stack.enter_context(PortReservations())
            self.ports = Ports.choose(
                usual=usual, size=size, reserve=reservations.reserve, is_secure=bool(self._secure)
            )
            self._launch(stack, found)
            # The deadline is for three servers; more of them share the same cores and start more slowly.
            within_seconds = START_WITHIN_SECONDS * len(self.servers) / 3
            for server in self.servers:
                server.wait_until_ready(within_seconds)
            if self.security:
                self.security.provision(self.ports)
            for server in self.servers:
                server.check()  # it may have ended since it answered
            outer.push(stack.pop_all())

    def _launch(self, stack: ExitStack, found: _Programs) -> None:
        launched: list[Server] = []
        stack.callback(_stop, launched)

        def run(servers: Sequence[Server]) -> Sequence[Server]:
            for server in servers:
                launched.append(server)
                server.launch()
            return servers

        ports, folder, security = self.ports, self.data_dir, self.security
        mongods = mongod.servers(
            program=found.mongod,
            environ=programs.mongod_environment(self._settings.local_mongod, folder),
            data_dir=folder,
            ports=ports.mongods,
            security=security.mongod if security else None,
        )
        self.mongods = run(mongods)
        (self.registry,) = run(
            [registry.server(java=found.java, home=found.registry, folder=folder / "registry", ports=ports)]
        )
        if security:
            (self.registry_proxy,) = run([security.registry_proxy(ports)])
        # Last, because formatting its storage takes a second, during which the other servers start.
        kafkas = kafka.servers(
            java=found.java,
            jars=found.kafka,
            data_dir=folder,
            ports=ports,
            security=security.kafka if security else None,
        )
        self.kafkas = run(kafkas)


def _stop(servers: Sequence[Server]) -> None:
    # Concurrently: the last brokers of a cluster have no broker to hand over to, and only stop at their deadline.
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
        """Find all programs; download the missing ones."""
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
    raise BackendError(f"STREAMAPP_LOCAL_KAFKA_HOME is {home}, but that folder contains no Kafka (no libs/*.jar).")
