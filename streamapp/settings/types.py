"""Types of settings: what values they accept, and errors that say what is wrong with others."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from streamapp.model.record import HEADER_PREFIX

MAX_PORT = 65535


def _is_utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("the instant in UTC must be within the years 1 to 9999") from None


def _has_ports(servers: str) -> str:
    if not all(1 <= int(server.rpartition(":")[2]) <= MAX_PORT for server in servers.split(",")):
        raise ValueError(f"a port must be a number from 1 to {MAX_PORT}")
    return servers


def _have_hosts(urls: str) -> str:
    for url in urls.split(","):
        _has_host(url)
    return urls


def _has_host(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0:
            return url
    except ValueError:
        pass
    raise ValueError(f"it must name a host (an IPv6 address in []), and a port must be a number from 1 to {MAX_PORT}")


def _is_topic(name: str) -> str:
    if name in {".", ".."}:
        raise ValueError("Kafka does not allow this name")
    return name


def _are_headers(names: str) -> str:
    if len({*names.split(",")}) != names.count(",") + 1:
        raise ValueError("a name is given twice")
    if any(name.startswith(HEADER_PREFIX) for name in names.split(",")):
        raise ValueError(f"the headers of dead letters, {HEADER_PREFIX}…, cannot be stored")
    return names


def _is_mongo_uri(uri: SecretStr) -> SecretStr:
    # The message must not repeat the value, which may contain a password.
    if not re.match(r"^mongodb(\+srv)?://[^\s/]", uri.get_secret_value()):
        raise ValueError("it must begin with mongodb:// or mongodb+srv:// and name a host")
    _check_with_driver(uri.get_secret_value())
    return uri


def _check_with_driver(uri: str) -> None:
    from pymongo import MongoClient  # noqa: PLC0415 - 0.2 s, which a command with the default does not need
    from pymongo.errors import PyMongoError  # noqa: PLC0415 - see above

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about unknown options: the client that connects repeats them
        try:
            # Reads the files that the URI names. Connects to no server and asks no DNS server.
            MongoClient[dict[str, object]](uri, connect=False).close()
        except OSError as exc:
            raise ValueError(f"a file in its TLS options cannot be used: {exc}") from None
        except (PyMongoError, ValueError):  # its message may contain a part of the value
            raise ValueError(
                "it is not a valid connection string. It must name a host. Ports are numbers from 1 to"
                f" {MAX_PORT}; mongodb+srv:// allows no port. Special characters in user and password are written as"
                " %XX, for example @ as %40. Its options and certificates must fit together"
            ) from None


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Port = Annotated[int, Field(ge=1, le=MAX_PORT)]
KafkaServers = Annotated[str, AfterValidator(_has_ports)]
Url = Annotated[str, AfterValidator(_has_host)]
Urls = Annotated[str, AfterValidator(_have_hosts)]
TopicName = Annotated[str, AfterValidator(_is_topic)]
HeaderNames = Annotated[str, AfterValidator(_are_headers)]
UtcDatetime = Annotated[datetime, AfterValidator(_is_utc)]
MongoUri = Annotated[SecretStr, AfterValidator(_is_mongo_uri)]
#: Kafka's documentation writes SASL_SSL, this one sasl_ssl; both are accepted.
AnyCaseLower, AnyCaseUpper = BeforeValidator(_lower), BeforeValidator(_upper)
