"""Whether a broker requires a login, which librdkafka does not report: it sees that the broker closes the connection.

`requires_login` connects once more, without a login, and looks.
"""

from __future__ import annotations

import socket
import ssl
import struct

from streamapp.connections.tls_faults import PROBE_SECONDS

#: Requests of Kafka's protocol without a client id: api key, version, correlation id, and the fields.
_API_VERSIONS = struct.pack(">hhih", 18, 0, 1, -1)
#: Of no topics. A broker that requires a login closes the connection; every Kafka since 0.11 knows this version.
_METADATA = struct.pack(">hhihib", 3, 4, 2, -1, 0, 0)
#: More than any answer to these has, of Kafka.
_MAX_BYTES = 1 << 16


def requires_login(host: str, port: int, context: ssl.SSLContext | None) -> bool:
    """Whether a broker answers the first request of a client, and closes the connection at one that needs a login.

    Args:
        host: of the broker.
        port: of the broker.
        context: of the client; None for a client without TLS.
    """
    try:
        with socket.create_connection((host, port), timeout=PROBE_SECONDS) as raw:
            if context is None:
                return _is_closed(raw)
            with context.wrap_socket(raw, server_hostname=host) as secured:
                return _is_closed(secured)
    except OSError:  # ssl.SSLError is one
        return False


def _is_closed(connection: socket.socket) -> bool:
    return _is_answered(connection, _API_VERSIONS) and not _is_answered(connection, _METADATA)


def _is_answered(connection: socket.socket, request: bytes) -> bool:
    connection.sendall(struct.pack(">i", len(request)) + request)
    with connection.makefile("rb") as answers:
        size = answers.read(4)
        answer = answers.read(min(int.from_bytes(size), _MAX_BYTES))
    return answer[:4] == request[4:8]  # the correlation id
