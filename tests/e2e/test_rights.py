"""Each program works with exactly the rights of docs/reference/rights.md, and says which one it lacks."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import NewTopic

from dashboard.data.connection import Connection
from dashboard.data.pipeline import MongoPipeline
from dashboard.data.reader import MongoReader
from dashboard.model.errors import RefusedError
from streamapp.connections import mongodb
from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka.consumer_group import ConsumerGroup
from streamapp.local.backend import Backend
from streamapp.local.rights import PROGRAMS, KafkaRight, Program, Resource
from streamapp.local.secure import kafka_servers
from streamapp.local.secure_kafka import acls
from streamapp.settings import Settings
from tests.e2e.test_secure import security_of, settings_of
from tests.support import forked
from tests.support.backends import running_backend
from tests.support.forked import ForkedWorker
from tests.support.until import until

NAMES = {"topic": "payments", "app_id": "payments-app", "mongo_database": "payments_db"}
PASSWORD = "of-every-user-of-this-test"
EVENTS = 60
ARGUMENTS = {
    "send-sample": ("--count", str(EVENTS), "--faults", "bad-magic=0.2", "--seed", "1"),
    "dlq show": ("--origin", f"{NAMES['topic']}-0-0"),
    "explain": (f"{NAMES['topic']}:0:0",),
    "rewind": ("--to-earliest", "--yes"),
}
WORKERS = {"worker": 0.0, "worker that sends samples": 0.2}
#: Read and Write include Describe; one right less then leaves Describe.
INCLUDES_DESCRIBE = {"READ", "WRITE"}
#: Rights without which a program says so, and does the rest.
WORKS_WITHOUT = {
    ("dlq list", "read"),
    ("schema list", "read"),
    ("doctor", KafkaRight(Resource.OFFSETS, "DESCRIBE")),
    ("rollups rebuild", KafkaRight(Resource.TOPIC, "DESCRIBE")),
    ("rollups rebuild", KafkaRight(Resource.GROUP, "DESCRIBE")),
}
#: Of the dead-letter topic. A record that is larger also compressed has a dead letter without value, for which
#: `dlq show` reads the topic.
MAX_LETTER_BYTES = 20_000
#: Rights that a program needs in other cases than the one here.
SOMETIMES = {("explain", KafkaRight(Resource.GROUP, "DESCRIBE"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A program with some rights.

    Args:
        user: its user at Kafka and MongoDB, and its group.
        program: the program.
        kafka: rights at Kafka.
        roles: roles at MongoDB.
        lacking: what it lacks; None if it has everything that it needs.
    """

    user: str
    program: Program
    kafka: Sequence[KafkaRight]
    roles: Sequence[Mapping[str, str]]
    lacking: KafkaRight | str | None = None


def role(name: str) -> Mapping[str, str]:
    """Return a role on the database."""
    return {"role": name, "db": NAMES["mongo_database"]}


def with_all_rights(program: Program) -> Case:
    """Return the program with exactly the rights that are listed; its role at MongoDB has only the listed actions."""
    user = f"of-{program.name.replace(' ', '-')}"
    return Case(user=user, program=program, kafka=program.kafka, roles=[role(user)] if program.actions else [])


def with_one_less(program: Program) -> Iterator[Case]:
    """Yield the program without one of its rights, for each of them."""
    complete = with_all_rights(program)
    # Doctor reports a user who cannot write as a fault, and that is not the fault that is looked for here.
    roles = [role("readWrite")] if program.name == "doctor" else complete.roles
    for number, right in enumerate(program.kafka):
        kept = [each for each in program.kafka if each != right]
        if right.operation in INCLUDES_DESCRIBE:
            kept.append(KafkaRight(right.resource, "DESCRIBE"))
        yield Case(user=f"{complete.user}-{number}", program=program, kafka=kept, roles=roles, lacking=right)
    if program.role is not None:
        roles = [role("read")] if program.role == "readWrite" else []
        yield Case(
            user=f"{complete.user}-mongodb", program=program, kafka=program.kafka, roles=roles, lacking=program.role
        )


COMPLETE = {program.name: with_all_rights(program) for program in PROGRAMS}
#: A worker without the rights of `worker` fails in the same way whether it sends samples or not.
LACKING = [
    case
    for program in PROGRAMS
    for case in with_one_less(program)
    if program.name != "worker that sends samples" or case.lacking == KafkaRight(Resource.TOPIC, "WRITE")
    if (program.name, case.lacking) not in SOMETIMES
]


@pytest.fixture(scope="module")
def secured() -> Generator[Backend]:
    """Return a secured backend with the topics and a user for each case."""
    with running_backend(secure=True, **NAMES) as backend:
        settings = settings_of(backend, **NAMES)
        security, servers = security_of(backend), kafka_servers(backend.ports.kafkas_tls)
        create_topics(security.kafka.admin(servers), settings)
        cases = [*COMPLETE.values(), *LACKING]
        bindings = [acl for case in cases for acl in acls(case.user, case.kafka, settings_for(backend, case))]
        security.kafka.create_users(servers, {case.user: PASSWORD for case in cases}, bindings)
        create_mongo_users(backend, cases)
        yield backend


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


def create_topics(connection: KafkaConnection, settings: Settings) -> None:
    """Create the topics, with one record that is too large for the dead-letter topic."""
    letters = NewTopic(settings.dead_letter_topic, 1, config={"max.message.bytes": str(MAX_LETTER_BYTES)})
    admin = connection.admin()
    for created in admin.create_topics([NewTopic(settings.topic, 2), letters]).values():
        created.result(60)
    producer = connection.producer({"log_level": 0}, compression="none")
    producer.produce(settings.topic, b"\x01" + random.Random(1).randbytes(2 * MAX_LETTER_BYTES), partition=0)
    assert producer.flush(20) == 0


def create_mongo_users(backend: Backend, cases: Iterable[Case]) -> None:
    """Create a role with the actions of each program, and the user of each case."""
    uri = security_of(backend).mongod.admin_uri(*backend.ports.mongods)
    with mongodb.client(uri) as client:
        resource = {"db": NAMES["mongo_database"], "collection": ""}
        database: Any = client[NAMES["mongo_database"]]
        admin: Any = client["admin"]
        for case in (case for case in COMPLETE.values() if case.program.actions):
            privileges = [{"resource": resource, "actions": list(case.program.actions)}]
            database.command("createRole", case.user, privileges=privileges, roles=[])
        for case in cases:
            admin.command("createUser", case.user, pwd=PASSWORD, roles=list(case.roles))


def settings_for(backend: Backend, case: Case) -> Settings:
    """Return settings with the user of the case, who has a consumer group of their own."""
    uri = security_of(backend).mongod.uri(*backend.ports.mongods, user=case.user, password=PASSWORD)
    return settings_of(
        backend,
        **NAMES | {"app_id": case.user},
        kafka_sasl_username=case.user,
        kafka_sasl_password=PASSWORD,
        kafka_sasl_password_file=None,
        mongo_uri=uri,
        mongo_uri_file=None,
        dashboard_mongo_uri_file=None,
        produce_interval_seconds=WORKERS.get(case.program.name, 0.0),
    )


def execute(backend: Backend, case: Case, folder: Path) -> tuple[int, str]:
    """Run the command of a case; return its exit code and what it prints."""
    name = case.program.name
    command = ["streamapp", *name.split(), *ARGUMENTS.get(name, ())]
    log = folder / f"{case.user}.log"
    return forked.run(*command, settings=settings_for(backend, case), folder=folder, log=log)


def commit(backend: Backend, user: str) -> None:
    """Let the group of a user have read the first records of each partition."""
    connection = security_of(backend).kafka.admin(kafka_servers(backend.ports.kafkas_tls))
    with ConsumerGroup(connection, user, NAMES["topic"]) as group:
        group.commit({0: EVENTS // 4, 1: EVENTS // 4})


def stored(backend: Backend) -> int:
    """Return the number of stored events."""
    with mongodb.client(security_of(backend).mongod.admin_uri(*backend.ports.mongods)) as client:
        database = client[NAMES["mongo_database"]]
        letters = sum(each["n"] for each in database["dead_letters"].find())
        return database["events"].count_documents({}) + letters


def refuses(backend: Backend, case: Case, folder: Path) -> str | None:
    """Run a program that lacks a right; return what is wrong with its message, or None."""
    if case.program.name in WORKERS:
        return "\n".join(worker_problems(backend, case, folder)) or None
    code, said = execute(backend, case, folder)
    expected_code = 0 if (case.program.name, case.lacking) in WORKS_WITHOUT else 1
    return (
        None
        if code == expected_code and is_named(case, said)
        else f"{case.user} {case.lacking}: exit code {code}: {said}"
    )


def worker_problems(backend: Backend, case: Case, folder: Path) -> Iterator[str]:
    """Run a worker that lacks a right; yield what is wrong with its page and log."""
    with ForkedWorker(settings_for(backend, case), folder) as worker:
        try:
            until(lambda: is_named(case, worker.text), within=40, what="the right in the log")
        except AssertionError as exc:
            yield f"{case.user} {case.lacking}: {exc}: {worker.page('/readyz')}\n{worker.text[-2500:]}"


def is_named(case: Case, said: str) -> bool:
    """Whether a message names the resource, the right, and the setting."""
    return all(any(word in said for word in words) for words in expected(case))


def expected(case: Case) -> Sequence[Sequence[str]]:
    """Return what a message has to contain: one of each."""
    if not isinstance(case.lacking, KafkaRight):
        return [["STREAMAPP_MONGO_URI", case.user], [str(case.lacking)]]
    resource, operation = case.lacking
    names = {
        Resource.TOPIC: [NAMES["topic"]],
        Resource.DEAD_LETTERS: [f"{NAMES['topic']}.dlq"],
        Resource.GROUP: [case.user, "STREAMAPP_APP_ID"],
        Resource.OFFSETS: ["__consumer_offsets"],
    }
    return [names[resource], [operation, operation.lower()], ["STREAMAPP_KAFKA"]]


def test_exactly_these_rights_suffice_and_a_missing_one_is_named(secured: Backend, tmp_path: Path) -> None:
    """Of each program, at Kafka and at MongoDB."""
    problems: list[str] = []

    def must_work(name: str) -> None:
        code, said = execute(secured, COMPLETE[name], tmp_path)
        # Doctor reports that its user has fewer rights at MongoDB than a worker needs.
        is_good = code == 1 and "faults: 1" in said and "mongodb.rights" in said if name == "doctor" else code == 0
        if not is_good or "Without the committed offsets" in said:
            problems.append(f"{name}: exit code {code}: {said}")

    must_work("send-sample")
    for name in WORKERS:
        with ForkedWorker(settings_for(secured, COMPLETE[name]), tmp_path) as worker:
            worker.wait_until_ready()
            until(lambda: stored(secured) > EVENTS, within=60, what="all records settled")
            if name != "worker":
                until(lambda: stored(secured) > EVENTS + 3, within=60, what="samples of the worker")
            assert worker.stop() == 0, worker.text
    for case in [*COMPLETE.values(), *LACKING]:
        if case.program.name in {"dlq replay", "rewind"}:
            commit(secured, case.user)
    dashboard_problems(secured)
    must_work("rollups check")

    with ThreadPoolExecutor(8) as threads:
        apart = {"send-sample", "rollups check", "dlq replay", "dashboard", *WORKERS}
        commands = [name for name in COMPLETE if name not in apart]
        works = [threads.submit(must_work, name) for name in commands]
        fails = [
            threads.submit(refuses, secured, case, tmp_path) for case in LACKING if case.program.name != "dashboard"
        ]
        for work in works:
            work.result()
        problems += [problem for fail in fails if (problem := fail.result())]
    must_work("dlq replay")  # last: a letter that is replayed is not replayed again
    assert not problems, "\n\n".join(problems)


def dashboard_problems(backend: Backend) -> None:
    """Read what the page shows."""
    settings = settings_for(backend, COMPLETE["dashboard"])
    connection = Connection(uri=mongodb.dashboard_uri(settings), database=settings.mongo_database)
    assert MongoReader(connection, subject=settings.subject).overview() is not None
    pipeline = MongoPipeline(connection, topic=settings.topic, subject=settings.subject)
    assert pipeline.state().dead_letters
    assert pipeline.latest()
    connection.close()
    (lacking,) = (case for case in LACKING if case.program.name == "dashboard")
    connection = Connection(uri=mongodb.dashboard_uri(settings_for(backend, lacking)), database=settings.mongo_database)
    with pytest.raises(RefusedError, match="refuses read access"):
        MongoReader(connection, subject=settings.subject).overview()
    connection.close()
