"""A server that answers nothing, with TLS or without: enough for a client that must refuse it."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class TlsServer:
    """Accepts connections on a port of its own, and makes the handshake.

    Args:
        certificate: file with key and certificate; None for a server without TLS, which closes each connection.
        clients: file with the authority of client certificates, which are required then.
    """

    def __init__(self, certificate: Path | None, *, clients: Path | None = None) -> None:
        self._context = context_of(certificate, clients) if certificate else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(5)
            if self._context is None:
                connection.recv(1_000)
                return
            with self._context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1_000)


def context_of(certificate: Path, clients: Path | None = None) -> ssl.SSLContext:
    """Return the context of a server with this certificate, which requires those of clients if `clients` is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context
