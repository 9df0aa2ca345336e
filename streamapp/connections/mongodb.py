"""The connections to MongoDB: that of the worker and the commands, and that of the dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

from pymongo import MongoClient

from streamapp.connections.tls import TlsFiles
from streamapp.settings import Settings

_SRV = "mongodb+srv://"
_TLS, _CA_FILE = frozenset({"tls", "ssl"}), "tlscafile"
#: Options that turn TLS on if neither of _TLS is given: with any value, and with the value false. As in pymongo's
#: client_options; tlsInsecure stands for the two options tlsAllowInvalid….
_TLS_IMPLIED = frozenset({"tlscertificatekeyfile", "tlscertificatekeyfilepassword", "tlscrlfile"})
_TLS_IMPLIED_IF_FALSE = frozenset(
    {"tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames", "tlsdisableocspendpointcheck"}
)


def uri(settings: Settings) -> str:
    """Return the connection string of the worker and the commands, with the file of certificate authorities.

    Raises:
        SettingsError: the file cannot be used.
    """
    return _with_ca(settings.mongo_uri.get_secret_value(), settings)


def dashboard_uri(settings: Settings) -> str:
    """Return the connection string of the dashboard: its own, or else that of the worker."""
    own = settings.dashboard_mongo_uri or settings.mongo_uri
    return _with_ca(own.get_secret_value(), settings)


def client(uri: str, **options: Any) -> MongoClient[dict[str, Any]]:
    """Return a client for a string of `uri` or `dashboard_uri`."""
    return MongoClient(uri, **options)


def _with_ca(uri: str, settings: Settings) -> str:
    """Add the file of certificate authorities to a connection string that uses TLS and names none."""
    options = {name.lower(): value for name, value in parse_qsl(uri.partition("?")[2])}
    if not _uses_tls(uri, options) or _CA_FILE in options:
        return uri
    files = TlsFiles(ca_file=settings.tls_ca_file)
    files.context()  # an error in the file has the setting's name here, and not in the driver
    option = f"tlsCAFile={quote(files.cas, safe='')}"
    if "?" in uri:
        return f"{uri}&{option}"
    return f"{uri}?{option}" if "/" in uri.partition("//")[2] else f"{uri}/?{option}"


def _uses_tls(uri: str, options: Mapping[str, str]) -> bool:
    if explicit := [options[name] == "true" for name in _TLS & options.keys()]:
        return any(explicit)
    is_implied = _TLS_IMPLIED & options.keys() or any(options.get(name) == "false" for name in _TLS_IMPLIED_IF_FALSE)
    return bool(is_implied) or uri.startswith(_SRV)
