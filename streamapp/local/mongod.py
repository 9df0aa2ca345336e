"""MongoDB as one process: a replica set of one node, so that transactions and change streams work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from streamapp.local.ports import HOST, is_open
from streamapp.local.process import Server

REPLICA_SET = "rs0"
NOT_YET_INITIALIZED = 94


def uri(port: int) -> str:
    """Return the connection string."""
    return f"mongodb://{HOST}:{port}/?directConnection=true"


def server(*, program: Path, folder: Path, port: int) -> Server:
    """Return mongod, keeping its data in `folder`, ready to be started."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    options = ["--bind_ip", HOST, "--port", str(port), "--dbpath", str(data), "--replSet", REPLICA_SET]
    options += ["--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "256"]
    options += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
    return Server(
        name="MongoDB", command=[str(program), *options], log=folder / "mongod.log", answers=lambda: _answers(port)
    )


def _answers(port: int) -> bool:
    if not is_open(port):
        return False
    try:
        with MongoClient[dict[str, Any]](uri(port), serverSelectionTimeoutMS=2000) as client:
            return _is_primary(client, f"{HOST}:{port}")
    except PyMongoError:
        return False


def _is_primary(client: MongoClient[dict[str, Any]], address: str) -> bool:
    hello = client.admin.command("hello")
    if hello["isWritablePrimary"]:
        return True
    if "setName" not in hello:
        _join(client, address)
    return False


def _join(client: MongoClient[dict[str, Any]], address: str) -> None:
    """Make the node the only member of its set; data from an earlier start may know it by another port."""
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as exc:
        if exc.code != NOT_YET_INITIALIZED:
            raise
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": address}]})
    else:
        config["members"][0]["host"] = address
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)
