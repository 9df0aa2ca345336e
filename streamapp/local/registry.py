"""Apicurio Registry as one process, with the Confluent API, keeping its schemas in a file."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

from streamapp.local import ports, programs
from streamapp.local.process import Server

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/apis/ccompat/v7"
OK = 200


def url(port: int) -> str:
    """Return the address of the Confluent API."""
    return f"http://{ports.HOST}:{port}{PATH}"


def server(*, java: Path, home: Path, folder: Path, port: int, management_port: int) -> Server:
    """Return the registry, keeping its data in `folder`, ready to be started."""
    command = [str(java), *programs.JVM_FLAGS, "-Xmx384m", "-jar", str(home / "quarkus-run.jar")]
    return Server(
        name="Schema registry",
        command=command,
        log=folder / "registry.log",
        answers=lambda: _answers(port),
        environ=_environ(folder / "schemas", port, management_port),
    )


def _environ(database: Path, port: int, management_port: int) -> dict[str, str]:
    return {
        # Our data folder is locked already, and H2's own lock outlives a kill -9. No delay: what was answered is kept.
        "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{database};FILE_LOCK=NO;WRITE_DELAY=0",
        "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "2",
        "QUARKUS_HTTP_HOST": ports.HOST,
        "QUARKUS_HTTP_PORT": str(port),
        "QUARKUS_MANAGEMENT_HOST": ports.HOST,
        "QUARKUS_MANAGEMENT_PORT": str(management_port),
        "QUARKUS_BANNER_ENABLED": "false",
        "QUARKUS_LOG_CATEGORY__IO_APICURIO__LEVEL": "WARN",
        "QUARKUS_LOG_CATEGORY__IO_QUARKUS_HTTP_ACCESS_LOG__LEVEL": "WARN",
    }


def _answers(port: int) -> bool:
    try:
        with closing(HTTPConnection(ports.HOST, port, timeout=2)) as connection:  # never by way of a proxy
            connection.request("GET", f"{PATH}/subjects")
            return connection.getresponse().status == OK
    except (OSError, HTTPException):
        return False
