"""An outage is waited out: the worker stays, says so, and catches up by itself."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from streamapp.local.backend import Backend
from streamapp.settings import Settings
from tests.conftest import SettingsFactory
from tests.e2e.test_kill import offsets_stored, wire_events
from tests.support import foreign
from tests.support.offsets import committed, end_offsets
from tests.support.until import until
from tests.support.workers import FAUST, STREAMAPP, Worker, run


@pytest.fixture
def settings(settings_for: SettingsFactory, private_backend: Backend) -> Settings:
    """Point this test at servers that it may stop."""
    return settings_for(private_backend, produce_interval_seconds=0)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database[Any]]:
    """Return this test's database, patient enough for an outage."""
    client: MongoClient[Any] = MongoClient(settings.mongo_uri.get_secret_value(), tz_aware=True)
    with client:
        yield client[settings.mongo_database]


@pytest.fixture(autouse=True)
def _servers_are_back(private_backend: Backend) -> Iterator[None]:
    """Let one test that fails in an outage not be the end of the others."""
    yield
    for server in private_backend.servers:
        if server.pid is None:
            server.start()


def everything_is_stored(settings: Settings, database: Database[Any], count: int) -> None:
    """Wait until all is stored and committed; nothing may be twice."""
    ends = end_offsets(settings)
    until(lambda: database.events.count_documents({}) >= count, within=60, what=f"{count} documents")
    until(lambda: committed(settings) == ends, what="committed ends")
    assert [(p, o) for p in sorted(ends) for o in range(ends[p])] == offsets_stored(database)


def is_away(worker: Worker, server: str) -> bool:
    """Whether /readyz is red and says so of this server."""
    status, body = worker.page("/readyz")
    return status == 503 and ("no answer for" in body[server] or "failing for" in body[server])


def test_mongodb_away(settings: Settings, database: Database[Any], private_backend: Backend, tmp_path: Path) -> None:
    """/readyz turns red and says why, nothing is dead-lettered, all is stored when MongoDB is back."""
    foreign.make_topic(settings)
    with Worker(settings, tmp_path) as worker:
        worker.wait_until_ready()
        private_backend.mongod.stop()
        foreign.ForeignProducer(settings).send_all(wire_events(settings, 5000))
        until(lambda: is_away(worker, "mongodb"), what="a red /readyz")
        assert worker.page("/healthz")[0] == 200

        private_backend.mongod.start()
        everything_is_stored(settings, database, 5000)
        until(lambda: worker.is_ready, what="a green /readyz")
        assert worker.stop() == 0

    assert "MongoDB is unreachable; retrying until it answers" in worker.text
    assert "MongoDB works again" in worker.text
    assert "leaked" not in worker.text
    assert [] == foreign.read_all(settings, settings.dead_letter_topic, 0, within=3)


def test_mongodb_hangs(settings: Settings, database: Database[Any], private_backend: Backend, tmp_path: Path) -> None:
    """A server that holds its connections open and answers nothing is as good as gone."""
    foreign.make_topic(settings)
    with Worker(settings, tmp_path) as worker:
        worker.wait_until_ready()
        private_backend.mongod.pause()
        foreign.ForeignProducer(settings).send_all(wire_events(settings, 500))
        until(lambda: worker.page("/readyz")[0] == 503, what="a red /readyz")
        private_backend.mongod.resume()
        everything_is_stored(settings, database, 500)


def test_kafka_away(settings: Settings, database: Database[Any], private_backend: Backend, tmp_path: Path) -> None:
    """Before the start it is waited for; in mid-run the worker stays, and goes on when it is back."""
    private_backend.kafka.stop()
    with Worker(settings, tmp_path) as worker:
        until(lambda: "Kafka is unreachable; retrying until it answers" in worker.text, what="a line about Kafka")
        assert settings.kafka_bootstrap_servers in worker.text
        assert worker.page("/healthz")[0] == 200
        assert worker.page("/readyz")[0] == 503
        private_backend.kafka.start()
        worker.wait_until_ready()
        producer = foreign.ForeignProducer(settings)
        producer.send_all(wire_events(settings, 300))
        everything_is_stored(settings, database, 300)

        private_backend.kafka.kill()
        until(lambda: is_away(worker, "kafka"), within=15, what="a red /readyz")
        private_backend.kafka.start()
        producer.send_all(wire_events(settings, 300))
        everything_is_stored(settings, database, 600)
        until(lambda: worker.is_ready, what="a green /readyz")
        assert worker.stop() == 0, worker.text


def test_topics_that_kafka_will_never_make_end_the_worker(
    settings_for: SettingsFactory, unique_name: str, private_backend: Backend, tmp_path: Path
) -> None:
    """In words, with exit code 1: waiting would not mend it."""
    # To Kafka's metrics a dot and an underscore are the same.
    foreign.make_topic(settings_for(private_backend, topic=f"{unique_name}_x"))
    settings = settings_for(private_backend, topic=f"{unique_name}.x")
    with Worker(settings, tmp_path) as worker:
        assert worker.process.wait(120) == 1
    assert "refuses to create the topic" in worker.text
    assert settings.topic in worker.text
    assert "Kafka is unreachable" not in worker.text


def test_registry_away(settings: Settings, database: Database[Any], private_backend: Backend, tmp_path: Path) -> None:
    """At the start and later: records of a schema not yet seen wait, and are no dead letters."""
    foreign.make_topic(settings)
    values = list(wire_events(settings, 200))
    private_backend.registry.stop()
    with Worker(settings, tmp_path) as worker:
        foreign.ForeignProducer(settings).send_all(values)
        until(lambda: "the schema registry is unreachable" in worker.text, what="a line about the registry")
        assert worker.page("/readyz")[0] == 503
        assert database.events.count_documents({}) == 0

        private_backend.registry.start()
        everything_is_stored(settings, database, 200)
        worker.wait_until_ready()
    assert [] == foreign.read_all(settings, settings.dead_letter_topic, 0, within=3)


@pytest.mark.parametrize("server", ["kafka", "registry", "mongod"])
def test_sigterm_in_an_outage_ends_within_the_deadline(
    settings: Settings, private_backend: Backend, tmp_path: Path, server: str
) -> None:
    """Whichever server it waits for, with work in hand."""
    foreign.make_topic(settings)
    values = list(wire_events(settings, 2000))
    away = getattr(private_backend, server)
    try:
        with Worker(settings, tmp_path) as worker:
            worker.wait_until_ready()
            producer = foreign.ForeignProducer(settings)
            if server == "kafka":
                producer.send_all(values)
            away.stop()
            if server != "kafka":
                producer.send_all(values)
            until(lambda: server == "kafka" or worker.page("/readyz")[0] == 503, what="a red /readyz")
            began = time.monotonic()
            worker.stop()
            assert time.monotonic() - began < settings.shutdown_deadline_seconds + 2
    finally:
        away.start()
    assert sum(max(offset, 0) for offset in committed(settings).values()) <= len(values)


def test_a_dead_letter_topic_that_is_too_small_does_not_stop_the_worker(
    settings: Settings, database: Database[Any], tmp_path: Path
) -> None:
    """The dead letter is written without its value; the log names topic, limit and remedy."""
    foreign.make_topic(settings)
    foreign.make_topic(
        settings.model_copy(update={"topic": settings.dead_letter_topic}), 1, **{"max.message.bytes": "3000"}
    )
    producer = foreign.ForeignProducer(settings)
    producer.send_all([os.urandom(8_000), *wire_events(settings, 50)])
    with Worker(settings, tmp_path) as worker:
        until(lambda: database.events.count_documents({}) == 50, what="50 documents")
        (letter,) = foreign.read_all(settings, settings.dead_letter_topic, 1)
    assert (None, b"8000") == (letter.value(), dict(letter.headers())["streamapp.value_size"])
    for words in (settings.dead_letter_topic, "max.message.bytes", "kafka-configs"):
        assert words in worker.text


def test_sample_schemas_that_may_not_be_registered_do_not_end_the_worker(settings: Settings, tmp_path: Path) -> None:
    """It does not produce; the log names subject and setting, without a traceback."""
    with Worker(
        settings.model_copy(update={"register_schemas": False, "produce_interval_seconds": 1.0}), tmp_path
    ) as worker:
        worker.wait_until_ready()
        until(lambda: "STREAMAPP_REGISTER_SCHEMAS" in worker.text, what="the setting in the log")
        assert worker.stop() == 0, worker.text
    assert settings.subject in worker.text
    assert "Traceback" not in worker.text


def test_a_second_signal_ends_at_once(settings: Settings, private_backend: Backend, tmp_path: Path) -> None:
    """For those who cannot wait."""
    patient = settings.model_copy(update={"shutdown_deadline_seconds": 60.0})
    foreign.make_topic(settings)
    with Worker(patient, tmp_path) as worker:
        worker.wait_until_ready()
        private_backend.mongod.pause()
        try:
            foreign.ForeignProducer(settings).send_all(wire_events(settings, 100))
            until(lambda: worker.page("/readyz")[0] == 503, what="a red /readyz")
            os.kill(worker.process.pid, signal.SIGINT)
            until(lambda: "INT" in worker.text, what="the first signal")
            os.kill(worker.process.pid, signal.SIGINT)
            assert worker.process.wait(120) == 1
        finally:
            private_backend.mongod.resume()
    assert "second signal" in worker.text


def test_a_taken_port_is_wrong_usage(settings: Settings) -> None:
    """The flag is named, and what the port is for."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run(FAUST, "-A", "streamapp", "worker", "--web-port", port, settings=settings)

    assert done.returncode == 2
    for words in ("--web-port", port, "/healthz", "/readyz", "/metrics"):
        assert words in done.stderr


@pytest.mark.parametrize(
    "command", [(STREAMAPP, "worker"), (FAUST, "-A", "streamapp", "worker"), (STREAMAPP, "send-sample")]
)
def test_a_wrong_setting_is_wrong_usage(settings: Settings, command: tuple[str, ...]) -> None:
    """The variable is named, without a traceback."""
    wrong = settings.model_copy(update={"v2_ratio": 7})

    done = run(*command, settings=wrong)

    assert done.returncode == 2
    assert "STREAMAPP_V2_RATIO" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "address"),
    [("kafka_bootstrap_servers", "127.0.0.1:1"), ("schema_registry_url", "http://127.0.0.1:1")],
)
def test_send_sample_without_a_server_names_address_setting_and_remedy(
    settings: Settings, name: str, address: str
) -> None:
    """Exit code 1."""
    done = run(STREAMAPP, "send-sample", settings=settings.model_copy(update={name: address}))

    assert done.returncode == 1
    for word in (address, f"STREAMAPP_{name.upper()}", "streamapp up"):
        assert word in done.stderr
    assert "Traceback" not in done.stderr
