"""MongoDB as a replica set, also if it has one member, so that transactions and change streams work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from streamapp.connections import mongodb
from streamapp.local import cluster_size
from streamapp.local.cluster_size import REPLICA_SET
from streamapp.local.process import Server
from streamapp.local.secure_mongod import MongoSecurity
from streamapp.net import HOST, is_open

NOT_YET_INITIALIZED = 94
_CACHE_GB = 0.25
#: The changed part of the cache, in percent, at which MongoDB begins to write it: 50 MB, as with a cache of 1 GB and
#: MongoDB's default of 5 percent. Events whose times are not in order change pages all over the index of times, and
#: with 12 MB each page is written again and again. At the trigger, clients have to help.
_EVICTION = "eviction_dirty_target=20,eviction_dirty_trigger=40,eviction_updates_target=20,eviction_updates_trigger=40"
#: Time without a primary before an election; MongoDB's default of 10 s allows for slow networks.
ELECTION_TIMEOUT_MS = 3_000
HEARTBEAT_MS = 500


def uri(*ports: int) -> str:
    """Return the connection string of a single server, or of a replica set with all its members."""
    hosts = ",".join(f"{HOST}:{port}" for port in ports)
    return f"mongodb://{hosts}/?" + ("directConnection=true" if len(ports) == 1 else f"replicaSet={REPLICA_SET}")


def servers(
    *,
    program: Path,
    data_dir: Path,
    ports: Sequence[int],
    security: MongoSecurity | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Server, ...]:
    """Return the members of a replica set, not started; each has a data folder of its own."""
    return tuple(
        server(
            program=program,
            folder=cluster_size.folder(data_dir, "mongod", number),
            port=port,
            name=cluster_size.title("MongoDB", number, len(ports)),
            set_ports=ports,
            security=security,
            environ=environ,
        )
        for number, port in enumerate(ports, start=1)
    )


def server(  # noqa: PLR0913 - they are named
    *,
    program: Path,
    folder: Path,
    port: int,
    name: str = "MongoDB",
    set_ports: Sequence[int] | None = None,
    security: MongoSecurity | None = None,
    environ: Mapping[str, str] | None = None,
) -> Server:
    """Return a mongod with its data in `folder`, not started; `set_ports` are the ports of all members of its set."""
    data, all_ports = folder / "data", set_ports or [port]
    data.mkdir(parents=True, exist_ok=True)
    options = ["--bind_ip", HOST, "--port", str(port), "--dbpath", str(data), "--replSet", REPLICA_SET]
    options += ["--nounixsocket", "--quiet", "--oplogSize", "256"]
    options += ["--wiredTigerCacheSizeGB", str(_CACHE_GB), "--wiredTigerEngineConfigString", _EVICTION]
    options += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
    # Otherwise a member of a cluster waits up to 15 s for its clients before it stops.
    options += ["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"]
    options += security.options() if security else []
    admin_uri = security.admin_uri(port) if security else uri(port)
    return Server(
        name=name,
        command=[str(program), *options],
        log=folder / "mongod.log",
        port=port,
        environ=environ,
        answers=lambda: _answers(port, admin_uri, all_ports),
    )


def _answers(port: int, admin_uri: str, set_ports: Sequence[int]) -> bool:
    if not is_open(port):
        return False
    try:
        with mongodb.client(admin_uri, serverSelectionTimeoutMS=2000) as client:
            hello = client.admin.command("hello")
            if "primary" not in hello and port == set_ports[0]:
                _configure(client, [f"{HOST}:{each}" for each in set_ports])
            # A single member is ready only as the primary; for a moment before that it names itself as the primary.
            is_member = len(set_ports) > 1 and hello["secondary"] and "primary" in hello
            return hello["isWritablePrimary"] or is_member
    except PyMongoError:
        return False


def _configure(client: MongoClient[dict[str, Any]], addresses: Sequence[str]) -> None:
    """Configure the members of the replica set; the data of an earlier start may have other ports."""
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
