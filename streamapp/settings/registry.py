"""Settings of the connection to the schema registry."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from streamapp.settings.types import Urls


class RegistrySettings(BaseSettings):
    """Addresses, TLS and credentials."""

    schema_registry_url: Urls = Field(
        default="http://localhost:8081",
        # No user, password or token: this URL is printed.
        pattern=r"^https?://[^\s@?#,]+(,https?://[^\s@?#,]+)*$",
        description="URL of the schema registry, including the path of its Confluent-compatible API if there is one."
        " User, password, ? and # are not allowed. Several URLs of one registry, separated by commas, are tried in"
        " turn.",
        examples=["http://localhost:8081"],
    )
    schema_registry_username: str | None = Field(
        default=None,
        description="User name for basic authentication at the schema registry; of Confluent Cloud the API key of the"
        " registry.",
        examples=["streamapp"],
    )
    schema_registry_password: SecretStr | None = Field(
        default=None,
        description="Password for basic authentication at the schema registry. It is never printed.",
        examples=["a long random text"],
    )
    schema_registry_password_file: Path | None = Field(
        default=None,
        description="File that holds STREAMAPP_SCHEMA_REGISTRY_PASSWORD; a newline at its end is ignored. Set one of"
        " the two.",
        examples=["/run/secrets/registry-password"],
    )
    schema_registry_bearer_token: SecretStr | None = Field(
        default=None,
        description="Bearer token for the schema registry, instead of user name and password. It is never printed.",
        examples=["a long random text"],
    )
    schema_registry_bearer_token_file: Path | None = Field(
        default=None,
        description="File that holds STREAMAPP_SCHEMA_REGISTRY_BEARER_TOKEN; a newline at its end is ignored. It is"
        " read again for each request, so that another program can renew it. Set one of the two.",
        examples=["/run/secrets/registry-token"],
    )
    schema_registry_ssl_ca_file: Path | None = Field(
        default=None,
        description="As STREAMAPP_TLS_CA_FILE, for the schema registry only.",
        examples=["/etc/streamapp/registry-ca.pem"],
    )
    schema_registry_ssl_certificate_file: Path | None = Field(
        default=None,
        description="File with the client certificate (PEM) for mutual TLS with the schema registry.",
        examples=["/etc/streamapp/registry.pem"],
    )
    schema_registry_ssl_key_file: Path | None = Field(
        default=None,
        description="File with the private key (PEM, not encrypted) of STREAMAPP_SCHEMA_REGISTRY_SSL_CERTIFICATE_FILE."
        " If unset: it is in the same file as the certificate.",
        examples=["/etc/streamapp/registry.key"],
    )
