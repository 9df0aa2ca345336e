"""The local backend: three real servers, started, used, disturbed, ended."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from confluent_kafka import Consumer, Producer
from pymongo import MongoClient

from streamapp.errors import BackendError
from streamapp.local.backend import Backend
from streamapp.settings import Settings
from tests.conftest import running_backend
from tests.until import until

if TYPE_CHECKING:
    from pathlib import Path

    from streamapp.local.backend import Addresses


def produce(addresses: Addresses, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": addresses.kafka_bootstrap_servers})
    producer.produce(topic, value)
    assert producer.flush(20) == 0


def consume(addresses: Addresses, topic: str) -> bytes | None:
    config = {"bootstrap.servers": addresses.kafka_bootstrap_servers, "group.id": topic, "auto.offset.reset": "earliest"}
    consumer = Consumer(config)
    consumer.subscribe([topic])
    record = consumer.poll(20)
    consumer.close()
    return record and record.value()


def register(addresses: Addresses, subject: str) -> int:
    body = json.dumps({"schema": '"string"'}).encode()
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    request = urllib.request.Request(
        f"{addresses.schema_registry_url}/subjects/{subject}/versions", data=body, headers=headers
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["id"]


def subjects(addresses: Addresses) -> list[str]:
    with urllib.request.urlopen(f"{addresses.schema_registry_url}/subjects", timeout=10) as response:
        return json.load(response)


def collection(addresses: Addresses) -> Any:
    return MongoClient(addresses.mongo_uri, serverSelectionTimeoutMS=10_000)["test"]["kept"]


def test_kafka_takes_and_gives_a_record(backend: Backend, unique_name: str) -> None:
    """A client may write to a topic that nobody has made, and read it through a group."""
    produce(backend.addresses, unique_name, b"hello")

    assert consume(backend.addresses, unique_name) == b"hello"


def test_registry_takes_a_schema(backend: Backend, unique_name: str) -> None:
    """The registry speaks the Confluent API at the address we give."""
    register(backend.addresses, unique_name)

    assert unique_name in subjects(backend.addresses)
