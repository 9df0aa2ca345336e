"""Kafka with TLS, SCRAM users, client certificates and access control lists.

Clients log in with SCRAM on one listener, and with a certificate on another one, which brokers and administration use,
too. The controllers accept certificates only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,  # pyright: ignore[reportPrivateImportUsage] - documented there
    AclOperation,  # pyright: ignore[reportPrivateImportUsage]
    AclPermissionType,  # pyright: ignore[reportPrivateImportUsage]
    ResourcePatternType,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
    ScramCredentialInfo,  # pyright: ignore[reportPrivateImportUsage]
    ScramMechanism,  # pyright: ignore[reportPrivateImportUsage]
    UserScramCredentialUpsertion,  # pyright: ignore[reportPrivateImportUsage]
)

from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.tls import TlsFiles
from streamapp.errors import BackendError
from streamapp.local import rights
from streamapp.local.rights import KafkaRight, Resource
from streamapp.local.secure_certificates import Authority
from streamapp.net import HOST
from streamapp.settings import Settings

MECHANISM = "SCRAM-SHA-512"
OFFSETS_TOPIC = "__consumer_offsets"
_ITERATIONS = 4096  # the least that Kafka accepts
_TIMEOUT = 20.0

PROPERTIES = {
    "listener.security.protocol.map": "SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:SSL",
    "inter.broker.listener.name": "SSL",
    "listener.name.ssl.ssl.client.auth": "required",
    "listener.name.controller.ssl.client.auth": "required",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    # User:streamapp for a certificate with CN=streamapp.
    "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
    "sasl.enabled.mechanisms": MECHANISM,
    "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:broker;User:admin",
    "allow.everyone.if.no.acl.found": "false",
}


class KafkaSecurity:
    """The security of the brokers of one backend.

    Args:
        authority: issues the certificates.
        properties: further properties of the brokers.
        java_options: further options of their Java.
    """

    def __init__(
        self, authority: Authority, *, properties: Mapping[str, str] | None = None, java_options: Sequence[str] = ()
    ) -> None:
        self.java_options = java_options
        self._broker, self._admin = authority.server("broker"), authority.client("admin")
        self._ca = authority.ca_file
        self._extra = dict(properties or {})

    def listeners(self, *, port: int, tls_port: int, controller_port: int) -> str:
        """Return the value of `listeners`."""
        return f"SASL_SSL://{HOST}:{port},SSL://{HOST}:{tls_port},CONTROLLER://{HOST}:{controller_port}"

    def properties(self) -> str:
        """Return the other properties of a broker."""
        files = {"ssl.keystore.location": str(self._broker), "ssl.truststore.location": str(self._ca)}
        pairs = PROPERTIES | files | self._extra
        return "".join(f"{name}={value}\n" for name, value in pairs.items())

    def admin(self, servers: str) -> KafkaConnection:
        """Return the connection of the administrator, by certificate."""
        return KafkaConnection(
            servers=servers, protocol="ssl", tls=TlsFiles(ca_file=self._ca, certificate_file=self._admin)
        )

    def provision(self, servers: str, *, passwords: Mapping[str, str], user: str, settings: Settings) -> None:
        """Create the users, and give one the rights that worker and commands need; may be repeated.

        Raises:
            BackendError: Kafka refuses.
        """
        self.create_users(servers, passwords, acls(user, rights.of_all(), settings))

    def create_users(self, servers: str, passwords: Mapping[str, str], granted: Sequence[AclBinding]) -> None:
        """Create users with these passwords, and access control lists; may be repeated.

        Raises:
            BackendError: Kafka refuses.
        """
        admin: Any = self.admin(servers).admin({"log_level": 0})
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        users = [UserScramCredentialUpsertion(name, info, password.encode()) for name, password in passwords.items()]
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                changes = admin.alter_user_scram_credentials(users, request_timeout=_TIMEOUT)
                created = admin.create_acls([*granted], request_timeout=_TIMEOUT) if granted else {}
                for change in (*changes.values(), *created.values()):
                    change.result(_TIMEOUT)
            except KafkaException as exc:
                if time.monotonic() > deadline:
                    raise BackendError(f"Kafka cannot create its users and rights: {exc.args[0].str()}") from None
            else:
                return


def acls(user: str, granted: Iterable[KafkaRight], settings: Settings) -> Sequence[AclBinding]:
    """Return the access control lists that give a user these rights, to the names in the settings."""
    resources = {
        Resource.TOPIC: (ResourceType.TOPIC, settings.topic),
        Resource.DEAD_LETTERS: (ResourceType.TOPIC, settings.dead_letter_topic),
        Resource.GROUP: (ResourceType.GROUP, settings.app_id),
        Resource.OFFSETS: (ResourceType.TOPIC, OFFSETS_TOPIC),
    }
    return [_acl(user, *resources[right.resource], right.operation) for right in granted]


def _acl(user: str, kind: ResourceType, name: str, operation: str) -> AclBinding:
    allowed = AclPermissionType.ALLOW
    return AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", AclOperation[operation], allowed)
