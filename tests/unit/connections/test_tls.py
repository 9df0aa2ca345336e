"""TLS: the same files for every client, and errors that name the setting."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from streamapp.connections import tls
from streamapp.connections.tls import TlsFiles
from streamapp.errors import SettingsError
from tests.support.backends import plain_settings

if TYPE_CHECKING:
    from tests.unit.connections.conftest import Certificates

KEY_PASSWORD = "of-the-key"


def test_a_private_ca_is_the_only_one(certificates: Certificates) -> None:
    """The context knows this certificate authority, and checks host names."""
    context = TlsFiles(ca_file=certificates.ca).context()

    names: list[Any] = [ca["subject"] for ca in context.get_ca_certs()]
    assert ["streamapp local CA"] == [dict(pair[0] for pair in name)["commonName"] for name in names]
    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)


def test_without_a_ca_all_clients_have_the_store_of_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSL_CERT_FILE wins; a system without a store has that of certifi."""
    store = tmp_path / "store.pem"
    store.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    assert {"ssl.ca.location": str(store)} == TlsFiles().librdkafka()

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    monkeypatch.setattr(tls, "_SYSTEM_FILES", ())
    assert Path(tls.system_ca_file()).name == "cacert.pem"
    assert TlsFiles().context().get_ca_certs()


def test_librdkafka_gets_the_same_files(certificates: Certificates) -> None:
    """The key is in the file of the certificate unless it has one of its own."""
    files = TlsFiles(ca_file=certificates.ca, certificate_file=certificates.client)

    assert {
        "ssl.ca.location": str(certificates.ca),
        "ssl.certificate.location": str(certificates.client),
        "ssl.key.location": str(certificates.client),
    } == files.librdkafka()


def test_an_encrypted_key_is_opened_with_its_password(certificates: Certificates) -> None:
    """Both libraries get the password."""
    files = TlsFiles(
        certificate_file=certificates.client,
        key_file=certificates.encrypted_key,
        key_password=SecretStr(KEY_PASSWORD),
    )

    files.context()
    assert KEY_PASSWORD == files.librdkafka()["ssl.key.password"]
    assert KEY_PASSWORD not in repr(files)


@pytest.mark.parametrize("password", [None, SecretStr("wrong")])
def test_a_wrong_key_password_is_an_error_and_not_a_question(
    certificates: Certificates, password: SecretStr | None
) -> None:
    """OpenSSL would ask for it on the terminal."""
    files = TlsFiles(
        certificate_file=certificates.client,
        key_file=certificates.encrypted_key,
        key_password=password,
        settings="kafka_ssl",
    )

    with pytest.raises(SettingsError, match=r"STREAMAPP_KAFKA_SSL_CERTIFICATE_FILE and .*password is wrong"):
        files.context()


def test_a_key_in_place_of_its_file_is_not_printed(certificates: Certificates) -> None:
    """A key has no folder that exists."""
    with pytest.raises(SettingsError, match="the path in it") as raised:
        TlsFiles(certificate_file=certificates.client, key_file=Path("-----BEGIN PRIVATE KEY-----\nab/cd")).context()

    assert "BEGIN" not in str(raised.value)


@pytest.mark.parametrize("setting", ["tls_ca_file", "kafka_ssl_ca_file", "schema_registry_ssl_ca_file"])
@pytest.mark.parametrize(("content", "expected"), [(None, "does not exist"), ("no PEM", "does not hold certificates")])
def test_a_ca_file_that_cannot_be_used_is_named(
    tmp_path: Path, setting: str, content: str | None, expected: str
) -> None:
    """The check at the start of the worker names setting, file and reason."""
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)

    with pytest.raises(SettingsError) as raised:
        tls.check(plain_settings(kafka_security_protocol="ssl", schema_registry_url="https://r", **{setting: file}))

    assert f"STREAMAPP_{setting.upper()}" in str(raised.value)
    assert str(file) in str(raised.value)
    assert expected in str(raised.value)


def test_the_setting_of_one_server_wins(certificates: Certificates) -> None:
    """TLS_CA_FILE is for all servers that have no file of their own."""
    settings = plain_settings(tls_ca_file=certificates.ca, kafka_ssl_ca_file=certificates.other_ca)

    assert certificates.other_ca == TlsFiles.of_kafka(settings).ca_file
    assert certificates.ca == TlsFiles.of_registry(settings).ca_file


def test_files_of_connections_without_tls_are_not_read(tmp_path: Path) -> None:
    """`streamapp up` runs a command on servers without TLS, beside a `.env` for other servers."""
    nowhere = tmp_path / "nowhere.pem"

    tls.check(plain_settings(kafka_ssl_ca_file=nowhere, schema_registry_ssl_ca_file=nowhere))


def test_certificates_of_the_local_backend_are_valid_by_the_strict_rules(certificates: Certificates) -> None:
    """Python 3.13 checks what RFC 5280 demands of certificates."""
    client, server = TlsFiles(ca_file=certificates.ca).context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server.load_cert_chain(certificates.server)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(4):
        for side in sides:
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()

    assert {"subjectAltName", "issuer"} <= {*(sides[0].getpeercert() or {})}
