"""`streamapp doctor` with real servers: it finds each injected fault, and none in a healthy stack."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic import SecretStr
from pymongo import MongoClient
from pymongo.database import Database

from streamapp import net
from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.registry import RegistryConnection
from streamapp.doctor import runner
from streamapp.doctor.checks.finding import Finding, Verdict
from streamapp.kafka.admin import KafkaAdmin
from streamapp.local import artifacts, kafka, mongod, ports, programs
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_store import EventStore
from streamapp.registry.client import RegistryClient
from streamapp.registry.registration import SchemaRegistration
from streamapp.settings import Settings
from tests.conftest import SettingsFactory
from tests.support import factories, foreign
from tests.support.backends import standalone_mongod
from tests.support.until import until

SECRET = "hunter2/@:"
QUOTED = "hunter2%2F%40%3A"
BROKEN = {"type": "record", "name": "Other", "fields": [{"name": "n", "type": "int"}]}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SERVER_CHECKS_SECONDS", 90.0)
    monkeypatch.setattr(runner, "RECORD_CHECKS_SECONDS", 60.0)


def findings_of(settings: Settings, folder: Path, environ: Mapping[str, str] | None = None) -> dict[str, Finding]:
    """Run all checks on free ports; return the findings by check."""
    free = settings.model_copy(update={"web_port": net.choose_port(), "dashboard_port": net.choose_port()})
    found = runner.run_checks(free, environ or {}, folder)
    text = "\n".join(f"{finding.seen} {finding.fix}" for finding in found)
    assert SECRET not in text
    assert QUOTED not in text
    assert not [finding for finding in found if finding.check.endswith((".check", ".time"))]
    return {finding.check: finding for finding in found}


def checks_with(found: Mapping[str, Finding], *verdicts: Verdict) -> set[str]:
    """Return the checks with one of these verdicts."""
    return {check for check, finding in found.items() if finding.verdict in verdicts}


def wrong(found: Mapping[str, Finding]) -> dict[str, str]:
    """Return faults and warnings by check; each must have a remedy."""
    assert all(finding.fix for finding in found.values() if finding.verdict in {Verdict.FAULT, Verdict.WARNING})
    return {check: str(found[check].verdict) for check in checks_with(found, Verdict.FAULT, Verdict.WARNING)}


def admin_of(settings: Settings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})


def commit(settings: Settings, offsets: Mapping[int, int]) -> None:
    """Commit offsets for the group of the worker."""
    group = {"group.id": settings.app_id, "bootstrap.servers": settings.kafka_bootstrap_servers}
    consumer = Consumer(group)
    wanted = [TopicPartition(settings.topic, partition, offset) for partition, offset in offsets.items()]
    consumer.commit(offsets=wanted, asynchronous=False)
    consumer.close()


def make_letters(settings: Settings, **config: str) -> None:
    topic, admin = settings.dead_letter_topic, admin_of(settings)
    admin.create_topics([NewTopic(topic, 1, config=config)])[topic].result(60)


def server_state(settings: Settings, database: Database[Any]) -> tuple[Any, ...]:
    """Return topics, subjects, groups and collections, which a write would change."""
    admin = admin_of(settings)
    topics = [name for name in admin.list_topics(timeout=60).topics if settings.topic in name]
    subjects = [s for s in httpx.get(f"{settings.schema_registry_url}/subjects").json() if settings.topic in s]
    groups = [group.group_id for group in admin.list_consumer_groups().result(60).valid]
    here = [group for group in groups if group in {settings.app_id, "streamapp.reader"}]
    return topics, subjects, here, database.list_collection_names()


async def prepared(settings: Settings) -> int:
    """Prepare MongoDB and the registry as a worker does; return the schema id of V1."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    await EventStore(mongo).prepare()
    mongo.close()
    registry = RegistryClient(RegistryConnection.of(settings), settings.subject)
    registered = await SchemaRegistration(registry).prepare(register=True, compatibility="backward")
    registry.close()
    return registered[1].schema_id


def test_empty_servers_have_no_problem(settings: Settings, database: Database[Any], tmp_path: Path) -> None:
    """The worker creates what is missing."""
    found = findings_of(settings, tmp_path)

    assert {} == wrong(found)
    assert ([], [], [], []) == server_state(settings, database)


def test_healthy_stack_has_no_problem(settings: Settings, database: Database[Any], tmp_path: Path) -> None:
    """Committed and waiting events are normal; doctor writes nothing."""
    foreign.make_topic(settings)
    schema_id = asyncio.run(prepared(settings))
    send(settings, [factories.wire(factories.an_event(), schema_id=schema_id)] * 8)
    commit(settings, {0: 0})
    before = server_state(settings, database)

    found = findings_of(settings, tmp_path)

    assert {} == wrong(found)
    assert "of 1 partitions" in found["records.newest"].seen
    assert "8 records wait" in found["group.lag"].seen
    assert before == server_state(settings, database)


def send(settings: Settings, values: list[bytes]) -> None:
    producer = foreign.ForeignProducer(settings)
    for value in values:
        producer.send(value, partition=0, timestamp=factories.NOW)
    producer.flush()


def test_faults_of_topics_are_found(settings: Settings, tmp_path: Path) -> None:
    """Eight faults of topic configurations and committed offsets are found at once."""
    config = {"cleanup.policy": "compact,delete", "retention.ms": "60000", "min.insync.replicas": "2"}
    foreign.make_topic(settings, 2, **config)
    make_letters(settings, **{"max.message.bytes": "2000", "min.insync.replicas": "3"})
    commit(settings, {0: 5})

    expected = {
        "kafka.partitions": "warning",
        "kafka.replicas": "fault",
        "kafka.cleanup": "warning",
        "kafka.retention": "warning",
        "dlq.replicas": "fault",
        "dlq.kept": "warning",
        "dlq.size": "warning",
        "group.offsets": "fault",
    }
    assert expected == wrong(findings_of(settings, tmp_path))


def test_lost_and_bad_records_are_found(settings: Settings, tmp_path: Path) -> None:
    """Records were deleted unread, the newest record is not an event, and the dead-letter topic is compacted."""
    foreign.make_topic(settings)
    make_letters(settings, **{"cleanup.policy": "compact", "max.message.bytes": "2000000"})
    send(settings, [b"junk"] * 10)
    commit(settings, {0: 2})
    admin, until_6 = admin_of(settings), TopicPartition(settings.topic, 0, 6)
    admin.delete_records([until_6])[until_6].result(60)

    found = findings_of(settings, tmp_path)

    assert {"group.deleted": "fault", "records.newest": "warning", "dlq.kept": "fault"} == wrong(found)
    assert "deleted 4 offsets" in found["group.deleted"].seen
    assert "bad-magic-byte" in found["records.newest"].seen


def test_a_stored_record_whose_schema_is_lost_is_no_problem(
    settings: Settings, database: Database[Any], tmp_path: Path
) -> None:
    """The registry has had the schema of the newest record, which is stored, and has it no longer."""
    foreign.make_topic(settings, partitions=1)
    send(settings, [b"\0\x7f\0\0\1lost"])

    assert "unknown-schema-id" in findings_of(settings, tmp_path)["records.newest"].seen

    topic_id = asyncio.run(KafkaAdmin(KafkaConnection.of(settings)).topic_id_of(settings.topic))
    database.events.insert_one({"_id": f"{topic_id}-0-0"})
    assert "ok" == findings_of(settings, tmp_path)["records.newest"].verdict


def test_registry_at_the_wrong_path_is_found(settings_for: SettingsFactory, settings: Settings, tmp_path: Path) -> None:
    """The remedy has the correct URL."""
    root = settings.schema_registry_url.removesuffix("/apis/ccompat/v7")

    found = findings_of(settings_for(schema_registry_url=root), tmp_path)

    assert {"registry.address": "fault"} == wrong(found)
    assert f"STREAMAPP_SCHEMA_REGISTRY_URL={settings.schema_registry_url}" == found["registry.address"].fix


def test_incompatible_subject_is_found(settings: Settings, tmp_path: Path) -> None:
    """The registry answers a compatibility request, which writes nothing."""
    foreign.register(settings, BROKEN)
    httpx.put(f"{settings.schema_registry_url}/config/{settings.subject}", json={"compatibility": "FULL"})

    assert {"registry.v1": "warning", "registry.v2": "warning"} == wrong(findings_of(settings, tmp_path))


def test_subject_without_a_level_is_found(settings_for: SettingsFactory, tmp_path: Path) -> None:
    """The settings forbid the worker to set a level and to register schemas."""
    settings = settings_for(compatibility="keep", register_schemas=False)
    foreign.register(settings, BROKEN)

    expected = {"registry.v1": "warning", "registry.v2": "warning", "registry.level": "warning"}
    assert expected == wrong(findings_of(settings, tmp_path))


def test_faults_of_the_collection_are_found(settings: Settings, database: Database[Any], tmp_path: Path) -> None:
    """It is capped, its validator refuses the documents, and it has a unique index."""
    database.create_collection("events", validator={"$jsonSchema": {"required": ["tenant"]}}, capped=True, size=10_000)
    database["events"].create_index("user_id", unique=True)

    found = findings_of(settings, tmp_path)

    assert {"mongodb.kept": "fault", "mongodb.validator": "fault", "mongodb.indexes": "fault"} == wrong(found)
    assert "V1, V2" in found["mongodb.validator"].seen


def test_ttl_and_conflicting_indexes_are_found(
    settings_for: SettingsFactory, database: Database[Any], tmp_path: Path
) -> None:
    """The write concern w=0 is found too; a validator that accepts the documents is ok."""
    database.create_collection("events", validator={"user_id": {"$type": "string"}})
    database["events"].create_index("event_timestamp", expireAfterSeconds=600)
    uri = f"{settings_for().mongo_uri.get_secret_value()}&w=0"

    found = findings_of(settings_for(mongo_uri=SecretStr(uri)), tmp_path)

    expected = {"mongodb.kept": "warning", "mongodb.indexes": "warning", "mongodb.write_concern": "fault"}
    assert expected == wrong(found)
    assert "accepts the documents of the worker" in found["mongodb.validator"].seen


def test_misspelt_settings_and_a_used_port_are_found(settings: Settings, tmp_path: Path) -> None:
    """The remedy has the correct name; `.env` and the environment are checked."""
    (tmp_path / ".env").write_text("STREAMAPP_TOPPIC=x\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = settings.model_copy(update={"web_port": other.getsockname()[1], "dashboard_port": net.choose_port()})
        listed = runner.run_checks(taken, {"STREAMAPP_KAFKA_BOOTSTRAP_SERVER": "a:1"}, tmp_path)
    found = {finding.check: finding for finding in listed}

    assert {"settings.names": "warning", "ports.worker": "fault"} == wrong(found)
    expected = (
        "rename STREAMAPP_KAFKA_BOOTSTRAP_SERVER to STREAMAPP_KAFKA_BOOTSTRAP_SERVERS;"
        " rename STREAMAPP_TOPPIC to STREAMAPP_TOPIC"
    )
    assert expected == found["settings.names"].fix


def test_unreachable_advertised_broker_is_found(
    settings_for: SettingsFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The bootstrap server answers, but advertises a port without a listener."""
    nowhere = f"127.0.0.1:{net.choose_port()}"
    monkeypatch.setattr(kafka, "PROPERTIES", f"{kafka.PROPERTIES}advertised.listeners=PLAINTEXT://{nowhere}\n")
    chosen = ports.Ports.choose(usual=False)
    jars = artifacts.kafka_jars(settings_for().local_kafka_version, artifacts.cache_folder(None))
    (server,) = kafka.servers(java=programs.java(None), jars=jars, data_dir=tmp_path, ports=chosen)
    server.start()
    try:
        settings = settings_for(kafka_bootstrap_servers=f"127.0.0.1:{chosen.kafkas[0]}")
        # On a busy machine Kafka may need more time than one run of doctor allows.
        found = until(
            lambda: found if (found := findings_of(settings, tmp_path)).keys() >= {"kafka.advertised"} else None,
            within=120,
            what="an answer of Kafka",
        )
    finally:
        server.stop()

    assert {"kafka.advertised": "fault"} == wrong(found)
    assert nowhere in found["kafka.advertised"].seen


@pytest.fixture(scope="module")
def locked_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a standalone MongoDB with authentication, a reading user and a writing user."""
    with standalone_mongod(tmp_path_factory.mktemp("mongod"), "--auth") as port:
        with MongoClient[dict[str, Any]](mongod.uri(port)) as client:
            client.admin.command("createUser", "root", pwd="root", roles=["root"])
        with root_of(port) as client:
            for user, role in (("weak", "read"), ("strong", "readWrite")):
                client.admin.command("createUser", user, pwd=SECRET, roles=[{"role": role, "db": "streaming_db"}])
        yield port


def root_of(port: int) -> MongoClient[dict[str, Any]]:
    return MongoClient(mongod.uri(port), username="root", password="root")


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (f"weak:{QUOTED}@", {"mongodb.replica_set": "warning", "mongodb.rights": "fault"}),
        (f"strong:{QUOTED}@", {"mongodb.replica_set": "warning"}),
        (f"strong:x{QUOTED}@", {"mongodb.login": "fault"}),
        ("", {"mongodb.replica_set": "warning", "mongodb.login": "fault"}),
    ],
    ids=["weak", "strong", "wrong password", "no password"],
)
def test_faults_of_the_user_are_found(
    user: str, expected: dict[str, str], locked_port: int, settings_for: SettingsFactory, tmp_path: Path
) -> None:
    """No finding has a password; the missing replica set is a warning."""
    uri = f"mongodb://{user}127.0.0.1:{locked_port}/?authSource=admin"

    found = findings_of(settings_for(mongo_uri=SecretStr(uri), mongo_database="streaming_db"), tmp_path)

    assert expected == wrong(found)


def test_a_password_that_is_an_ordinary_word_is_not_redacted_in_commands(
    settings_for: SettingsFactory, unique_name: str, tmp_path: Path
) -> None:
    """The password is also the name of topic, group and database, as in `streamapp:streamapp@`."""
    uri = settings_for().mongo_uri.get_secret_value().replace("//", f"//streamapp:{unique_name}@")
    settings = settings_for(mongo_uri=SecretStr(uri))
    foreign.make_topic(settings)
    commit(settings, {0: 5})

    found = findings_of(settings, tmp_path)

    assert {"group.offsets": "fault", "mongodb.login": "fault"} == wrong(found)
    assert f"--group {unique_name} --topic {unique_name} --reset-offsets" in found["group.offsets"].fix
    assert unique_name not in found["mongodb.login"].seen + found["mongodb.login"].fix
    assert not [finding for finding in found.values() if f":{unique_name}@" in finding.seen + finding.fix]


def test_locked_mongodb_is_found(locked_port: int, settings_for: SettingsFactory, tmp_path: Path) -> None:
    """A backup may have failed to unlock it."""
    uri = f"mongodb://root:root@127.0.0.1:{locked_port}/?authSource=admin"
    with root_of(locked_port) as client:
        client.admin.command("fsync", lock=True)
        try:
            found = findings_of(settings_for(mongo_uri=SecretStr(uri)), tmp_path)
        finally:
            until(lambda: client.admin.command("fsyncUnlock")["lockCount"] == 0)

    assert "fault" == wrong(found)["mongodb.writable"]
