"""What the benchmarks share: the servers, the events sent to them, and the programs that run in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka.admin import NewTopic
from pymongo.database import Database

from benchmarks import noise, report
from benchmarks.watching import GIVE_UP_AFTER_SECONDS
from streamapp.connections import mongodb
from streamapp.connections.kafka import KafkaConnection
from streamapp.local.backend import Backend
from streamapp.local.process import POLL_SECONDS, Server, tail
from streamapp.local.secure import kafka_servers
from streamapp.model.event import Schema
from streamapp.net import HOST
from streamapp.registry.api_path import APICURIO_PATH
from streamapp.settings import Settings


@contextmanager
def opened(*, secure: bool = False) -> Generator[Bench]:
    """Start the servers with their data in a temporary folder, and print the machine's facts.

    Args:
        secure: with TLS, users and access control lists, as `streamapp up --secure` starts them.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        Backend(Path(folder), Settings(), usual_ports=False, secure=secure) as backend,
    ):
        bench = Bench(backend, Path(folder))
        report.say(f"Before the start: {report.machine(bench.mongo_uri)}\n")
        yield bench


class Bench:
    """The servers, and the actions on them."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self._folder = folder
        self._environ = {
            **os.environ,
            **backend.addresses.environment(),
            "STREAMAPP_PRODUCE_INTERVAL_SECONDS": "0",
            "TMPDIR": str(folder),
        }
        #: Seconds that a fixed amount of work took, before each turn and after the last one.
        self.calibrations: list[float] = []

    @property
    def mongo_uri(self) -> str:
        """The connection string of the benchmark itself, which may use every database."""
        security = self.backend.security
        return security.mongod.admin_uri(*self.backend.ports.mongods) if security else self.backend.addresses.mongo_uri

    @property
    def registry_url(self) -> str:
        """The registry without TLS and users, for the benchmark itself."""
        return f"http://{HOST}:{self.backend.ports.registry_itself}{APICURIO_PATH}"

    def environment(self, name: str, *, topic: str) -> Mapping[str, str]:
        """Return the environment of a program with a consumer group and a database of its own."""
        if security := self.backend.security:
            names = {"topic": topic, "app_id": name, "mongo_database": name}
            security.provision(self.backend.ports, Settings().model_copy(update=names))
        return self._environ | {
            "STREAMAPP_APP_ID": name,
            "STREAMAPP_MONGO_DATABASE": name,
            "STREAMAPP_TOPIC": topic,
        }

    def turns(self, names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
        """Yield (round number, name): all names in every round; each round starts with another name."""
        for number in range(rounds):
            first = number % len(names)
            for name in (*names[first:], *names[:first]):
                report.progress(f"round {number + 1} of {rounds}: {name}")
                self.calibrations.append(noise.calibrate())
                yield number, name
        self.calibrations.append(noise.calibrate())

    def make_topic(self, name: str, *, partitions: int, **config: str) -> None:
        """Create a topic with a configuration before a program creates it without one."""
        admin = self.kafka().admin()
        admin.create_topics([NewTopic(name, partitions, config=config)])[name].result(20)

    def send(self, topic: str, count: int, *options: str) -> Mapping[str, Any]:
        """Send events with `send-sample`, compressed with lz4; return its output after all events are acknowledged."""
        return json.loads(self.send_with(topic, [*_sender(count), *options]))

    def send_with(self, topic: str, command: Sequence[str]) -> bytes:
        """Run a command that sends events to a topic; return its output."""
        environ = self._environ | {"STREAMAPP_TOPIC": topic}
        done = subprocess.run(command, env=environ, check=True, timeout=GIVE_UP_AFTER_SECONDS, stdout=subprocess.PIPE)
        return done.stdout

    def register(self, schema: Schema) -> None:
        """Register a schema as the next version of the topic's subject."""
        file = self.file("later.avsc")
        file.write_text(json.dumps(schema))
        command = [sys.executable, "-m", "streamapp", "schema", "register", str(file)]
        subprocess.run(command, env=self._environ, check=True, timeout=60, stdout=subprocess.DEVNULL)

    def file(self, name: str) -> Path:
        """A file in the temporary folder."""
        return self._folder / name

    @contextmanager
    def sending(self, topic: str, count: int, *options: str) -> Generator[None]:
        """Run `send-sample` in the background; wait at the end until it has finished."""
        environ = self._environ | {"STREAMAPP_TOPIC": topic}
        with self.running("send-sample", [*_sender(count), *options], environ) as sender:
            yield
            give_up_at = time.monotonic() + GIVE_UP_AFTER_SECONDS
            while not (end := sender.unexpected_end()) and time.monotonic() < give_up_at:
                time.sleep(POLL_SECONDS)
            if end != "exit code 0":
                sys.exit(f"send-sample: {end or 'given up'}; the end of what it said:\n{tail(sender.log)}")

    @contextmanager
    def running(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> Generator[Server]:
        """Start a program, and end it at exit."""
        log = self.file(f"{name}.log")
        server = Server(name=name, command=command, log=log, answers=lambda: True, environ=environ)
        server.launch()
        try:
            yield server
        finally:
            server.stop()

    @contextmanager
    def database(self, name: str, *, drop: bool = True) -> Generator[Database[dict[str, Any]]]:
        """Open a database, and drop it at exit."""
        with closing(mongodb.client(self.mongo_uri)) as client:
            yield client[name]
            if drop:
                client.drop_database(name)

    def kafka(self) -> KafkaConnection:
        """The connection of the benchmark itself, which may do everything."""
        if security := self.backend.security:
            return security.kafka.admin(kafka_servers(self.backend.ports.kafkas_tls))
        return KafkaConnection(servers=self.backend.addresses.kafka_bootstrap_servers)


def _sender(count: int) -> Sequence[str]:
    return [sys.executable, "-m", "streamapp", "send-sample", "--count", str(count), "--seed", "1", "--json"]
