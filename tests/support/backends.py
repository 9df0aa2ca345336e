"""Run local backends for tests."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from streamapp import net
from streamapp.local import mongod, programs
from streamapp.local.backend import Backend
from streamapp.local.process import Server
from streamapp.local.secure import SecurityOptions
from streamapp.settings import Settings


def plain_settings(**values: Any) -> Settings:
    """Return settings without the values of a `.env`."""
    return Settings(**{"_env_file": None, **values})


@contextmanager
def running_backend(
    data_dir: Path | None = None,
    *,
    brokers: int | None = None,
    mongods: int | None = None,
    secure: bool | SecurityOptions = False,
    **values: Any,
) -> Generator[Backend]:
    """Run a backend on free ports, with its data in a temporary folder unless one is given."""
    with (
        tempfile.TemporaryDirectory(prefix="streamapp-test-", ignore_cleanup_errors=True) as folder,
        Backend(
            data_dir or Path(folder),
            plain_settings(**values),
            usual_ports=False,
            brokers=brokers,
            mongods=mongods,
            secure=secure,
        ) as backend,
    ):
        yield backend


@contextmanager
def standalone_mongod(folder: Path, *options: str) -> Generator[int]:
    """Run a MongoDB that is not a replica set, with its data in this folder; yield its port."""
    port = net.choose_port()
    place = ["--bind_ip", net.HOST, "--port", str(port), "--dbpath", str(folder), "--nounixsocket"]
    command = [str(programs.mongod(None)), *place, "--wiredTigerCacheSizeGB", "0.25", *options]
    server = Server(name="MongoDB", command=command, log=folder / "mongod.log", answers=lambda: _answers(port))
    server.start()
    try:
        yield port
    finally:
        server.stop()


def _answers(port: int) -> bool:
    try:
        with MongoClient[Any](mongod.uri(port), serverSelectionTimeoutMS=500) as client:
            return bool(client.admin.command("ping")["ok"])
    except PyMongoError:
        return False
