"""Kafka with TLS, SCRAM users, client certificates and access control lists.

Clients log in with SCRAM on one listener, and with a certificate on another one, which brokers and administration use,
too. The controllers accept certificates only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
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
from streamapp.local.secure_certificates import Authority
from streamapp.net import HOST
from streamapp.settings import Settings

MECHANISM = "SCRAM-SHA-512"
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

#: What the worker and the commands may do, by kind of resource: docs/reference/rights.md.
TOPIC_RIGHTS = ("READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS", "CREATE")
GROUP_RIGHTS = ("READ", "DESCRIBE")


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
        admin: Any = self.admin(servers).admin()
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        users = [UserScramCredentialUpsertion(name, info, password.encode()) for name, password in passwords.items()]
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                changes = admin.alter_user_scram_credentials(users, request_timeout=_TIMEOUT)
                acls = admin.create_acls([*_acls(user, settings)], request_timeout=_TIMEOUT)
                for change in (*changes.values(), *acls.values()):
                    change.result(_TIMEOUT)
            except KafkaException as exc:
                if time.monotonic() > deadline:
                    raise BackendError(f"Kafka cannot create its users and rights: {exc.args[0].str()}") from None
            else:
                return


def _acls(user: str, settings: Settings) -> Sequence[AclBinding]:
    topics = (settings.topic, settings.dead_letter_topic)
    on_topics = [_acl(user, ResourceType.TOPIC, name, right) for name in topics for right in TOPIC_RIGHTS]
    # Without this right doctor does not know whether the group has offsets.
    offsets = _acl(user, ResourceType.TOPIC, "__consumer_offsets", "DESCRIBE")
    on_group = [_acl(user, ResourceType.GROUP, settings.app_id, right, is_prefix=True) for right in GROUP_RIGHTS]
    return [*on_topics, offsets, *on_group]


def _acl(user: str, kind: ResourceType, name: str, right: str, *, is_prefix: bool = False) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if is_prefix else ResourcePatternType.LITERAL
    return AclBinding(kind, name, pattern, f"User:{user}", "*", AclOperation[right], AclPermissionType.ALLOW)
