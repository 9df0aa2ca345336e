"""The connections to MongoDB: the file of certificate authorities, and the user of the dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from streamapp.connections import mongodb
from streamapp.connections.tls import system_ca_file
from streamapp.errors import SettingsError
from tests.support.backends import plain_settings

if TYPE_CHECKING:
    from tests.unit.connections.conftest import Certificates

CA = system_ca_file()
CA_IN_URI = quote(CA, safe="")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://h", "mongodb://h"),
        ("mongodb://h/?tls=false", "mongodb://h/?tls=false"),
        ("mongodb://h/?tls=true", f"mongodb://h/?tls=true&tlsCAFile={CA_IN_URI}"),
        ("mongodb://h/?ssl=true", f"mongodb://h/?ssl=true&tlsCAFile={CA_IN_URI}"),
        ("mongodb+srv://h", f"mongodb+srv://h/?tlsCAFile={CA_IN_URI}"),
        ("mongodb+srv://u:p@h/db", f"mongodb+srv://u:p@h/db?tlsCAFile={CA_IN_URI}"),
        ("mongodb+srv://h/?ssl=false", "mongodb+srv://h/?ssl=false"),
        (f"mongodb://h/?tls=true&tlsCAFile={CA}", f"mongodb://h/?tls=true&tlsCAFile={CA}"),
        (f"mongodb://h/?TLS=true&TLSCAFILE={CA}", f"mongodb://h/?TLS=true&TLSCAFILE={CA}"),
    ],
)
def test_a_connection_string_with_tls_gets_the_ca_file(uri: str, expected: str) -> None:
    """One that uses no TLS, or names a file, stays as it is."""
    assert expected == mongodb.uri(plain_settings(mongo_uri=uri, tls_ca_file=CA))


@pytest.mark.parametrize(
    "option",
    [
        "tlsCertificateKeyFilePassword=x",
        "tlsInsecure=false",
        "tlsInsecure=true",
        "tlsAllowInvalidCertificates=false",
        "tlsAllowInvalidCertificates=true",
        "tlsAllowInvalidHostnames=false",
        "tlsDisableOCSPEndpointCheck=false",
        "retryWrites=false",
    ],
)
def test_an_option_that_turns_tls_on_is_known(option: str) -> None:
    """Where the driver uses TLS without tls=true, it gets the CA file."""
    uri = f"mongodb://h/?{option}"
    with mongodb.client(uri, connect=False) as client:
        uses_tls = client.options.pool_options._ssl_context is not None

    assert uses_tls == (CA_IN_URI in mongodb.uri(plain_settings(mongo_uri=uri, tls_ca_file=CA)))


def test_a_client_certificate_turns_tls_on(certificates: Certificates) -> None:
    """As it does in the driver, which would check the server with other authorities."""
    uri = f"mongodb://h/?tlsCertificateKeyFile={quote(str(certificates.server), safe='')}"

    assert f"{uri}&tlsCAFile={CA_IN_URI}" == mongodb.uri(plain_settings(mongo_uri=uri, tls_ca_file=CA))


def test_without_a_ca_file_the_store_of_the_system_is_used() -> None:
    """The same store as for Kafka and the registry."""
    tested = mongodb.uri(plain_settings(mongo_uri="mongodb://h/?tls=true"))

    with mongodb.client(tested, connect=False) as client:
        assert client.options.pool_options._ssl_context
    assert Path(system_ca_file()).name in tested


def test_the_dashboard_has_its_own_connection_string() -> None:
    """Without one it uses that of the worker."""
    both = plain_settings(mongo_uri="mongodb://worker", dashboard_mongo_uri="mongodb://reader")

    assert ("mongodb://worker", "mongodb://reader") == (mongodb.uri(both), mongodb.dashboard_uri(both))
    assert "mongodb://worker" == mongodb.dashboard_uri(plain_settings(mongo_uri="mongodb://worker"))


def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The driver's error would have no setting."""
    with pytest.raises(SettingsError, match=r"STREAMAPP_TLS_CA_FILE is invalid: .*nowhere\.pem does not exist"):
        mongodb.uri(plain_settings(mongo_uri="mongodb://h/?tls=true", tls_ca_file=tmp_path / "nowhere.pem"))
