"""MongoDB with TLS and users: by password, and by certificate."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from pymongo.errors import OperationFailure

from streamapp.connections import mongodb
from streamapp.local import secure_files
from streamapp.local.cluster_size import REPLICA_SET
from streamapp.local.secure_certificates import CLIENTS, ORGANISATION, Authority
from streamapp.net import HOST

_KEY_BYTES = 64
_NO_SUCH_USER = 11
#: Users by password are in this database, users by certificate in the second one.
_USERS, _EXTERNAL = "admin", "$external"


class MongoSecurity:
    """The security of the members of one replica set."""

    def __init__(self, authority: Authority) -> None:
        self._ca = authority.ca_file
        self._certificate = authority.server("mongod")
        self._key_file = authority.folder / "mongod.key"
        if not self._key_file.exists():
            secure_files.write(self._key_file, secrets.token_hex(_KEY_BYTES))

    def options(self) -> list[str]:
        """Return the options of mongod."""
        options = ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(self._certificate)]
        options += ["--tlsCAFile", str(self._ca), "--tlsAllowConnectionsWithoutCertificates"]
        options += ["--auth", "--keyFile", str(self._key_file)]
        return [*options, "--setParameter", "enableLocalhostAuthBypass=false"]

    def admin_uri(self, *ports: int) -> str:
        """Return the connection string of the members themselves, who may do everything."""
        # The password of this user is the content of the key file.
        key = self._key_file.read_text("utf-8").strip()
        return self._uri(ports, f"__system:{key}@", "authSource=local&authMechanism=SCRAM-SHA-256")

    def uri(self, *ports: int, user: str, password: str) -> str:
        """Return the connection string of a user by password."""
        return self._uri(ports, f"{quote(user, safe='')}:{quote(password, safe='')}@", f"authSource={_USERS}")

    def certificate_uri(self, *ports: int, certificate: Path) -> str:
        """Return the connection string of a user by certificate."""
        file = f"tlsCertificateKeyFile={quote(str(certificate), safe='')}"
        return self._uri(ports, "", f"authMechanism=MONGODB-X509&authSource={quote(_EXTERNAL, safe='')}&{file}")

    def provision(self, *ports: int, database: str, passwords: Mapping[str, str], readers: Mapping[str, str]) -> None:
        """Create the users, each by password and by certificate; may be repeated.

        Args:
            ports: of all members.
            database: that they may use.
            passwords: of the users that read and write, by name.
            readers: passwords of the users that only read, by name.
        """
        with mongodb.client(self.admin_uri(*ports)) as client:
            for role, users in (("readWrite", passwords), ("read", readers)):
                for user, password in users.items():
                    roles = [{"role": role, "db": database}]
                    _put_user(client[_USERS], user, roles, pwd=password)
                    _put_user(client[_EXTERNAL], f"CN={user},OU={CLIENTS},O={ORGANISATION}", roles)

    def _uri(self, ports: tuple[int, ...], login: str, options: str) -> str:
        hosts = ",".join(f"{HOST}:{port}" for port in ports)
        topology = "directConnection=true" if len(ports) == 1 else f"replicaSet={REPLICA_SET}"
        return f"mongodb://{login}{hosts}/?{topology}&tls=true&tlsCAFile={quote(str(self._ca), safe='')}&{options}"


def _put_user(database: object, name: str, roles: list[dict[str, str]], **credentials: str) -> None:
    command = getattr(database, "command")  # noqa: B009 - pymongo's types of `command` are too narrow
    try:
        command("updateUser", name, roles=roles, **credentials)
    except OperationFailure as exc:
        if exc.code != _NO_SUCH_USER:
            raise
        command("createUser", name, roles=roles, **credentials)
