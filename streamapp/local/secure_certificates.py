"""Certificates of a secured backend: of its own certificate authority, of each server, and of each user."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from streamapp.local import secure_files
from streamapp.local.programs import missing
from streamapp.net import HOST

_VALID = timedelta(days=820)
#: Certificates of users have another unit than those of servers: MongoDB takes those of one organisation and unit for
#: members of its cluster.
SERVERS, CLIENTS = "servers", "clients"
ORGANISATION = "streamapp"


class Authority:
    """A certificate authority; its key stays in the folder, for later starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self._library = _Library()
        key_file = folder / "ca.key"
        if not self.ca_file.exists() or not key_file.exists():
            self._create(key_file)
        self._key = self._library.load_key(key_file.read_bytes())
        self._certificate = self._library.load_certificate(self.ca_file.read_bytes())

    def server(self, name: str) -> Path:
        """Issue a certificate for a server on this machine; return the file with key and certificate."""
        return self._issue(name, SERVERS, [HOST, "localhost"])

    def client(self, name: str) -> Path:
        """Issue a certificate for a user; return the file with key and certificate."""
        return self._issue(name, CLIENTS, [])

    def _create(self, key_file: Path) -> None:
        key = self._library.new_key()
        name = self._library.name("streamapp local CA", "authority")
        certificate = self._library.sign(name, key, issuer=name, issuer_key=key, hosts=[], is_ca=True)
        secure_files.write(key_file, self._library.key_pem(key))
        secure_files.write(self.ca_file, self._library.certificate_pem(certificate))

    def _issue(self, name: str, unit: str, hosts: Sequence[str]) -> Path:
        key, subject = self._library.new_key(), self._library.name(name, unit)
        issuer = self._certificate.subject
        certificate = self._library.sign(subject, key, issuer=issuer, issuer_key=self._key, hosts=hosts, is_ca=False)
        pem = self._library.key_pem(key) + self._library.certificate_pem(certificate)
        return secure_files.write(self.folder / f"{unit}-{name}.pem", pem)


class _Library:
    """As much of the package cryptography as is needed; it is in the extra 'local'."""

    def __init__(self) -> None:
        try:
            self._x509: Any = import_module("cryptography.x509")
            self._oids: Any = import_module("cryptography.x509.oid")
            self._hashes: Any = import_module("cryptography.hazmat.primitives.hashes")
            self._serialization: Any = import_module("cryptography.hazmat.primitives.serialization")
            self._ec: Any = import_module("cryptography.hazmat.primitives.asymmetric.ec")
        except ImportError:
            raise missing("cryptography") from None

    def new_key(self) -> Any:
        return self._ec.generate_private_key(self._ec.SECP256R1())

    def key_pem(self, key: Any) -> bytes:
        library = self._serialization
        return key.private_bytes(library.Encoding.PEM, library.PrivateFormat.PKCS8, library.NoEncryption())

    def certificate_pem(self, certificate: Any) -> bytes:
        return certificate.public_bytes(self._serialization.Encoding.PEM)

    def load_key(self, pem: bytes) -> Any:
        return self._serialization.load_pem_private_key(pem, None)

    def load_certificate(self, pem: bytes) -> Any:
        return self._x509.load_pem_x509_certificate(pem)

    def name(self, common_name: str, unit: str) -> Any:
        oid, attribute = self._oids.NameOID, self._x509.NameAttribute
        parts = [(oid.ORGANIZATION_NAME, ORGANISATION), (oid.ORGANIZATIONAL_UNIT_NAME, unit)]
        return self._x509.Name([attribute(*part) for part in [*parts, (oid.COMMON_NAME, common_name)]])

    def sign(  # noqa: PLR0913 - they are named
        self, subject: Any, key: Any, *, issuer: Any, issuer_key: Any, hosts: Sequence[str], is_ca: bool
    ) -> Any:
        """Return a certificate with the extensions that RFC 5280 demands, which Python 3.13 checks."""
        x509, now = self._x509, datetime.now(UTC)
        usages = ("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign")
        other_usages = ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
        granted = dict.fromkeys(usages, True) | {"key_encipherment": False} if is_ca else {usages[0]: True}
        flags = dict.fromkeys((*usages, *other_usages), False) | granted
        purposes = [self._oids.ExtendedKeyUsageOID.SERVER_AUTH, self._oids.ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + _VALID * (10 if is_ca else 1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**flags), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if not is_ca:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if hosts:
            names = [self._alternative_name(host) for host in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(issuer_key, self._hashes.SHA256())

    def _alternative_name(self, host: str) -> Any:
        try:
            return self._x509.IPAddress(ip_address(host))
        except ValueError:
            return self._x509.DNSName(host)
