"""Why the schema registry refuses a client: the login, a right, or TLS."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from streamapp.connections.tls_faults import TlsSettings, cause_in, probe, remedy

#: HTTP status → cause and remedy.
REFUSALS = {
    401: (
        "the user, the password or the token is wrong or missing",
        (
            "Correct STREAMAPP_SCHEMA_REGISTRY_USERNAME and STREAMAPP_SCHEMA_REGISTRY_PASSWORD, or"
            " STREAMAPP_SCHEMA_REGISTRY_BEARER_TOKEN"
        ),
    ),
    403: (
        "the user lacks a right",
        "Give the user the right to read subjects and schemas, and to register if STREAMAPP_REGISTER_SCHEMAS is true",
    ),
}
_TLS = TlsSettings(
    ca="STREAMAPP_SCHEMA_REGISTRY_SSL_CA_FILE or STREAMAPP_TLS_CA_FILE",
    certificate="STREAMAPP_SCHEMA_REGISTRY_SSL_CERTIFICATE_FILE and STREAMAPP_SCHEMA_REGISTRY_SSL_KEY_FILE",
    turn_on="https:// in STREAMAPP_SCHEMA_REGISTRY_URL",
    turn_off="http:// in STREAMAPP_SCHEMA_REGISTRY_URL",
    address="STREAMAPP_SCHEMA_REGISTRY_URL",
)
_HTTP_PORT = 80


def tls_refusal(urls: str, error: str) -> tuple[str, str] | None:
    """Cause and remedy if an error of httpx is about TLS; None for any other error.

    Args:
        urls: of the registry, separated by commas. A server with TLS closes the connection of a client without it.
        error: the text of the error.
    """
    cause = cause_in(error)
    for url in urls.split(","):
        with suppress(ValueError):
            parts = urlsplit(url.strip())
            if cause is None and parts.scheme == "http" and parts.hostname:
                cause = probe(parts.hostname, parts.port or _HTTP_PORT, None)
    return (cause, remedy(cause, _TLS)) if cause else None
