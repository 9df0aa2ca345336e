"""Faults of TLS are named as what they are, for all three servers, with the setting and the remedy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from dashboard.data.connection import Connection
from dashboard.model.errors import DisconnectedError, RefusedError
from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.registry import RegistryConnection
from streamapp.connections.tls import TlsFiles
from streamapp.connections.tls_faults import cause_in, probe
from streamapp.errors import AccessRefused, BrokerAccessRefused, RegistryAccessRefused, StoreAccessRefused, Transient
from streamapp.kafka.admin import KafkaAdmin
from streamapp.mongodb.client import translate_errors
from streamapp.registry.client import RegistryClient
from tests.support.certificates import Authority
from tests.support.tls_server import TlsServer

HOST = "127.0.0.1"
#: For one call; `refusal` repeats it. librdkafka and the driver of MongoDB connect again until the time is over.
TIMEOUT_SECONDS = 0.3
#: Fault → words of its cause, and of its remedy for Kafka, the registry and MongoDB.
FAULTS = {
    "unknown authority": ("an unknown certificate authority", "SSL_CA_FILE", "SSL_CA_FILE", "tlsCAFile"),
    "expired": ("has expired", "Renew", "Renew", "Renew"),
    "other name": ("for another host name", "STREAMAPP_KAFKA_BOOT", "STREAMAPP_SCHEMA_REG", "STREAMAPP_MONGO_URI"),
    "client certificate": ("client certificate", "SSL_CERTIFICATE_FILE", "SSL_CERTIFICATE_FILE", "tlsCertificateKey"),
    "no TLS": ("does not speak TLS", "SECURITY_PROTOCOL=plaintext", "http://", "tls=false"),
    "only TLS": ("speaks TLS on this port", "SECURITY_PROTOCOL=ssl", "https://", "tls=true"),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return the authority that the clients know."""
    return Authority(tmp_path_factory.mktemp("known"))


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> str:
    """Return each fault in turn."""
    return request.param


@pytest.fixture
def port(fault: str, authority: Authority, tmp_path: Path) -> Generator[int]:
    """Return the port of a server with this fault."""
    right, clients = authority.issue("server", hosts=[HOST]), None
    if fault == "unknown authority":
        right = Authority(tmp_path, "unknown").issue("server", hosts=[HOST])
    elif fault == "expired":
        right = authority.issue("expired", hosts=[HOST], days=-1)
    elif fault == "other name":
        right = authority.issue("other", hosts=["kafka.example"])
    elif fault == "client certificate":
        clients = authority.file
    with TlsServer(None if fault == "no TLS" else right, clients=clients) as server:
        yield server.port


def assert_named(error: AccessRefused, fault: str, server: int, address: str) -> None:
    """The message has address, cause and remedy."""
    cause, *remedies = FAULTS[fault]
    assert cause in str(error)
    assert remedies[server] in str(error)
    assert address in str(error)
    assert error.is_running


def refusal(call: Callable[[], object]) -> AccessRefused:
    """Call until access is refused; on a loaded machine a call can end before the server has answered."""
    give_up_at = monotonic() + 60
    while True:
        try:
            call()
        except AccessRefused as exc:
            return exc
        except Transient:
            assert monotonic() < give_up_at


def test_kafka(fault: str, port: int, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka says only that a certificate could not be verified, or that the connection was closed."""
    monkeypatch.setattr("streamapp.kafka.admin.PING_TIMEOUT", TIMEOUT_SECONDS)
    tls = None if fault == "only TLS" else TlsFiles(ca_file=authority.file)
    connection = KafkaConnection(servers=f"{HOST}:{port}", protocol="ssl" if tls else "plaintext", tls=tls)

    refused = refusal(lambda: asyncio.run(KafkaAdmin(connection).ping()))

    assert isinstance(refused, BrokerAccessRefused)
    assert_named(refused, fault, 0, f"{HOST}:{port} (STREAMAPP_KAFKA_BOOTSTRAP_SERVERS)")


def test_registry(fault: str, port: int, authority: Authority) -> None:
    scheme = "http" if fault == "only TLS" else "https"
    connection = RegistryConnection(url=f"{scheme}://{HOST}:{port}", tls=TlsFiles(ca_file=authority.file))

    refused = refusal(lambda: asyncio.run(RegistryClient(connection, "s").ping()))

    assert isinstance(refused, RegistryAccessRefused)
    assert_named(refused, fault, 1, f"{scheme}://{HOST}:{port} (STREAMAPP_SCHEMA_REGISTRY_URL)")


def test_mongodb(fault: str, port: int, authority: Authority) -> None:
    options = "" if fault == "only TLS" else f"&tls=true&tlsCAFile={authority.file}"
    uri = f"mongodb://alice:very-secret@{HOST}:{port}/?directConnection=true{options}"
    with MongoClient[Any](uri, serverSelectionTimeoutMS=int(TIMEOUT_SECONDS * 1_000)) as client:
        refused = refusal(lambda: translate_errors(lambda: client.admin.command("ping")))

    assert isinstance(refused, StoreAccessRefused)
    assert_named(refused, fault, 2, "STREAMAPP_MONGO_URI")
    assert "very-secret" not in str(refused)


def test_page(fault: str, port: int, authority: Authority) -> None:
    """The page says the same, with the settings of the dashboard."""
    options = "" if fault == "only TLS" else f"&tls=true&tlsCAFile={authority.file}"
    connection = Connection(
        uri=f"mongodb://alice:very-secret@{HOST}:{port}/?directConnection=true{options}", database="db"
    )

    refused = refused_page(connection)

    connection.close()
    for words in (FAULTS[fault][0], FAULTS[fault][3].replace("STREAMAPP_MONGO", "STREAMAPP_DASHBOARD_MONGO")):
        assert words in refused
    assert f"MongoDB at {HOST}:{port} cannot be used" in refused
    assert "very-secret" not in refused


def refused_page(connection: Connection) -> str:
    """Ask until access is refused, as `refusal` does; return the message."""
    give_up_at = monotonic() + 60
    while True:
        try:
            with connection.asking() as database:
                database.command("ping")
        except RefusedError as exc:
            return str(exc)
        except DisconnectedError:
            assert monotonic() < give_up_at


def test_a_right_certificate_and_a_server_that_is_away_are_no_fault_of_tls(authority: Authority) -> None:
    """Nor is a server without TLS for a client without."""
    context = TlsFiles(ca_file=authority.file).context()
    with TlsServer(authority.issue("right", hosts=[HOST])) as server:
        assert probe(HOST, server.port, context) is None
    assert probe(HOST, server.port, context) is None
    with TlsServer(None) as plain:
        assert probe(HOST, plain.port, None) is None


@pytest.mark.parametrize("text", ["Connection refused", "timed out", "Name or service not known"])
def test_other_errors_are_not_about_tls(text: str) -> None:
    assert cause_in(text) is None


@pytest.mark.parametrize(("status", "words"), [(401, "STREAMAPP_SCHEMA_REGISTRY_USERNAME"), (403, "lacks a right")])
@pytest.mark.parametrize("body", [b"", b"<html>", b"{}"])
def test_a_registry_that_refuses_the_login_or_a_right(
    status: int, words: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in front of it answers without JSON."""
    monkeypatch.setattr(httpx.Client, "request", lambda *_, **__: httpx.Response(status, content=body))
    registry = RegistryClient(RegistryConnection(url="http://registry"), "s")

    for call in (registry.ping, lambda: registry.register({"type": "string"}), registry.versions):
        with pytest.raises(RegistryAccessRefused, match=rf"answers {status}: .*{words}"):
            asyncio.run(call())
