"""Why MongoDB refuses a client: the login, a right, or TLS."""

from __future__ import annotations

import re

from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from streamapp.connections.tls_faults import (
    CLIENT_CERTIFICATE,
    TlsSettings,
    cause_in,
    probe,
    remedy,
    unverified_context,
)
from streamapp.mongodb.faults import ACCESS_CODES

_TLS = TlsSettings(
    ca="tlsCAFile in STREAMAPP_MONGO_URI, or STREAMAPP_TLS_CA_FILE,",
    certificate="tlsCertificateKeyFile in STREAMAPP_MONGO_URI",
    turn_on="tls=true in STREAMAPP_MONGO_URI",
    turn_off="tls=false in STREAMAPP_MONGO_URI",
    address="STREAMAPP_MONGO_URI",
)
#: The server quotes the whole command, with its documents.
_REFUSED_COMMAND = re.compile(r"not authorized on (\S+) to execute command \{ (\w+)")
#: A server closes the connection of a client without TLS, or without a client certificate.
_CLOSED = re.compile(r"([\w.-]+|\[[0-9a-f:]+\]):(\d+): (connection closed|\[Errno 104\]|EOF|.*UNEXPECTED_EOF)")
_OF_TLS = re.compile(r"SSL|EOF")


def access_refusal(exc: PyMongoError) -> tuple[str, str] | None:
    """Cause and remedy of a refused access; None for any other error."""
    if isinstance(exc, OperationFailure):
        return _refusal_of_server(exc)
    cause = _tls_fault(str(exc)) if isinstance(exc, ConnectionFailure) else None
    return (cause, remedy(cause, _TLS)) if cause else None


def _refusal_of_server(exc: OperationFailure) -> tuple[str, str] | None:
    if exc.code not in ACCESS_CODES:
        return None
    cause, remedy_ = ACCESS_CODES[exc.code]
    refused = _REFUSED_COMMAND.search(str(exc))
    return f"{cause} ({refused[2]} in the database {refused[1]})" if refused else cause, remedy_


def _tls_fault(error: str) -> str | None:
    closed = _CLOSED.search(error)
    if closed is None:
        return cause_in(error)
    host, port = closed[1].strip("[]"), int(closed[2])
    found = probe(host, port, unverified_context())
    # A server with TLS 1.3 refuses the certificate after the handshake: the error then has no word of TLS.
    return found if found == CLIENT_CERTIFICATE or _OF_TLS.search(error) else probe(host, port, None)
