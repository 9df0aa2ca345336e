"""What the benchmarks with programs share: the servers, events sent into them, programs that take turns at them."""

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

from confluent_kafka.admin import AdminClient, NewTopic
from pymongo import MongoClient
from pymongo.database import Database

from benchmarks import noise, report
from benchmarks.watching import GIVE_UP_AFTER_SECONDS
from streamapp.local.backend import Backend
from streamapp.local.process import POLL_SECONDS, Server, tail
from streamapp.settings import Settings


@contextmanager
def opened() -> Generator[Bench]:
    """Start the servers, with their data in a folder that goes with them; say what machine it is."""
    with tempfile.TemporaryDirectory() as folder, Backend(Path(folder), Settings(), usual_ports=False) as backend:
        report.say(f"Before the start: {report.machine(backend.addresses.mongo_uri)}\n")
        yield Bench(backend, Path(folder))


class Bench:
    """The servers, and what is done with them."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self.backend = backend
        self._folder = folder
        self._environ = {
            **os.environ,
            **backend.addresses.environment(),
            "STREAMAPP_PRODUCE_INTERVAL_SECONDS": "0",
            "TMPDIR": str(folder),
        }
        #: Before each turn and after the last, how long some work took.
        self.calibrations: list[float] = []

    def environment(self, name: str, *, topic: str) -> Mapping[str, str]:
        """Return the variables of a program with a consumer group and a database of its own."""
        return self._environ | {
            "STREAMAPP_APP_ID": name,
            "STREAMAPP_MONGO_DATABASE": name,
            "STREAMAPP_TOPIC": topic,
        }

    def turns(self, names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
        """Let those named take turns, so often; each round begins with another one. Yields the round's number, too."""
        for number in range(rounds):
            first = number % len(names)
            for name in (*names[first:], *names[:first]):
                report.progress(f"round {number + 1} of {rounds}: {name}")
                self.calibrations.append(noise.calibrate())
                yield number, name
        self.calibrations.append(noise.calibrate())

    def make_topic(self, name: str, *, partitions: int, **config: str) -> None:
        """Make a topic with a configuration, before somebody makes one without."""
        admin = AdminClient({"bootstrap.servers": self.backend.addresses.kafka_bootstrap_servers})
        admin.create_topics([NewTopic(name, partitions, config=config)])[name].result(20)

    def send(self, topic: str, count: int, *options: str) -> Mapping[str, Any]:
        """Let `send-sample` send events, compressed with lz4, and return what it says when they are acknowledged."""
        command, environ = [*_sender(count), *options], self._environ | {"STREAMAPP_TOPIC": topic}
        done = subprocess.run(command, env=environ, check=True, timeout=GIVE_UP_AFTER_SECONDS, stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    @contextmanager
    def sending(self, topic: str, count: int, *options: str) -> Generator[None]:
        """Let `send-sample` send while something else goes on; and wait, at last, until it is done."""
        environ = self._environ | {"STREAMAPP_TOPIC": topic}
        with self.running("send-sample", [*_sender(count), *options], environ) as sender:
            yield
            give_up_at = time.monotonic() + GIVE_UP_AFTER_SECONDS
            while not (end := sender.end()) and time.monotonic() < give_up_at:
                time.sleep(POLL_SECONDS)
            if end != "exit code 0":
                sys.exit(f"send-sample: {end or 'given up'}; the end of what it said:\n{tail(sender.log)}")

    @contextmanager
    def running(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> Generator[Server]:
        """Start a program, and end it."""
        log = self._folder / f"{name}.log"
        server = Server(name=name, command=command, log=log, answers=lambda: True, environ=environ)
        server.launch()
        try:
            yield server
        finally:
            server.stop()

    @contextmanager
    def database(self, name: str, *, drop: bool = True) -> Generator[Database[dict[str, Any]]]:
        """Open a database, and drop it once it has served."""
        with closing(MongoClient[dict[str, Any]](self.backend.addresses.mongo_uri)) as client:
            yield client[name]
            if drop:
                client.drop_database(name)


def _sender(count: int) -> Sequence[str]:
    return [sys.executable, "-m", "streamapp", "send-sample", "--count", str(count), "--seed", "1", "--json"]
