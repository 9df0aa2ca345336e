"""The local backend: three real servers are used, killed, stopped and started again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from pymongo import MongoClient

from streamapp.errors import BackendError
from streamapp.local import artifacts, kafka, programs
from streamapp.local.backend import Addresses, Backend
from streamapp.local.ports import Ports
from streamapp.net import HOST
from tests.support.backends import plain_settings, running_backend
from tests.support.until import until

LONG = pytest.mark.skipif("STREAMAPP_TEST_LONG" not in os.environ, reason="STREAMAPP_TEST_LONG=1 runs it")


def produce(servers: str, topic: str, value: bytes) -> None:
    """Write one record, and wait until it is acknowledged."""
    producer = Producer({"bootstrap.servers": servers})
    producer.produce(topic, value)
    assert producer.flush(20) == 0


def consume(servers: str, topic: str) -> bytes | None:
    """Read the topic's first record with a consumer group."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    record = consumer.poll(20)
    consumer.close()
    return record.value() if record else None


def register(addresses: Addresses, subject: str) -> None:
    """Register a schema under the subject."""
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    body = json.dumps({"schema": '"string"'}).encode()
    url = f"{addresses.schema_registry_url}/subjects/{subject}/versions"
    with urlopen(Request(url, data=body, headers=headers), timeout=60) as response:
        assert response.status == 200


def subjects(addresses: Addresses) -> list[str]:
    """Return the subjects that the registry knows."""
    with urlopen(f"{addresses.schema_registry_url}/subjects", timeout=60) as response:
        return json.load(response)


def insert(addresses: Addresses, name: str) -> None:
    """Insert one document, in a transaction."""
    with MongoClient[Any](addresses.mongo_uri) as client, client.start_session() as session:
        session.with_transaction(lambda session: client["test"][name].insert_one({}, session=session))


def count(addresses: Addresses, name: str) -> int:
    """Count the documents of a collection."""
    with MongoClient[Any](addresses.mongo_uri) as client:
        return client["test"][name].count_documents({})


def test_kafka_creates_a_topic_at_its_first_record(backend: Backend, unique_name: str) -> None:
    """Clients other than streamapp can write first, and read the record with a group."""
    servers = backend.addresses.kafka_bootstrap_servers
    produce(servers, unique_name, b"hello")

    assert consume(servers, unique_name) == b"hello"


def test_registry_registers_a_schema(backend: Backend, unique_name: str) -> None:
    """It has the Confluent API at the address of the backend."""
    register(backend.addresses, unique_name)

    assert unique_name in subjects(backend.addresses)


def test_mongod_runs_a_transaction(backend: Backend, unique_name: str) -> None:
    """MongoDB is a replica set; a standalone server has no transactions."""
    insert(backend.addresses, unique_name)

    assert count(backend.addresses, unique_name) == 1


def test_servers_listen_on_loopback_only(backend: Backend) -> None:
    """Neither the servers nor the registry's management port are reachable from the network."""
    connections = [each for server in backend.servers for each in psutil.Process(server.pid).net_connections("inet")]
    listening = {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}

    assert {ip.removeprefix("::ffff:") for ip in listening} == {HOST}


def test_kafka_3_5_runs_too(tmp_path: Path) -> None:
    """The Kafka of Confluent 7.5 starts on the same Java; a record can be written and read."""
    settings, ports = plain_settings(), Ports.choose(usual=False)
    jars = artifacts.kafka_jars("3.5.0", artifacts.cache_folder(settings.local_cache_dir))
    java, address = programs.java(settings.local_java), f"{HOST}:{ports.kafkas[0]}"
    (server,) = kafka.servers(java=java, jars=jars, data_dir=tmp_path, ports=ports)
    try:
        server.start()
        produce(address, "old", b"hello")

        assert consume(address, "old") == b"hello"
    finally:
        server.stop()


@pytest.mark.parametrize("members", [1, pytest.param(3, marks=LONG)])
def test_next_start_finds_all_data_again(tmp_path: Path, members: int) -> None:
    """A data folder keeps records, schemas and documents, also with other ports and with clusters."""
    with running_backend(tmp_path, brokers=members, mongods=members) as first:
        produce(first.addresses.kafka_bootstrap_servers, "kept", b"hello")
        register(first.addresses, "kept")
        insert(first.addresses, "kept")

    with running_backend(tmp_path) as second:
        assert consume(second.addresses.kafka_bootstrap_servers, "kept") == b"hello"
        assert "kept" in subjects(second.addresses)
        assert count(second.addresses, "kept") == 1
        assert len(second.kafkas) == len(second.mongods) == members


def test_folder_in_use_is_refused(private_backend: Backend) -> None:
    """Two backends would destroy the data; the error of the second names the process of the first."""
    second = running_backend(private_backend.data_dir)

    with pytest.raises(BackendError, match=f"in use by process {os.getpid()}"), second:
        pass


def test_registry_keeps_its_schemas_after_a_kill(private_backend: Backend, unique_name: str) -> None:
    """A schema that it has acknowledged is durable, as in Kafka and MongoDB."""
    register(private_backend.addresses, unique_name)
    private_backend.registry.kill()
    private_backend.registry.restart()

    assert unique_name in subjects(private_backend.addresses)


def test_dead_server_is_named_with_the_end_of_its_log(private_backend: Backend) -> None:
    """The error names the server and contains the end of its log."""
    assert private_backend.mongod.pid
    os.kill(private_backend.mongod.pid, signal.SIGKILL)

    def error() -> str:
        try:
            private_backend.check()
        except BackendError as exc:
            return str(exc)
        return ""

    assert until(error, what="the error").startswith("MongoDB has ended (killed by SIGKILL). The end of its log")
