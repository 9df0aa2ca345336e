"""The connection to the registry: credentials, TLS, and several URLs."""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from streamapp.connections.registry import RegistryConnection
from streamapp.net import HOST
from streamapp.registry.client import RegistryClient, RegistryUnavailable
from tests.support.backends import plain_settings

if TYPE_CHECKING:
    from tests.unit.connections.conftest import Certificates

PASSWORD = "with:colons:and ünicode"
TIMEOUT = httpx.Timeout(5.0)


@contextmanager
def serving(context: ssl.SSLContext | None = None, status: int = 200) -> Generator[tuple[int, list[str]]]:
    """Answer every request; yield the port, and the Authorization headers that came."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer((HOST, 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        server.server_close()


def subjects(**values: Any) -> Any:
    """Ask for the subjects with the library's client."""
    return RegistryConnection.of(plain_settings(**values)).client(TIMEOUT).get_subjects()


def test_a_password_with_colons() -> None:
    """The library itself would split it."""
    with serving() as (port, seen):
        subjects(
            schema_registry_url=f"http://{HOST}:{port}",
            schema_registry_username="u",
            schema_registry_password=PASSWORD,
        )

    assert [f"u:{PASSWORD}"] == [base64.b64decode(each.removeprefix("Basic ")).decode() for each in seen]


def test_no_credentials_are_sent_unless_given() -> None:
    """The library itself would send an empty user."""
    with serving() as (port, seen):
        subjects(schema_registry_url=f"http://{HOST}:{port}/")

    assert [""] == seen


def test_a_bearer_token_file_is_read_for_each_request(tmp_path: Path) -> None:
    """Another program renews it."""
    file = tmp_path / "token"
    file.write_text("first\n")
    with serving() as (port, seen):
        settings = plain_settings(schema_registry_url=f"http://{HOST}:{port}", schema_registry_bearer_token_file=file)
        client = RegistryConnection.of(settings).client(TIMEOUT)
        client.get_subjects()
        file.write_text("second\n")
        client.get_subjects()

    assert ["Bearer first", "Bearer second"] == seen


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_a_bearer_token_file_that_is_being_written_is_waited_out(tmp_path: Path, content: bytes | None) -> None:
    """The request fails as one without an answer, and the error names the setting; a later one succeeds."""
    file = tmp_path / "token"
    file.write_text("first")
    with serving() as (port, seen):
        settings = plain_settings(schema_registry_url=f"http://{HOST}:{port}", schema_registry_bearer_token_file=file)
        registry = RegistryClient(RegistryConnection.of(settings), "subject")
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(RegistryUnavailable, match="STREAMAPP_SCHEMA_REGISTRY_BEARER_TOKEN_FILE"):
            asyncio.run(registry.versions())
        file.write_text("second")
        asyncio.run(registry.versions())
        registry.close()

    assert ["Bearer second"] == seen


def test_a_private_ca_without_a_client_certificate(certificates: Certificates) -> None:
    """The library itself would ignore the CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.server)
    with serving(context) as (port, _):
        url = f"https://{HOST}:{port}"
        assert [] == subjects(schema_registry_url=url, tls_ca_file=certificates.ca)
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            subjects(schema_registry_url=url, tls_ca_file=certificates.other_ca)


def test_a_client_certificate(certificates: Certificates) -> None:
    """For a registry that requires mutual TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.ca))
    context.load_cert_chain(certificates.server)
    context.verify_mode = ssl.CERT_REQUIRED
    with serving(context) as (port, _):
        found = subjects(
            schema_registry_url=f"https://{HOST}:{port}",
            schema_registry_ssl_ca_file=certificates.ca,
            schema_registry_ssl_certificate_file=certificates.client,
        )

    assert [] == found


def test_urls_are_tried_in_turn() -> None:
    """One that does not answer, and one that answers 503, are passed over; the one that answered is asked first."""
    with serving(status=503) as (broken, seen_by_broken), serving() as (port, seen):
        urls = f"http://{HOST}:1,http://{HOST}:{broken},http://{HOST}:{port}/"
        connection = RegistryConnection(url=urls)
        client = connection.client(TIMEOUT)
        assert [] == client.get_subjects()
        assert [] == client.get_subjects()
        requests = connection.requests(5.0)
        assert 200 == requests.request("GET", "/subjects", json=None, headers={}).status_code
        requests.close()

    assert (2, 3) == (len(seen_by_broken), len(seen))


def test_the_last_error_is_raised_if_no_url_answers() -> None:
    """The caller waits and tries again."""
    client = RegistryConnection(url=f"http://{HOST}:1,http://{HOST}:2").client(TIMEOUT)

    with pytest.raises(httpx.ConnectError):
        client.get_subjects()
