"""The environment of a run: a topic, a group and a database of its own, a load, and workers."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient

from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import BrokerUnavailable
from streamapp.kafka.admin import KafkaAdmin
from streamapp.local.backend import Backend
from streamapp.rollups.levels import LEVELS
from streamapp.settings import Settings
from tests.faults.load import Load
from tests.faults.workers import Member, Workers
from tests.support import foreign
from tests.support.backends import plain_settings
from tests.support.offsets import committed, end_offsets
from tests.support.until import until

#: Nearly as short as the settings allow.
SHORT = {"session_timeout_seconds": 6.0, "max_poll_interval_seconds": 6.0}


def environment_settings(backend: Backend, **changes: Any) -> Settings:
    """Return settings with unique names."""
    name = f"soak-{uuid.uuid4().hex[:12]}"
    addresses = backend.addresses
    values: dict[str, Any] = {
        "kafka_bootstrap_servers": addresses.kafka_bootstrap_servers,
        "schema_registry_url": addresses.schema_registry_url,
        "mongo_uri": addresses.mongo_uri,
        "mongo_database": name,
        "topic": name,
        "app_id": name,
        "produce_interval_seconds": 0,
        # independent of the clocks
        **{f"{level.collection}_retention_days": 0 for level in LEVELS},
    }
    return plain_settings(**(values | changes))


class Cancelled(Exception):  # noqa: N818 - no error
    """The run was cancelled."""


class Environment:
    """The topic, group, database, load and workers of one run; a context manager that leaves nothing on the servers.

    Args:
        backend: servers that faults may stop or change; nothing else uses them at the same time.
        folder: for the workers' logs.
        seed: of all random choices.
        rate: events per second.
        is_long: whether faults last as long as the default settings require.
    """

    def __init__(
        self, backend: Backend, folder: Path, *, seed: int, rate: int = 500, is_long: bool = False, **changes: Any
    ) -> None:
        self.backend = backend
        self.settings = environment_settings(backend, **({} if is_long else SHORT), **changes)
        self.source = random.Random(seed)
        self.is_long = is_long
        self.folder = folder
        self.workers = Workers(self.settings, folder)
        #: Offsets that Kafka deleted before they were read, from and to, by topic id and partition.
        self.cuts: dict[tuple[str, int], tuple[int, int]] = {}
        #: Whether records, and dead letters with them, may have been delivered again.
        self.is_disturbed = False
        self.called_off = threading.Event()
        self._rate, self._seed = rate, seed

    def __enter__(self) -> Self:
        foreign.make_topic(self.settings, self.settings.partitions, **TOPIC)
        self.load = Load(self.settings, self.topic_id(), rate=self._rate, seed=self._seed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.workers.kill()
        with suppress(AssertionError):
            self.load.stop()
        self._clean()

    def _clean(self) -> None:
        with suppress(Exception), MongoClient[Any](self.settings.mongo_uri.get_secret_value()) as client:
            client.drop_database(self.settings.mongo_database)
        with suppress(Exception):
            topics = [self.settings.topic, self.settings.dead_letter_topic]
            for deleted in self.admin.delete_topics(topics).values():
                deleted.result(60)

    @property
    def admin(self) -> AdminClient:
        """A connection of its own: after a broker restart, an old one does not work for some time."""
        # kept, since a pending request fails when the client is garbage collected
        self._admin = AdminClient({"bootstrap.servers": self.settings.kafka_bootstrap_servers, "log_level": 0})
        return self._admin

    def topic_id(self) -> str:
        """Return the topic id as soon as the broker knows it."""
        broker = KafkaAdmin(KafkaConnection.of(self.settings))

        def reported() -> str | None:
            with suppress(BrokerUnavailable):
                return asyncio.run(broker.topic_id_of(self.settings.topic))
            return None

        return until(reported, what="the topic's incarnation") or ""

    def begin(self, workers: int) -> None:
        """Start the workers, then the load, and wait until something is stored."""
        for _ in range(workers):
            self.workers.start()
        self.workers.wait_until_ready(within=120)
        self.load.start()
        self.wait_for(lambda: any(committed(self.settings).values()), what="the first commit")

    def seconds(self, short: float, long: float) -> float:
        """Return the duration for this form, short or long."""
        return long if self.is_long else short

    def let_time_pass(self, seconds: float) -> None:
        """Let time pass while the workers that are not targets of a fault must stay alive."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self.check()
            time.sleep(0.1)

    def check(self) -> None:
        """Fail if a worker has ended without a fault, or if the run was cancelled."""
        if self.called_off.is_set():
            raise Cancelled
        for member in self.workers.ended():
            raise AssertionError(f"a worker ended without a fault, exit code {member.process.poll()}: {member.log}")

    def wait_for(self, fact: Callable[[], Any], *, what: str, within: float = 60) -> Any:
        """Wait for a condition, also while servers are unreachable; the workers must stay alive."""

        def looked_up() -> Any:
            self.check()
            with suppress(KafkaException, TimeoutError):
                return fact()

        return until(looked_up, within=within, what=what)

    def victim(self) -> Member:
        """Return a worker that is not yet the target of a fault."""
        return self.source.choice(self.workers.untouched)

    def is_drained(self) -> bool:
        """Whether everything is committed."""
        ends = end_offsets(self.settings)
        return bool(ends) and committed(self.settings) == ends

    def wait_until_sent(self, number: int) -> None:
        """Wait until Kafka has acknowledged so many records: short faults can be over before."""
        self.wait_for(
            lambda: len(self.load.sent_log.acknowledged) >= number, what=f"{number} acknowledged records", within=120
        )

    def wait_until_caught_up(self, within: float) -> float:
        """Wait until there is no lag and all workers are ready; return the seconds."""
        began = time.monotonic()
        self.load.stop()
        self.wait_for(self.is_drained, what="zero lag", within=within)
        took = time.monotonic() - began
        self.workers.wait_until_ready(within=30)
        return took


#: Kafka keeps records of any age: only a fault decides which are deleted.
TOPIC = {"retention.ms": "-1", "message.timestamp.after.max.ms": f"{2**63 - 1}"}
