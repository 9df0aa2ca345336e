"""Faults of access are named as what they are: by the worker, which waits, by the doctor and by the commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dashboard.data.connection import Connection
from dashboard.data.reader import MongoReader
from dashboard.model.errors import RefusedError
from streamapp.connections import mongodb
from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka.topic_reader import TopicReader
from streamapp.local.backend import Backend
from streamapp.local.process import Server
from streamapp.local.secure import USER, kafka_servers
from streamapp.settings import Settings
from tests.e2e.test_secure import (
    NAMES,
    arguments_of_all_processes,
    secrets_of,
    security_of,
    send,
    settings_of,
    with_certificate,
)
from tests.support import forked
from tests.support.backends import running_backend
from tests.support.certificates import Authority
from tests.support.forked import ForkedWorker
from tests.support.until import until
from tests.support.workers import STREAMAPP, Worker, run

WRONG = "a-wrong-password"
#: Then worker and commands are started as users start them, and their arguments are searched for secrets.
IS_LONG = bool(os.environ.get("STREAMAPP_TEST_LONG"))
HOST = "127.0.0.1"


class Fault(NamedTuple):
    """A fault: what is set, and what each program says."""

    #: The server, as /readyz names it.
    server: str
    changes: Mapping[str, Any]
    #: The cause, and a part of the remedy.
    words: tuple[str, ...]
    #: A command that meets it.
    command: tuple[str, ...] = ("dlq", "list")
    #: What the doctor says, if it has words of its own.
    doctor: tuple[str, ...] | None = None

    def words_of(self, program: str) -> tuple[str, ...]:
        """What a program must say."""
        return () if program == "metrics" else self.doctor if program == "doctor" and self.doctor else self.words


@pytest.fixture(scope="module")
def secured() -> Generator[Backend]:
    """Return a secured backend."""
    with running_backend(secure=True, **NAMES) as backend:
        yield backend


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


def faults(backend: Backend, folder: Path) -> Iterator[tuple[str, Fault]]:
    """Yield each fault with its name."""
    unknown, ports = Authority(folder, "unknown").file, backend.ports
    login = ("the user or the password is wrong", "STREAMAPP_KAFKA_SASL_PASSWORD")
    wrong = {"kafka_sasl_password_file": None, "kafka_sasl_password": WRONG}
    yield "kafka: wrong password", Fault("kafka", wrong, login)
    yield "kafka: unknown user", Fault("kafka", {"kafka_sasl_username": "nobody"}, login)
    offered = ("does not offer the mechanism (it offers SCRAM-SHA-512)", "STREAMAPP_KAFKA_SASL_MECHANISM")
    yield "kafka: mechanism", Fault("kafka", {"kafka_sasl_mechanism": "PLAIN"}, offered)
    words = ("an unknown certificate authority", "STREAMAPP_KAFKA_SSL_CA_FILE")
    yield "kafka: unknown authority", Fault("kafka", {"kafka_ssl_ca_file": unknown}, words)
    words = ("speaks TLS on this port", "STREAMAPP_KAFKA_SECURITY_PROTOCOL=ssl")
    without = {"kafka_security_protocol": "sasl_plaintext", "kafka_ssl_ca_file": None}
    yield "kafka: without TLS", Fault("kafka", without, words)
    words = ("does not speak TLS on this port", "STREAMAPP_KAFKA_SECURITY_PROTOCOL=plaintext")
    plain = {"kafka_bootstrap_servers": f"{HOST}:{ports.registry_behind}"}
    yield "kafka: port without TLS", Fault("kafka", plain, words)
    words = ("requires a login on this port", "STREAMAPP_KAFKA_SASL_*")
    no_login = {"kafka_security_protocol": "ssl", **dict.fromkeys(LOGIN)}
    yield "kafka: no login", Fault("kafka", no_login, words)
    words = ("the topic secrets does not exist, or the user has no right to it", "DESCRIBE")
    yield "kafka: hidden topic", Fault("kafka", {"topic": "secrets"}, words, ("verify",))
    words = ("to the consumer group", "(STREAMAPP_APP_ID)", "the right ")
    # To ask for the offsets of a group creates a topic in Kafka, and that is not for the doctor to do.
    yield "kafka: group", Fault("kafka", {"app_id": "others"}, words, doctor=("group.offsets",))
    words = ("answers 401", "STREAMAPP_SCHEMA_REGISTRY_PASSWORD")
    wrong = {"schema_registry_password_file": None, "schema_registry_password": WRONG}
    doctor = ("answers with status 401", words[1])
    yield "registry: wrong password", Fault("schema_registry", wrong, words, SEND, doctor)
    words = ("an unknown certificate authority", "STREAMAPP_SCHEMA_REGISTRY_SSL_CA_FILE")
    yield "registry: unknown authority", Fault("schema_registry", {"schema_registry_ssl_ca_file": unknown}, words, SEND)
    security = security_of(backend)
    uri = security.mongod.uri(*ports.mongods, user="streamapp", password=WRONG)
    words = ("the user or the password is wrong", "STREAMAPP_MONGO_URI")
    wrong = {"mongo_uri_file": None, "mongo_uri": uri}
    yield "mongodb: wrong password", Fault("mongodb", wrong, words, ("verify",), ("refuses the login", words[1]))
    words = ("the user lacks a right", "readWrite")
    of_others = {"mongo_database": "of_others"}
    yield "mongodb: role", Fault("mongodb", of_others, words, ("rollups", "check"), ("mongodb.rights", words[1]))


LOGIN = ("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password_file")
SEND = ("send-sample", "--count", "1")


def test_each_fault_is_named_and_no_secret_is_printed(secured: Backend, tmp_path: Path) -> None:
    """The worker waits, is red and says it once; doctor and commands name the setting, the cause and the remedy."""
    settings = settings_of(secured)
    send(settings, 1)
    with TopicReader(KafkaConnection.of(settings), settings.topic, group=settings.app_id) as reader:
        # Kafka creates its topic of offsets for the first group; without it, the doctor asks nothing of a group.
        reader.committed(settings.app_id)
    found = dict(faults(secured, tmp_path))
    with ThreadPoolExecutor(4 if IS_LONG else len(found)) as threads:
        printed = threads.map(lambda fault: outputs_of(secured, fault, tmp_path), found.values())
        outputs = dict(zip(found, printed, strict=True))

    problems = [
        f"{name}: {program} lacks {words!r}: {text[-600:]}"
        for name, printed in outputs.items()
        for program, text in printed.items()
        for words in found[name].words_of(program)
        if words not in text or program == "failed"
    ]
    assert [] == problems
    everything = "".join(text for printed in outputs.values() for text in printed.values())
    assert "Traceback" not in everything
    for secret in [*secrets_of(secured), WRONG]:
        assert secret not in everything


def outputs_of(backend: Backend, fault: Fault, folder: Path) -> dict[str, str]:
    """Return what the worker, doctor and a command print, and the worker's pages."""
    try:
        return _outputs_of(backend, fault, folder)
    except AssertionError as exc:
        return {"failed": f"no output, because {exc}"}


def _outputs_of(backend: Backend, fault: Fault, folder: Path) -> dict[str, str]:
    settings = settings_of(backend, **fault.changes)
    printed: dict[str, str] = {}
    with (Worker if IS_LONG else ForkedWorker)(settings, folder) as worker:
        until(lambda: fault.words[0] in reason(worker, fault.server), within=60, what=f"the reason: {fault.words[0]}")
        until(lambda: "refuses access" in worker.text, within=60, what=f"a line in the log: {fault.words[0]}")
        printed["/readyz"] = reason(worker, fault.server)
        printed["metrics"] = worker.metrics + arguments_of_all_processes()
        assert worker.page("/readyz")[0] == 503
        assert worker.stop() == 0
        printed["log"] = worker.text
    assert printed["log"].count("refuses access") == 1, printed["log"]
    for command in (("doctor",), fault.command):
        log = folder / f"{worker.port}-{command[0]}.log"
        code, said = executed(*command, settings=settings, folder=folder, log=log)
        assert code == 1, (fault.words, said)
        printed[" ".join(command)] = said
    if fault.server == "mongodb":
        printed["page"] = page(settings.model_copy(update={"dashboard_mongo_uri": None}))
    return printed


def page(settings: Settings) -> str:
    """Return what the dashboard shows in place of data."""
    connection = Connection(uri=mongodb.dashboard_uri(settings), database=settings.mongo_database)
    with pytest.raises(RefusedError) as refused:
        MongoReader(connection, subject=settings.subject).overview()
    connection.close()
    return str(refused.value)


def executed(*command: str, settings: Settings, folder: Path, log: Path) -> tuple[int, str]:
    """Run a command; return its exit code and what it printed."""
    if not IS_LONG:
        return forked.run("streamapp", *command, settings=settings, folder=folder, log=log)
    done = run(STREAMAPP, *command, settings=settings)
    return done.returncode, done.stdout + done.stderr


def reason(worker: Worker, server: str) -> str:
    """Why the worker is not ready."""
    return str(worker.page("/readyz")[1].get(server))


def test_the_worker_continues_once_the_user_exists(secured: Backend, tmp_path: Path) -> None:
    """An operator creates the user and gives the rights; nobody restarts the worker."""
    late = {"kafka_sasl_username": "late", "kafka_sasl_password_file": None, "kafka_sasl_password": WRONG}
    settings = settings_of(secured, **late)
    with Worker(settings, tmp_path) as worker:
        until(lambda: "refuses access" in worker.text, within=60, what="a line in the log")
        cause = "the user or the password is wrong"
        # The log has it from the first client that is refused, /readyz from its own check.
        until(lambda: cause in reason(worker, "kafka"), within=60, what=f"the reason: {cause}")
        security, servers = security_of(secured), kafka_servers(secured.ports.kafkas_tls)
        security.kafka.provision(servers, passwords={"late": WRONG}, user="late", settings=settings)
        until(lambda: worker.is_ready, within=60, what="a ready worker")
        assert worker.stop() == 0
        assert worker.text.count("refuses access") == 1
        assert WRONG not in worker.text


def break_kafka(backend: Backend) -> Callable[[], None]:
    """Change the password of the user in Kafka and restart the broker; return what changes it back."""
    security, servers = security_of(backend), kafka_servers(backend.ports.kafkas_tls)
    right = (security.folder / "kafka-password").read_text().strip()
    security.kafka.create_users(servers, {USER: WRONG}, [])
    restart(backend.kafka)
    return lambda: security.kafka.create_users(servers, {USER: right}, [])


def break_mongodb(backend: Backend) -> Callable[[], None]:
    """Change the password of the user in MongoDB and restart it; return what changes it back."""
    security = security_of(backend)
    right = (security.folder / "mongo-password").read_text().strip()

    def change(password: str) -> None:
        with mongodb.client(security.mongod.admin_uri(*backend.ports.mongods)) as client:
            client["admin"].command("updateUser", USER, pwd=password)

    change(WRONG)
    restart(backend.mongod)
    return lambda: change(right)


def break_registry(backend: Backend) -> Callable[[], None]:
    """Let the registry require another password; return what changes it back."""
    file, proxy = security_of(backend).folder / "registry-password", backend.registry_proxy
    right = file.read_text()

    def change(password: str) -> None:
        file.write_text(password)
        assert proxy is not None
        restart(proxy)

    change(WRONG)
    return lambda: change(right)


def restart(server: Server) -> None:
    """End all connections."""
    server.stop()
    server.start()


@pytest.mark.skipif(not IS_LONG, reason="takes a minute: set STREAMAPP_TEST_LONG=1")
@pytest.mark.parametrize(
    ("server", "lose_access", "cause"),
    [
        ("kafka", break_kafka, "the user or the password is wrong"),
        ("mongodb", break_mongodb, "the user or the password is wrong"),
        ("schema_registry", break_registry, "the user, the password or the token is wrong"),
    ],
)
def test_a_password_that_becomes_wrong_while_the_worker_runs(
    secured: Backend, tmp_path: Path, server: str, lose_access: Callable[[Backend], Callable[[], None]], cause: str
) -> None:
    """It is named, red and said once; the worker continues once it is right again, and no event is lost."""
    settings = settings_of(secured)
    by_certificate = settings_of(secured, **with_certificate(secured))
    with Worker(settings, tmp_path) as worker:
        worker.wait_until_ready()
        send(by_certificate, 50)
        until(lambda: is_verified(by_certificate), within=60, what="all records settled")
        give_back = lose_access(secured)
        until(lambda: cause in reason(worker, server), within=60, what=f"the reason: {cause}")
        until(lambda: "refuses access" in worker.text, within=60, what="a line in the log")
        assert worker.page("/readyz")[0] == 503
        send(by_certificate, 50)
        give_back()
        until(lambda: worker.is_ready, within=60, what="a ready worker")
        until(lambda: is_verified(by_certificate), within=60, what="all records settled")
        assert worker.stop() == 0
        log = worker.text
    assert log.count("refuses access") == 1, log
    assert "Traceback" not in log, log
    for secret in [*secrets_of(secured), WRONG]:
        assert secret not in log


def is_verified(settings: Settings) -> bool:
    """Whether all records are settled, and none is missing."""
    done = run(STREAMAPP, "verify", settings=settings)
    return done.returncode == 0 and re.search(r"all +\d+ .* 0$", done.stdout, re.MULTILINE) is not None
