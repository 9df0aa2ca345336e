"""A secured backend: TLS on all three servers, users with generated passwords, and only the rights that are needed.

    secure/ca.pem                     certificate authority of this backend
    secure/kafka-password             of the user `streamapp`, who runs worker and commands
    secure/registry-password          likewise, for the schema registry
    secure/mongo-uri                  connection string of `streamapp`, with password; it may read and write
    secure/dashboard-mongo-uri        connection string of `dashboard`, which may only read
    secure/clients-streamapp.pem      client certificate of `streamapp`, with its key
    secure/client.properties          for Kafka's own tools: the administrator

All files have the mode 0600. Programs get the paths of the files, and no secret in a variable or an argument.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

from streamapp.connections.tls import TlsFiles
from streamapp.errors import BackendError
from streamapp.local import secure_files
from streamapp.local.ports import Ports
from streamapp.local.process import Server
from streamapp.local.secure_certificates import Authority
from streamapp.local.secure_kafka import MECHANISM, KafkaSecurity
from streamapp.local.secure_mongod import MongoSecurity
from streamapp.net import HOST
from streamapp.registry.api_path import APICURIO_PATH
from streamapp.settings import Settings

FOLDER = "secure"
#: Users of worker and commands, and of the dashboard.
USER, DASHBOARD = "streamapp", "dashboard"
#: Administrator of Kafka, who may do everything.
ADMIN = "admin"
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """What tests add to the brokers."""

    kafka_properties: Mapping[str, str]
    java_options: Sequence[str] = ()


class Security:
    """The security of one backend; its files are created at the first start, and used again later."""

    def __init__(self, data_dir: Path, settings: Settings, options: SecurityOptions | None = None) -> None:
        self.folder = data_dir / FOLDER
        self._settings = settings
        self.authority = Authority(self.folder)
        self.kafka = KafkaSecurity(
            self.authority,
            properties=options.kafka_properties if options else None,
            java_options=options.java_options if options else (),
        )
        self.mongod = MongoSecurity(self.authority)
        self.client_certificate = self.authority.client(USER)
        self.dashboard_certificate = self.authority.client(DASHBOARD)
        self._registry_certificate = self.authority.server("registry")
        self._passwords = {
            name: secure_files.secret(self.folder / f"{name}-password")
            for name in ("kafka", "kafka-admin", "registry", "mongo", "dashboard-mongo")
        }

    def registry_proxy(self, ports: Ports) -> Server:
        """Return the proxy in front of the registry, not started."""
        arguments = [str(ports.registry), str(ports.registry_itself), str(self._registry_certificate), USER]
        return Server(
            name="The proxy of the schema registry",
            command=[
                sys.executable,
                "-m",
                "streamapp.local.secure_proxy",
                *arguments,
                str(self.folder / "registry-password"),
            ],
            log=self.folder / "registry-proxy.log",
            port=ports.registry,
            answers=lambda: self._proxy_answers(ports.registry),
        )

    def provision(self, ports: Ports, names: Settings | None = None) -> None:
        """Create the users and their rights, and write the files that name ports; may be repeated.

        Args:
            ports: of the servers.
            names: with topics, group and database to which the users get rights; those of the backend if None.
        """
        names = names or self._settings
        self.kafka.provision(
            kafka_servers(ports.kafkas_tls),
            passwords={USER: self._passwords["kafka"], ADMIN: self._passwords["kafka-admin"]},
            user=USER,
            settings=names,
        )
        self.mongod.provision(
            *ports.mongods,
            database=names.mongo_database,
            passwords={USER: self._passwords["mongo"]},
            readers={DASHBOARD: self._passwords["dashboard-mongo"]},
        )
        for user, password in ((USER, "mongo"), (DASHBOARD, "dashboard-mongo")):
            uri = self.mongod.uri(*ports.mongods, user=user, password=self._passwords[password])
            secure_files.write(self.folder / f"{password}-uri", f"{uri}\n")
        secure_files.write(self.folder / "client.properties", self._tool_properties())

    def environment(self, ports: Ports) -> dict[str, str]:
        """Return the variables with which programs use these servers; they hold paths of secrets, and no secret."""
        return {
            "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS": kafka_servers(ports.kafkas),
            "STREAMAPP_KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
            "STREAMAPP_KAFKA_SASL_MECHANISM": MECHANISM,
            "STREAMAPP_KAFKA_SASL_USERNAME": USER,
            "STREAMAPP_KAFKA_SASL_PASSWORD_FILE": str(self.folder / "kafka-password"),
            "STREAMAPP_TLS_CA_FILE": str(self.authority.ca_file),
            "STREAMAPP_SCHEMA_REGISTRY_URL": f"https://{HOST}:{ports.registry}{APICURIO_PATH}",
            "STREAMAPP_SCHEMA_REGISTRY_USERNAME": USER,
            "STREAMAPP_SCHEMA_REGISTRY_PASSWORD_FILE": str(self.folder / "registry-password"),
            "STREAMAPP_MONGO_URI_FILE": str(self.folder / "mongo-uri"),
            "STREAMAPP_DASHBOARD_MONGO_URI_FILE": str(self.folder / "dashboard-mongo-uri"),
        }

    def _proxy_answers(self, port: int) -> bool:
        context = TlsFiles(ca_file=self.authority.ca_file).context()
        try:
            with closing(HTTPSConnection(HOST, port, timeout=2, context=context)) as connection:
                connection.request("GET", f"{APICURIO_PATH}/subjects")
                return connection.getresponse().status == _UNAUTHORIZED
        except (OSError, HTTPException):
            return False

    def _tool_properties(self) -> str:
        login = f'username="{ADMIN}" password="{self._passwords["kafka-admin"]}"'
        return (
            "# For Kafka's own tools: --command-config with this file.\n"
            "security.protocol=SASL_SSL\n"
            f"sasl.mechanism={MECHANISM}\n"
            f"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required {login};\n"
            "ssl.truststore.type=PEM\n"
            f"ssl.truststore.location={self.authority.ca_file}\n"
        )


def kafka_servers(ports: Sequence[int]) -> str:
    """Return the addresses of the brokers."""
    return ",".join(f"{HOST}:{port}" for port in ports)


def check_kind(data_dir: Path, *, is_secure: bool) -> None:
    """Raise BackendError if the data folder was created in the other way."""
    exists, was_secure = (data_dir / "kafka").exists(), (data_dir / FOLDER).exists()
    if exists and was_secure != is_secure:
        how, remedy = ("with", "add") if was_secure else ("without", "omit")
        raise BackendError(
            f"The data folder {data_dir} was created {how} --secure: {remedy} --secure, or choose another --data-dir."
        )
