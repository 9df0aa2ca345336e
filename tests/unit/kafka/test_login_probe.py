"""A broker that requires a login closes the connection of a client without one, and says nothing."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.tls import TlsFiles
from streamapp.errors import BrokerAccessRefused
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.login_probe import requires_login
from tests.support.certificates import Authority
from tests.support.tls_server import context_of

HOST = "127.0.0.1"
API_VERSIONS, METADATA = 18, 3
UNSUPPORTED_VERSION = 35
#: The requests that a client needs, with their versions.
VERSIONS = b"".join(struct.pack(">hhh", *versions) for versions in ((0, 0, 9), (METADATA, 0, 9), (API_VERSIONS, 0, 0)))


@contextmanager
def broker(*answered: int, certificate: Path | None = None) -> Generator[int]:
    """Run a broker that answers these requests and closes the connection at others; yield its port."""
    context = context_of(certificate) if certificate else None
    with socket.create_server((HOST, 0)) as listener:

        def serve(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                connection.settimeout(5)
                secured = context.wrap_socket(connection, server_side=True) if context else connection
                with secured:
                    while (size := secured.recv(4)) and (request := secured.recv(int.from_bytes(size))):
                        key, version, correlation_id = struct.unpack(">hhi", request[:8])
                        if key not in answered:
                            return
                        error = UNSUPPORTED_VERSION if version and key == API_VERSIONS else 0
                        answer = struct.pack(">ihi", correlation_id, error, len(VERSIONS) // 6) + VERSIONS
                        secured.sendall(struct.pack(">i", len(answer)) + answer)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize(
    ("answered", "expected"), [((API_VERSIONS,), True), ((API_VERSIONS, METADATA), False), ((), False)]
)
@pytest.mark.parametrize("is_secured", [False, True])
def test_only_a_broker_that_closes_at_the_second_request_requires_a_login(
    tmp_path: Path, answered: tuple[int, ...], expected: bool, is_secured: bool
) -> None:
    """A server that answers nothing is no broker."""
    authority = Authority(tmp_path)
    certificate = authority.issue("server", hosts=[HOST]) if is_secured else None
    context = TlsFiles(ca_file=authority.file).context() if is_secured else None
    with broker(*answered, certificate=certificate) as port:
        assert expected is requires_login(HOST, port, context)


def test_a_server_that_does_not_run_or_speaks_no_tls_requires_no_login(tmp_path: Path) -> None:
    context = TlsFiles(ca_file=Authority(tmp_path).file).context()
    with broker(API_VERSIONS) as port:
        assert not requires_login(HOST, port, context)
    assert not requires_login(HOST, port, None)


def test_a_login_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TLS librdkafka reports nothing but that the brokers are down."""
    monkeypatch.setattr("streamapp.kafka.admin.PING_TIMEOUT", 0.3)
    authority = Authority(tmp_path)
    with broker(API_VERSIONS, certificate=authority.issue("server", hosts=[HOST])) as port:
        connection = KafkaConnection(servers=f"{HOST}:{port}", protocol="ssl", tls=TlsFiles(ca_file=authority.file))
        with pytest.raises(BrokerAccessRefused, match=r"requires a login on this port. Set .*_PROTOCOL to sasl_ssl"):
            asyncio.run(KafkaAdmin(connection).ping())
