"""A MongoDB that answers and refuses writes."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient

from streamapp.errors import BackendError
from tests.faults.catalogue import fault
from tests.faults.environment import Environment

OUT_OF_DISK_SPACE = 14_031
#: Bytes; every file of a MongoDB in use is larger.
FILE_LIMIT = 1024 * 1024


@contextmanager
def with_admin_command(environment: Environment, begin: dict[str, Any], end: dict[str, Any]) -> Iterator[None]:
    """Run an admin command of MongoDB, and another one that ends its effect."""
    with MongoClient[Any](environment.settings.mongo_uri.get_secret_value()) as client:
        client.admin.command(begin)
        try:
            yield
        finally:
            client.admin.command(end)


@fault("mongodb-read-only", "mongod", disturbs=False)
def mongodb_read_only(environment: Environment) -> None:
    """MongoDB refuses all writes of users."""
    name = "setUserWriteBlockMode"
    with with_admin_command(environment, {name: 1, "global": True}, {name: 1, "global": False}):
        environment.let_time_pass(environment.seconds(1 + environment.source.random() * 6, 300))


@fault("mongodb-disk-full", "mongod", disturbs=False)
def mongodb_disk_full(environment: Environment) -> None:
    """MongoDB answers every write with OutOfDiskSpace."""
    fail = {"failCommands": ["insert", "update", "commitTransaction"], "errorCode": OUT_OF_DISK_SPACE}
    name = {"configureFailPoint": "failCommand"}
    with with_admin_command(environment, {**name, "mode": "alwaysOn", "data": fail}, {**name, "mode": "off"}):
        environment.let_time_pass(environment.seconds(1 + environment.source.random() * 6, 300))


@fault("mongodb-file-limit", "mongod", disturbs=False)
def mongodb_file_limit(environment: Environment) -> None:
    """MongoDB's files may not grow, which ends it; it restarts without the limit."""
    server = environment.backend.mongod
    resource.prlimit(server.pid or 0, resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    try:
        give_up_at = time.monotonic() + 20
        while time.monotonic() < give_up_at and _runs(environment):
            environment.let_time_pass(0.2)
    finally:
        server.restart()


@fault("mongodb-steps-down", "mongod", disturbs=False)
def mongodb_steps_down(environment: Environment) -> None:
    """The primary steps down, and is elected again after a while."""
    with MongoClient[Any](environment.settings.mongo_uri.get_secret_value()) as client:
        seconds = int(environment.seconds(environment.source.randint(1, 8), 120))
        client.admin.command({"replSetStepDown": seconds, "force": True})
    environment.let_time_pass(seconds)
    environment.backend.mongod.wait_until_ready()


def _runs(environment: Environment) -> bool:
    try:
        environment.backend.mongod.check()
    except BackendError:
        return False
    return True
