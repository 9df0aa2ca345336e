"""Check the MongoDB server: topology, writability, privileges, write concern and disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamapp.doctor.checks.finding import Finding, fault, ok, warning

#: Actions that the worker needs on each of its collections.
REQUIRED_ACTIONS: tuple[str, ...] = ("find", "insert", "update", "remove", "createIndex", "createCollection")
COLLECTIONS = (
    "events",
    "rollups_1m",
    "rollups_10m",
    "rollups_1h",
    "rollups_1d",
    "pipeline_state",
    "schema_versions",
    "canonical_schemas",
    "dead_letters",
    "failed_offsets",
)
#: A lower fraction of free disk space is a warning, fewer bytes are a fault.
LOW_DISK_RATIO = 0.1
MIN_DISK_BYTES = 1_000_000_000

_BYPASS_ACTION = "bypassWriteBlockingMode"
#: The value of userWriteBlockMode in serverStatus that blocks writes.
WRITES_BLOCKED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """The state of the server: the answer of `hello`, and its locks."""

    hello: Mapping[str, Any]
    #: See `WRITES_BLOCKED`; None if it is unknown.
    write_block: int | None = None
    is_locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """The privileges of the connection, by `connectionStatus`."""

    user: str
    #: None if the server requires no password.
    privileges: Sequence[Mapping[str, Any]] | None

    def actions(self, database: str, collection: str) -> set[str]:
        """Return the actions allowed on a collection."""
        return {
            action
            for privilege in self.privileges or ()
            if _covers(privilege["resource"], database, collection)
            for action in privilege["actions"]
        }

    @property
    def may_write_when_blocked(self) -> bool:
        """Whether the user may write while user writes are blocked."""
        return self.privileges is None or any(_BYPASS_ACTION in privilege["actions"] for privilege in self.privileges)


def _covers(resource: Mapping[str, Any], database: str, collection: str) -> bool:
    if resource.get("anyResource"):
        return True
    return resource.get("db") in {"", database} and resource.get("collection") in {"", collection}


def check_topology(server: ServerFacts) -> Finding:
    """Check that MongoDB supports transactions."""
    check, hello = "mongodb.replica_set", server.hello
    if name := hello.get("setName"):
        return ok(check, f"replica set {name} with {_members(hello)} members")
    if hello.get("msg") == "isdbgrid":
        return ok(check, "MongoDB is a sharded cluster")
    seen = (
        "MongoDB is not a replica set. It has no transactions, so a crash during a replay of dead letters can leave"
        " events out of the rollups. It is the only copy of the data"
    )
    return warning(check, seen, 'restart mongod with --replSet rs0, then run: mongosh --eval "rs.initiate()"')


def _members(hello: Mapping[str, Any]) -> int:
    return len(hello.get("hosts", ())) + len(hello.get("passives", ()))


def check_writable(server: ServerFacts, rights: Rights) -> Finding:
    """Check that MongoDB accepts writes."""
    check = "mongodb.writable"
    if not server.hello.get("isWritablePrimary"):
        primary = server.hello.get("primary")
        seen = f"the member is not the primary, which is {primary}" if primary else "the replica set has no primary"
        start = "" if primary else "start the members of the replica set; "
        fix = (
            f"{start}connect to the replica set, not to one member: STREAMAPP_MONGO_URI=mongodb://<hosts>/?replicaSet="
        )
        return fault(check, f"{seen}: MongoDB refuses writes", fix + str(server.hello.get("setName", "rs0")))
    if server.is_locked:
        return fault(
            check,
            "MongoDB is locked by fsyncLock: writes wait until it is unlocked",
            'mongosh --eval "db.fsyncUnlock()"',
        )
    if server.write_block == WRITES_BLOCKED and not rights.may_write_when_blocked:
        fix = 'mongosh --eval "db.adminCommand({setUserWriteBlockMode: 1, global: false})"'
        return fault(check, "user writes are blocked (setUserWriteBlockMode): MongoDB refuses writes", fix)
    return ok(check, "MongoDB accepts writes")


def check_rights(rights: Rights, database: str) -> Finding:
    """Check that the user has the privileges that the worker needs."""
    if rights.privileges is None:
        return ok("mongodb.rights", "MongoDB requires no password")
    missing_by_collection = {name: missing for name in COLLECTIONS if (missing := _missing(rights, database, name))}
    if not missing_by_collection:
        return ok("mongodb.rights", f"the user {rights.user} has all required privileges on {database}")
    actions = [
        action for action in REQUIRED_ACTIONS if any(action in missing for missing in missing_by_collection.values())
    ]
    collections = ", ".join(f"{database}.{name}" for name in missing_by_collection)
    seen = f"the user {rights.user} lacks the privileges {', '.join(actions)} on {collections}: the worker needs them"
    return fault("mongodb.rights", seen, grant_command(rights.user, database))


def _missing(rights: Rights, database: str, collection: str) -> set[str]:
    return set(REQUIRED_ACTIONS) - rights.actions(database, collection)


def grant_command(user: str, database: str) -> str:
    """Return the command that grants a user the privileges that the worker needs."""
    role = f'{{role: "readWrite", db: "{database}"}}'
    command = f"mongosh admin --eval 'db.grantRolesToUser(\"{user}\", [{role}])'"
    return f"{command} (instead of admin, the authentication database of the user)"


def check_write_concern(concern: Mapping[str, Any], server: ServerFacts) -> Finding:
    """Check the write concern of the connection string; the worker's default is majority."""
    w, members = concern.get("w", "majority"), _members(server.hello)
    check, fix = "mongodb.write_concern", "remove w from STREAMAPP_MONGO_URI, or set w=majority there"
    if w == 0:
        return fault(
            check, "the write concern is w=0: the worker does not notice a failed write, and its events are lost", fix
        )
    if w == 1 and members > 1:
        seen = (
            f"the write concern is w=1, and the replica set has {members} members: if the primary fails, events"
            " that only it has are lost, although their offsets are committed"
        )
        return warning(check, seen, fix)
    return ok(check, f"the write concern is w={w}")


def check_disk(stats: Mapping[str, Any]) -> Finding:
    """Check the free space of the disk of MongoDB, by dbStats."""
    total, used = stats.get("fsTotalSize"), stats.get("fsUsedSize")
    if not total or used is None:
        return ok("mongodb.disk", "MongoDB does not report the free disk space")
    free = total - used
    seen = f"{free / 1e9:.1f} GB of {total / 1e9:.1f} GB disk space are free"
    fix = "free disk space, or set STREAMAPP_EVENTS_RETENTION_DAYS=<days> or lower STREAMAPP_ROLLUPS_*_RETENTION_DAYS"
    if free >= MIN_DISK_BYTES and free >= LOW_DISK_RATIO * total:
        return ok("mongodb.disk", seen)
    finding = fault if free < MIN_DISK_BYTES else warning
    return finding("mongodb.disk", f"{seen}: MongoDB stops when the disk is full", fix)
