"""Why a connection with TLS fails, in words that name the setting: the texts of OpenSSL are the same in every client.

Clients hide the reason: librdkafka says only that a certificate could not be verified, and a client without TLS sees a
connection that the server closes. `probe` connects once more, and looks.
"""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass

#: Seconds for each step of a probe.
PROBE_SECONDS = 2.0
#: Seconds in which a server with TLS 1.3 refuses a client certificate, after the handshake.
_REFUSAL_SECONDS = 0.5

_EXPIRED = "the server's certificate has expired or is not valid yet"
_OTHER_NAME = "the server's certificate is for another host name"
_UNKNOWN_CA = "the server's certificate comes from an unknown certificate authority"
CLIENT_CERTIFICATE = "the server refuses the client certificate, or requires one"
_NO_TLS = "the server does not speak TLS on this port"
_ONLY_TLS = "the server speaks TLS on this port"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """The settings of one server's connections, as messages name them."""

    #: With the certificate authorities.
    ca: str
    #: With the client certificate.
    certificate: str
    #: That turn TLS on and off, with their values.
    turn_on: str
    turn_off: str
    #: With the address.
    address: str


#: Words in the text of an error → what is wrong. The first that matches counts.
_CAUSES = (
    (
        r"alert (certificate (required|expired|unknown|revoked)|(bad|unsupported) certificate|unknown ca)",
        CLIENT_CERTIFICATE,
    ),
    (r"did not return a certificate|client SSL authentication might be required", CLIENT_CERTIFICATE),
    (r"certificate has expired|certificate is not yet valid", _EXPIRED),
    (r"(hostname|ip address) mismatch|not valid for|doesn't match", _OTHER_NAME),
    (r"self[- ]signed certificate|unable to (get|verify)|certificate verify failed|could not be verified", _UNKNOWN_CA),
    (r"wrong.version.number|record layer failure|PLAINTEXT broker listener|packet length too long", _NO_TLS),
    (r"EOF occurred in violation|unexpected.eof|been closed \(EOF\)|handshake failed.*(reset|closed)", _NO_TLS),
    (r"SSL listener", _ONLY_TLS),
)


def cause_in(text: str) -> str | None:
    """What is wrong with TLS, by the text of an error; None if it is not about TLS."""
    return next((cause for words, cause in _CAUSES if re.search(words, text, re.IGNORECASE)), None)


def remedy(cause: str, settings: TlsSettings) -> str:
    """What to correct."""
    return {
        _EXPIRED: f"Renew the certificate of the server, or check the clock of this machine ({settings.address})",
        _OTHER_NAME: f"Use the name that is in the certificate in {settings.address}, or issue a certificate for it",
        _UNKNOWN_CA: f"Set {settings.ca} to the file with its certificate authority (PEM)",
        CLIENT_CERTIFICATE: f"Set {settings.certificate} to a certificate that the server accepts, and its key",
        _NO_TLS: f"Use {settings.turn_off}, or the port with TLS",
        _ONLY_TLS: f"Use {settings.turn_on}, or the port without TLS",
    }[cause]


def probe(host: str, port: int, context: ssl.SSLContext | None) -> str | None:
    """What is wrong with TLS, by a connection of its own; None if nothing is, or if there is no connection.

    Args:
        host: of the server.
        port: of the server.
        context: of the client; None for a client without TLS.
    """
    try:
        with socket.create_connection((host, port), timeout=PROBE_SECONDS) as raw:
            return _probe_without_tls(raw) if context is None else _probe_with_tls(raw, host, context)
    except OSError:
        return None


def _probe_with_tls(raw: socket.socket, host: str, context: ssl.SSLContext) -> str | None:
    try:
        with context.wrap_socket(raw, server_hostname=host) as connection:
            connection.settimeout(_REFUSAL_SECONDS)
            connection.recv(1)
    except TimeoutError:
        return None
    except (ssl.SSLError, ConnectionError) as exc:
        found = cause_in(str(exc))
        # Python 3.11 has had both errors for a server that closes the connection during the handshake.
        is_closed = isinstance(exc, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError))
        return found or (_NO_TLS if is_closed else None)
    return None


def unverified_context() -> ssl.SSLContext:
    """A context for probes only: nothing is sent, what counts is whether the server speaks TLS, and what it demands."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _probe_without_tls(raw: socket.socket) -> str | None:
    try:
        unverified_context().wrap_socket(raw).close()
    except ssl.SSLError as exc:
        return _ONLY_TLS if cause_in(str(exc)) == CLIENT_CERTIFICATE else None
    except OSError:
        return None
    return _ONLY_TLS
