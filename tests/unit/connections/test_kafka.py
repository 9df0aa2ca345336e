"""The connection to Kafka: the same settings for librdkafka and for Faust."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from faust.auth import SASLCredentials, SSLCredentials
from faust.types.auth import AuthProtocol, SASLMechanism

from streamapp.connections import faust_credentials, msk
from streamapp.connections.kafka import KafkaConnection, cause_of
from streamapp.connections.tokens import Token, TokenSource, TokenUnavailable
from streamapp.errors import SettingsError
from tests.support.backends import plain_settings

if TYPE_CHECKING:
    from tests.unit.connections.conftest import Certificates

PASSWORD = "Endpoint=sb://x/;SharedAccessKey=a+b/c="
LOGIN = {"kafka_sasl_username": "$ConnectionString", "kafka_sasl_password": PASSWORD}


def connection(**values: Any) -> KafkaConnection:
    """Return the connection of settings."""
    return KafkaConnection.of(plain_settings(kafka_bootstrap_servers="broker:9093", **values))


def test_plaintext_is_the_default() -> None:
    """Nothing but the addresses."""
    plain = connection()

    assert {"bootstrap.servers": "broker:9093"} == plain.librdkafka()
    assert faust_credentials.credentials(plain) is None


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["sasl_ssl", "sasl_plaintext"])
def test_password(certificates: Certificates, mechanism: str, protocol: str) -> None:
    """User and password of any characters; TLS with the certificate authority of the settings."""
    tested = connection(
        kafka_security_protocol=protocol, kafka_sasl_mechanism=mechanism, tls_ca_file=certificates.ca, **LOGIN
    )
    tls = {"ssl.ca.location": str(certificates.ca)} if protocol == "sasl_ssl" else {}
    faust = faust_credentials.credentials(tested)

    assert {
        "bootstrap.servers": "broker:9093",
        "security.protocol": protocol,
        "sasl.mechanism": mechanism,
        "sasl.username": "$ConnectionString",
        "sasl.password": PASSWORD,
        **tls,
    } == tested.librdkafka()
    assert isinstance(faust, SASLCredentials)
    assert (AuthProtocol(protocol.upper()), SASLMechanism(mechanism)) == (faust.protocol, faust.mechanism)
    assert ("$ConnectionString", PASSWORD) == (faust.username, faust.password)
    assert (faust.ssl_context is not None) == (protocol == "sasl_ssl")
    assert PASSWORD not in f"{tested!r} {faust!r}"


def test_certificate(certificates: Certificates) -> None:
    """Mutual TLS without a user."""
    tested = connection(
        kafka_security_protocol="ssl", tls_ca_file=certificates.ca, kafka_ssl_certificate_file=certificates.client
    )
    faust = faust_credentials.credentials(tested)

    assert str(certificates.client) == tested.librdkafka()["ssl.certificate.location"]
    assert isinstance(faust, SSLCredentials)
    assert faust.context.get_ca_certs()


def test_librdkafka_accepts_the_properties(certificates: Certificates) -> None:
    """Each kind of client can be built, which checks names, values and files."""
    tested = connection(
        kafka_security_protocol="sasl_ssl",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        tls_ca_file=certificates.ca,
        kafka_ssl_certificate_file=certificates.client,
        **LOGIN,
    )

    tested.admin({"log_level": 0})
    tested.producer({"log_level": 0}, compression="lz4")
    tested.consumer({"group.id": "x", "log_level": 0}).close()


@pytest.mark.parametrize(
    ("values", "expected"),
    [({}, ("zstd", True)), ({"kafka_compression": "gzip", "kafka_idempotence": False}, ("gzip", False))],
)
def test_producers_follow_the_settings(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], expected: tuple[str, bool]
) -> None:
    """For brokers that accept less, such as Event Hubs."""
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr("streamapp.connections.kafka._Producer", lambda config, **_: seen.append(config))

    connection(**values).producer({}, compression="zstd")

    assert [expected] == [(config["compression.type"], config["enable.idempotence"]) for config in seen]


def test_msk_signs_tokens_for_the_region_of_the_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library gives a token and its expiry in milliseconds."""
    regions: list[str] = []

    def generate(region: str) -> tuple[str, int]:
        regions.append(region)
        return "signed", 4_000_000_000_000

    provider = SimpleNamespace(MSKAuthTokenProvider=SimpleNamespace(generate_auth_token=generate))
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", provider)
    settings = plain_settings(
        kafka_bootstrap_servers="b-1.x.abc.c3.kafka.eu-central-1.amazonaws.com:9098",
        kafka_security_protocol="sasl_ssl",
        kafka_sasl_mechanism="AWS_MSK_IAM",
    )

    config = KafkaConnection.of(settings).librdkafka()

    assert ("OAUTHBEARER", "signed", 4_000_000_000.0) == (config["sasl.mechanism"], *config["oauth_cb"]("")[:2])
    assert ["eu-central-1"] == regions
    assert "us-east-1" == msk.region_of("boot-x.c1.kafka-serverless.us-east-1.amazonaws.com:9098")


def test_msk_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional."""
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", None)

    with pytest.raises(SettingsError, match=r"streamapp-pipeline\[msk\]"):
        connection(kafka_security_protocol="sasl_ssl", kafka_sasl_mechanism="AWS_MSK_IAM")


def test_clients_without_a_token_say_so_at_once() -> None:
    """librdkafka would wait 10 s when a client is created; the worker waits until there is a token."""
    answers = [TokenUnavailable("no answer"), TokenUnavailable("no answer"), Token("t", 4_000_000_000.0)]

    def fetch() -> Token:
        answer = answers.pop(0)
        if isinstance(answer, TokenUnavailable):
            raise answer
        return answer

    tested = KafkaConnection(servers="127.0.0.1:1", protocol="sasl_plaintext", tokens=TokenSource(fetch))
    admin = tested.admin({"log_level": 0})
    with pytest.raises(TokenUnavailable, match="no answer"):
        admin.list_topics(timeout=0.1)
    with pytest.raises(TokenUnavailable, match="no answer"):
        tested.producer({}, compression="none")

    with pytest.raises(KafkaException):  # now there is a token, and no broker
        admin.list_topics(timeout=0.1)
    tested.consumer({"group.id": "x", "log_level": 0}).close()


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """Return the error with its cause."""
    error.__cause__ = cause
    return error


FATAL = KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED, "no right to write", fatal=True)


@pytest.mark.parametrize("error", [KafkaException(FATAL), raised(SystemError("no result"), KafkaException(FATAL))])
def test_fatal_error_of_a_producer_is_kept_and_not_raised(error: Exception) -> None:
    """confluent-kafka raises it once; all records fail then, with an error that does not name the cause."""
    producer, purged = connection().producer({"log_level": 0}, compression="none"), KafkaError(KafkaError._PURGE_QUEUE)
    answers: list[Exception | int] = [error, 3]

    def poll(_: float) -> int:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    assert cause_of(purged, producer) is purged
    assert producer._without_fatal_error(poll, 0.1) == 3
    assert cause_of(purged, producer) is FATAL


def test_other_system_errors_of_a_producer_are_raised() -> None:
    """They have another cause, or none."""
    producer = connection().producer({"log_level": 0}, compression="none")

    def poll(_: float) -> int:
        raise SystemError("of something else")

    with pytest.raises(SystemError, match="of something else"):
        producer._without_fatal_error(poll, 0.1)
