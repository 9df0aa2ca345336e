"""MongoDB as a replica set, of one node too, so that transactions and change streams work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from streamapp.local import cluster_size
from streamapp.local.process import Server
from streamapp.net import HOST, is_open

REPLICA_SET = "rs0"
NOT_YET_INITIALIZED = 94
#: Between a primary's death and an election, on one machine; MongoDB's default of 10 s is for networks.
ELECTION_TIMEOUT_MS = 3_000
HEARTBEAT_MS = 500


def uri(*ports: int) -> str:
    """Return the connection string: of one server, or of a set with all of its members."""
    hosts = ",".join(f"{HOST}:{port}" for port in ports)
    return f"mongodb://{hosts}/?" + ("directConnection=true" if len(ports) == 1 else f"replicaSet={REPLICA_SET}")


def servers(*, program: Path, data_dir: Path, ports: Sequence[int]) -> tuple[Server, ...]:
    """Return the members of a set, each keeping its data in a folder of its own, ready to be started."""
    return tuple(
        server(
            program=program,
            folder=cluster_size.folder(data_dir, "mongod", number),
            port=port,
            name=cluster_size.title("MongoDB", number, len(ports)),
            together=ports,
        )
        for number, port in enumerate(ports, start=1)
    )


def server(
    *, program: Path, folder: Path, port: int, name: str = "MongoDB", together: Sequence[int] | None = None
) -> Server:
    """Return a mongod, keeping its data in `folder`; `together` are its set's ports; the first makes the set."""
    data, set_ports = folder / "data", together or [port]
    data.mkdir(parents=True, exist_ok=True)
    options = ["--bind_ip", HOST, "--port", str(port), "--dbpath", str(data), "--replSet", REPLICA_SET]
    options += ["--nounixsocket", "--quiet", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "256"]
    options += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
    # A member of several would spend 15 s on telling its clients that it goes.
    options += ["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"]
    return Server(
        name=name,
        command=[str(program), *options],
        log=folder / "mongod.log",
        answers=lambda: _answers(port, set_ports),
    )


def _answers(port: int, together: Sequence[int]) -> bool:
    if not is_open(port):
        return False
    try:
        with MongoClient[dict[str, Any]](uri(port), serverSelectionTimeoutMS=2000) as client:
            hello = client.admin.command("hello")
            if "primary" not in hello and port == together[0]:
                _join(client, [f"{HOST}:{each}" for each in together])
            return hello["isWritablePrimary"] or (hello["secondary"] and "primary" in hello)
    except PyMongoError:
        return False


def _join(client: MongoClient[dict[str, Any]], addresses: Sequence[str]) -> None:
    """Make these the members of the set; data from an earlier start may know them by other ports."""
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as exc:
        if exc.code != NOT_YET_INITIALIZED:
            raise
        client.admin.command("replSetInitiate", _new_set(addresses))
        return
    if [member["host"] for member in config["members"]] != addresses:
        for member, address in zip(config["members"], addresses, strict=True):
            member["host"] = address
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)


def _new_set(addresses: Sequence[str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "_id": REPLICA_SET,
        "members": [{"_id": number, "host": address} for number, address in enumerate(addresses)],
    }
    if len(addresses) > 1:
        config["settings"] = {"electionTimeoutMillis": ELECTION_TIMEOUT_MS, "heartbeatIntervalMillis": HEARTBEAT_MS}
    return config
