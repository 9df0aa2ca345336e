"""A MongoDB that answers, and takes nothing."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient

from streamapp.errors import BackendError
from tests.faults.catalogue import fault
from tests.faults.environment import Scene

OUT_OF_DISK_SPACE = 14_031
#: Bytes; every file of a MongoDB that is in use is larger.
FILE_LIMIT = 1024 * 1024


@contextmanager
def told(scene: Scene, begin: dict[str, Any], end: dict[str, Any]) -> Iterator[None]:
    """Have MongoDB do something until it is told to end it."""
    with MongoClient[Any](scene.settings.mongo_uri.get_secret_value()) as client:
        client.admin.command(begin)
        try:
            yield
        finally:
            client.admin.command(end)


@fault("mongodb-read-only", "mongod", disturbs=False)
def mongodb_read_only(scene: Scene) -> None:
    """MongoDB refuses all writes of users."""
    name = "setUserWriteBlockMode"
    with told(scene, {name: 1, "global": True}, {name: 1, "global": False}):
        scene.linger(scene.seconds(1 + scene.source.random() * 6, 300))


@fault("mongodb-disk-full", "mongod", disturbs=False)
def mongodb_disk_full(scene: Scene) -> None:
    """MongoDB answers every write with OutOfDiskSpace."""
    fail = {"failCommands": ["insert", "update", "commitTransaction"], "errorCode": OUT_OF_DISK_SPACE}
    name = {"configureFailPoint": "failCommand"}
    with told(scene, {**name, "mode": "alwaysOn", "data": fail}, {**name, "mode": "off"}):
        scene.linger(scene.seconds(1 + scene.source.random() * 6, 300))


@fault("mongodb-file-limit", "mongod", disturbs=False)
def mongodb_file_limit(scene: Scene) -> None:
    """MongoDB's files may not grow, of which it dies; it is started again with room."""
    server = scene.backend.mongod
    resource.prlimit(server.pid or 0, resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
    try:
        give_up_at = time.monotonic() + 20
        while time.monotonic() < give_up_at and _runs(scene):
            scene.linger(0.2)
    finally:
        server.restart()


@fault("mongodb-steps-down", "mongod", disturbs=False)
def mongodb_steps_down(scene: Scene) -> None:
    """The primary steps down, and is elected again after a while."""
    with MongoClient[Any](scene.settings.mongo_uri.get_secret_value()) as client:
        seconds = int(scene.seconds(scene.source.randint(1, 8), 120))
        client.admin.command({"replSetStepDown": seconds, "force": True})
    scene.linger(seconds)
    scene.backend.mongod.wait_until_ready()


def _runs(scene: Scene) -> bool:
    try:
        scene.backend.mongod.check()
    except BackendError:
        return False
    return True
