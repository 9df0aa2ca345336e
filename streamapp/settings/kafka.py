"""Settings of the connection to Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from streamapp.settings.types import AnyCaseLower, AnyCaseUpper, KafkaServers, Url

SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"]
Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]


class KafkaSettings(BaseSettings):
    """Addresses, TLS, credentials, and what the brokers allow."""

    kafka_bootstrap_servers: KafkaServers = Field(
        default="localhost:9092",
        pattern=r"^[^\s,:/]+:\d{1,5}(,[^\s,:/]+:\d{1,5})*$",
        description="Addresses of the Kafka brokers, as host:port, separated by commas.",
        examples=["localhost:9092"],
    )
    kafka_security_protocol: Annotated[SecurityProtocol, AnyCaseLower] = Field(
        default="plaintext",
        description="Security protocol of the Kafka brokers: plaintext, ssl (TLS), sasl_ssl (TLS and credentials) or"
        " sasl_plaintext (credentials without TLS). Kafka calls it security.protocol.",
        examples=["sasl_ssl"],
    )
    kafka_sasl_mechanism: Annotated[SaslMechanism, AnyCaseUpper] | None = Field(
        default=None,
        description="SASL mechanism. AWS_MSK_IAM needs the extra msk, and finds the credentials of AWS as the AWS"
        " SDK does.",
        examples=["SCRAM-SHA-512"],
    )
    kafka_sasl_username: str | None = Field(
        default=None,
        description="User name for PLAIN and SCRAM: of Confluent Cloud the API key, of Event Hubs $ConnectionString.",
        examples=["streamapp"],
    )
    kafka_sasl_password: SecretStr | None = Field(
        default=None,
        description="Password for PLAIN and SCRAM. It is never printed.",
        examples=["a long random text"],
    )
    kafka_sasl_password_file: Path | None = Field(
        default=None,
        description="File that holds STREAMAPP_KAFKA_SASL_PASSWORD; a newline at its end is ignored. Set one of the"
        " two.",
        examples=["/run/secrets/kafka-password"],
    )
    kafka_oauth_token_url: Url | None = Field(
        default=None,
        pattern=r"^https?://[^\s@?#]+$",
        description="URL of the token endpoint for OAUTHBEARER, which gives tokens for the grant client_credentials.",
        examples=["https://login.example.com/oauth2/token"],
    )
    kafka_oauth_client_id: str | None = Field(
        default=None, description="Client id for STREAMAPP_KAFKA_OAUTH_TOKEN_URL.", examples=["streamapp"]
    )
    kafka_oauth_client_secret: SecretStr | None = Field(
        default=None,
        repr=False,
        description="Client secret for STREAMAPP_KAFKA_OAUTH_TOKEN_URL. It is never printed.",
        examples=["a long random text"],
    )
    kafka_oauth_client_secret_file: Path | None = Field(
        default=None,
        repr=False,
        description="File that holds STREAMAPP_KAFKA_OAUTH_CLIENT_SECRET; a newline at its end is ignored. Set one of"
        " the two.",
        examples=["/run/secrets/kafka-client-secret"],
    )
    kafka_oauth_scope: str | None = Field(
        default=None, description="Scope that the token request asks for.", examples=["kafka"]
    )
    kafka_oauth_extensions: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z]+=[^,\x00-\x1f]+(,[A-Za-z]+=[^,\x00-\x1f]+)*$",
        description="SASL extensions for OAUTHBEARER as name=value, separated by commas. Confluent Cloud needs"
        " logicalCluster and identityPoolId.",
        examples=["logicalCluster=lkc-abc123,identityPoolId=pool-XyZ"],
    )
    kafka_oauth_token_file: Path | None = Field(
        default=None,
        description="File that holds a token for OAUTHBEARER, instead of a token endpoint. It is read again for each"
        " new connection, so that another program can renew it.",
        examples=["/var/run/secrets/tokens/kafka"],
    )
    tls_ca_file: Path | None = Field(
        default=None,
        description="File with the certificates (PEM) of the certificate authorities that Kafka, the schema registry,"
        " MongoDB and the token endpoint are checked with. If unset: those of the operating system.",
        examples=["/etc/streamapp/ca.pem"],
    )
    kafka_ssl_ca_file: Path | None = Field(
        default=None,
        description="As STREAMAPP_TLS_CA_FILE, for Kafka only.",
        examples=["/etc/streamapp/kafka-ca.pem"],
    )
    kafka_ssl_certificate_file: Path | None = Field(
        default=None,
        description="File with the client certificate (PEM, followed by its intermediate certificates) for mutual TLS"
        " with Kafka.",
        examples=["/etc/streamapp/kafka.pem"],
    )
    kafka_ssl_key_file: Path | None = Field(
        default=None,
        description="File with the private key (PEM) of STREAMAPP_KAFKA_SSL_CERTIFICATE_FILE. If unset: it is in the"
        " same file as the certificate.",
        examples=["/etc/streamapp/kafka.key"],
    )
    kafka_ssl_key_password: SecretStr | None = Field(
        default=None,
        description="Password of an encrypted private key in STREAMAPP_KAFKA_SSL_KEY_FILE. It is never printed.",
        examples=["a long random text"],
    )
    kafka_ssl_key_password_file: Path | None = Field(
        default=None,
        description="File that holds STREAMAPP_KAFKA_SSL_KEY_PASSWORD; a newline at its end is ignored. Set one of the"
        " two.",
        examples=["/run/secrets/kafka-key-password"],
    )
    kafka_compression: Compression | None = Field(
        default=None,
        description="Compression of all records that streamapp sends. If unset: lz4 for sample events, and zstd for"
        " dead letters and replays. Event Hubs accepts none and gzip.",
        examples=["gzip"],
    )
    kafka_idempotence: bool = Field(
        default=True,
        description="Whether producers are idempotent, so that a repeated request adds no second record. false is for"
        " brokers that refuse it; then a record may be sent twice, which is stored and counted once if it is a dead"
        " letter or a replay.",
        examples=["false"],
    )
    create_topics: bool = Field(
        default=True,
        description="Whether streamapp creates topics that do not exist; false: it waits for them, for brokers where"
        " clients may not create topics.",
        examples=["false"],
    )
