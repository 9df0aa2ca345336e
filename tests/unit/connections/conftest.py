"""A certificate authority with certificates of a server and a client."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from streamapp.local.secure_certificates import Authority

KEY_PASSWORD = "of-the-key"


class Certificates(NamedTuple):
    """Files in PEM."""

    ca: Path
    server: Path
    client: Path
    #: The key of `client`, encrypted with `KEY_PASSWORD`.
    encrypted_key: Path
    other_ca: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return the files."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, other = Authority(folder / "one"), Authority(folder / "other")
    client = authority.client("alice")
    key = load_pem_private_key(client.read_bytes(), None)
    encryption = BestAvailableEncryption(KEY_PASSWORD.encode())
    encrypted = folder / "encrypted.key"
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return Certificates(authority.ca_file, authority.server("server"), client, encrypted, other.ca_file)
