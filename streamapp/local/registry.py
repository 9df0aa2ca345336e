"""Apicurio Registry as one process, with the Confluent API and a file database."""

from __future__ import annotations

from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from streamapp.local import programs
from streamapp.local.ports import Ports
from streamapp.local.process import Server
from streamapp.net import HOST
from streamapp.registry.api_path import APICURIO_PATH

OK = 200


def url(port: int) -> str:
    """Return the address of the Confluent API."""
    return f"http://{HOST}:{port}{APICURIO_PATH}"


def server(*, java: Path, home: Path, folder: Path, ports: Ports) -> Server:
    """Return the registry with its data in `folder`, not started."""
    command = [*programs.jvm(java, folder), "-Xmx384m", "-jar", str(home / "quarkus-run.jar")]
    return Server(
        name="The schema registry",
        command=command,
        log=folder / "registry.log",
        port=ports.registry_itself,
        answers=lambda: _answers(ports.registry_itself),
        environ=_environ(folder / "schemas", ports),
    )


def _environ(database: Path, ports: Ports) -> dict[str, str]:
    return {
        # FILE_LOCK=NO: the data folder is locked already, and H2's own lock stays after a kill -9.
        # WRITE_DELAY=0: what the registry has acknowledged survives a kill -9.
        "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{database};FILE_LOCK=NO;WRITE_DELAY=0",
        "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "2",
        "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "2",
        "QUARKUS_HTTP_HOST": HOST,
        "QUARKUS_HTTP_PORT": str(ports.registry_itself),
        "QUARKUS_MANAGEMENT_HOST": HOST,
        "QUARKUS_MANAGEMENT_PORT": str(ports.registry_management),
        "QUARKUS_BANNER_ENABLED": "false",
        "QUARKUS_LOG_CATEGORY__IO_APICURIO__LEVEL": "WARN",
        "QUARKUS_LOG_CATEGORY__IO_QUARKUS_HTTP_ACCESS_LOG__LEVEL": "WARN",
    }


def _answers(port: int) -> bool:
    try:
        with closing(HTTPConnection(HOST, port, timeout=2)) as connection:  # without a proxy, unlike urllib
            connection.request("GET", f"{APICURIO_PATH}/subjects")
            return connection.getresponse().status == OK
    except (OSError, HTTPException):
        return False
