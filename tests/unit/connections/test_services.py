"""The block of each service in `.env.example` gives every client the connection that the service needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials
from generators import services
from pymongo.uri_parser import parse_uri

from streamapp import settings
from streamapp.connections import faust_credentials, mongodb, msk
from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.registry import RegistryConnection
from streamapp.connections.tokens import Token
from streamapp.kafka.admin import cli_of
from streamapp.settings import PREFIX, Settings

if TYPE_CHECKING:
    from tests.unit.connections.conftest import Certificates

EXAMPLE = Path(__file__).parents[3] / ".env.example"
SECRET = "a secret: with a colon"
URI = "mongodb+srv://user:word@cluster.example.com/?retryWrites=true&w=majority"
#: Service → class of Faust's credentials; none for a service without Kafka.
CREDENTIALS = {
    "Confluent Cloud": SASLCredentials,
    "Confluent Cloud with OAuth": OAuthCredentials,
    "Amazon MSK with SCRAM": SASLCredentials,
    "Amazon MSK with IAM": OAuthCredentials,
    "Azure Event Hubs": SASLCredentials,
    "Aiven": SASLCredentials,
    "Redpanda Cloud": SASLCredentials,
    "Strimzi with SCRAM": SASLCredentials,
    "Strimzi with client certificates": SSLCredentials,
}


@pytest.fixture(params=services.SERVICES, ids=lambda service: service.name)
def service(request: pytest.FixtureRequest) -> services.Service:
    """Return each service."""
    return request.param


@pytest.fixture
def loaded(
    service: services.Service, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Settings:
    """Return the settings of the block, uncommented; its files are below a folder of this test."""
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(msk, "of_aws", lambda _: lambda: Token("of-aws", expires_at=4e9))
    monkeypatch.chdir(tmp_path)
    block = EXAMPLE.read_text("utf-8").partition(f"\n# {service.name}\n")[2].partition("\n\n")[0]
    lines = [line.removeprefix("#") for line in block.splitlines()]
    for number, (name, _, value) in enumerate(line.partition("=") for line in lines):
        if name.endswith("_FILE"):
            file = tmp_path / value.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_content(name, certificates), "utf-8")
            lines[number] = f"{name}={file}"
    Path(".env").write_text("\n".join(lines), "utf-8")
    return settings.load()


def _content(name: str, certificates: Certificates) -> str:
    if "_SSL_" in name or "_TLS_" in name:
        return (certificates.ca if "_CA_" in name else certificates.client).read_text("utf-8")
    return f"{URI if name.endswith('MONGO_URI_FILE') else SECRET}\n"


def test_kafka(service: services.Service, loaded: Settings) -> None:
    """Both libraries get the same login and the same certificates, and can build their clients."""
    if service.name not in CREDENTIALS:
        assert "kafka_bootstrap_servers" not in service.values
        return
    connection = KafkaConnection.of(loaded)
    config, given = connection.librdkafka(), faust_credentials.credentials(connection)
    mechanism, file = loaded.kafka_sasl_mechanism, loaded.kafka_ssl_certificate_file

    assert service.values["kafka_bootstrap_servers"] == config["bootstrap.servers"]
    assert service.values["kafka_security_protocol"] == config["security.protocol"]
    assert config["ssl.ca.location"] == str(loaded.kafka_ssl_ca_file or (connection.tls and connection.tls.cas))
    assert CREDENTIALS[service.name] is type(given)
    if isinstance(given, SASLCredentials):
        assert mechanism == config["sasl.mechanism"] == str(given.mechanism.value)
        user = service.values["kafka_sasl_username"].strip("'")
        assert (user, SECRET) == (config["sasl.username"], config["sasl.password"]) == (given.username, given.password)
        assert given.ssl_context is not None
    elif isinstance(given, OAuthCredentials):
        assert "OAUTHBEARER" == config["sasl.mechanism"]
        assert given.ssl_context is not None
    else:
        assert {} == {name: value for name, value in config.items() if name.startswith("sasl.")}
        assert str(file) == config["ssl.certificate.location"]
    if mechanism != "OAUTHBEARER":  # a client asks for a token when it is built
        connection.admin({"log_level": 0})
        connection.consumer({"group.id": "x", "log_level": 0}).close()
        connection.producer({"log_level": 0}, compression="zstd")
    assert "--command-config client.properties" in cli_of(connection).describe_topic("orders")


def test_oauth_extensions(service: services.Service, loaded: Settings) -> None:
    """Confluent Cloud finds cluster and identity pool by them."""
    if extensions := service.values.get("kafka_oauth_extensions"):
        connection = KafkaConnection.of(loaded)
        given = faust_credentials.credentials(connection)
        expected = dict(pair.split("=") for pair in extensions.split(","))
        assert isinstance(given, OAuthCredentials)
        assert connection.tokens is not None
        assert expected == connection.tokens.extensions == given.oauth_cb.extensions()


def test_registry(service: services.Service, loaded: Settings) -> None:
    """User and password of the registry, and not those of Kafka."""
    connection = RegistryConnection.of(loaded)
    if "schema_registry_url" not in service.values:
        assert connection.auth is None
        return
    request = httpx.Request("GET", connection.urls[0])
    assert connection.auth is not None
    (authorized,) = connection.auth.auth_flow(request)
    expected = httpx.Request("GET", "http://x")
    next(httpx.BasicAuth(service.values["schema_registry_username"], SECRET).auth_flow(expected))

    assert (service.values["schema_registry_url"],) == connection.urls
    assert expected.headers["Authorization"] == authorized.headers["Authorization"]


def test_mongodb(service: services.Service, loaded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker and dashboard, each with its own string and the certificate authorities of the system."""
    if "mongo_uri_file" not in service.values:
        return
    monkeypatch.setattr("pymongo.synchronous.srv_resolver._SrvResolver.get_hosts", lambda _: [("host", 27017)])
    monkeypatch.setattr("pymongo.synchronous.srv_resolver._SrvResolver.get_options", lambda _: None)

    for uri in (mongodb.uri(loaded), mongodb.dashboard_uri(loaded)):
        assert uri.startswith(URI)
        parsed = parse_uri(uri)
        assert ("user", "word") == (parsed["username"], parsed["password"])
        assert parsed["options"]["tls"]
        assert Path(parsed["options"]["tlsCAFile"]).is_file()
