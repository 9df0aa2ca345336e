"""TLS: one set of files for every client, and one store of certificate authorities.

The clients have different defaults: librdkafka searches a few paths, Python asks OpenSSL, httpx brings a store of its
own. Here all of them get the same file.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import certifi
from pydantic import SecretStr

from streamapp.errors import SettingsError
from streamapp.settings import Settings, variable
from streamapp.settings.sources import printable

#: Where operating systems keep their certificate authorities in one file: Debian and Alpine, Fedora and Red Hat, SUSE,
#: macOS.
_SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The files of one server's connections, with the names of their settings for errors.

    Args:
        ca_file: certificates of the certificate authorities; None means those of the system.
        certificate_file: client certificate; None means no mutual TLS.
        key_file: its private key; None means that it is in `certificate_file`.
        key_password: of an encrypted key.
        settings: prefix of the settings, for example `kafka_ssl`.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: SecretStr | None = None
    settings: str = "tls"

    @classmethod
    def of_kafka(cls, settings: Settings) -> Self:
        """Return the files for Kafka."""
        return cls(
            ca_file=settings.kafka_ssl_ca_file or settings.tls_ca_file,
            certificate_file=settings.kafka_ssl_certificate_file,
            key_file=settings.kafka_ssl_key_file,
            key_password=settings.kafka_ssl_key_password,
            settings="kafka_ssl",
        )

    @classmethod
    def of_registry(cls, settings: Settings) -> Self:
        """Return the files for the schema registry."""
        return cls(
            ca_file=settings.schema_registry_ssl_ca_file or settings.tls_ca_file,
            certificate_file=settings.schema_registry_ssl_certificate_file,
            key_file=settings.schema_registry_ssl_key_file,
            settings="schema_registry_ssl",
        )

    @property
    def cas(self) -> str:
        """Path of the file with the certificate authorities."""
        return str(self.ca_file or system_ca_file())

    def context(self) -> ssl.SSLContext:
        """Return a context that checks certificate and host name of the server.

        Raises:
            SettingsError: a file cannot be used; the message names its setting.
        """
        try:
            context = ssl.create_default_context(cafile=self.cas)
        except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
            name = "tls_ca_file" if self.settings == "tls" else f"{self.settings}_ca_file"
            names = variable("tls_ca_file") if name == "tls_ca_file" else f"{variable(name)} or STREAMAPP_TLS_CA_FILE"
            raise SettingsError(f"{names} is invalid: {self.cas} {_why(exc, 'certificates (PEM)')}.") from None
        if self.certificate_file is not None:
            self._load_certificate(context, self.certificate_file)
        return context

    def librdkafka(self) -> dict[str, str]:
        """Return the properties of librdkafka."""
        config = {"ssl.ca.location": self.cas}
        if self.certificate_file is not None:
            config["ssl.certificate.location"] = str(self.certificate_file)
            config["ssl.key.location"] = str(self.key_file or self.certificate_file)
        if self.key_password is not None:
            config["ssl.key.password"] = self.key_password.get_secret_value()
        return config

    def _load_certificate(self, context: ssl.SSLContext, certificate: Path) -> None:
        password = self.key_password.get_secret_value() if self.key_password else ""
        try:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, self.key_file, lambda: password)
        except OSError as exc:
            names = f"{variable(f'{self.settings}_certificate_file')} and {variable(f'{self.settings}_key_file')}"
            files = f"{certificate}{f', {printable(self.key_file)}' if self.key_file else ''}"
            why = _why(exc, "a certificate and its private key (PEM) that fit together, or the key's password is wrong")
            raise SettingsError(f"{names} are invalid: {files}: {why}.") from None


def check(settings: Settings) -> None:
    """Raise SettingsError if a file that a connection needs cannot be used."""
    if settings.tls_ca_file:
        TlsFiles(ca_file=settings.tls_ca_file).context()
    if settings.kafka_security_protocol.endswith("ssl"):
        TlsFiles.of_kafka(settings).context()
    if "https://" in settings.schema_registry_url:
        TlsFiles.of_registry(settings).context()


def system_ca_file() -> str:
    """Return the file with the certificate authorities of the system: of SSL_CERT_FILE, of OpenSSL, or certifi's."""
    found = ssl.get_default_verify_paths().cafile  # heeds SSL_CERT_FILE; None if there is no such file
    return found or next((file for file in _SYSTEM_FILES if Path(file).is_file()), certifi.where())


def _why(exc: OSError | ValueError, expected: str) -> str:
    if isinstance(exc, FileNotFoundError):
        return "does not exist"
    if isinstance(exc, PermissionError):
        return "cannot be read by this user"
    return f"does not hold {expected}"
