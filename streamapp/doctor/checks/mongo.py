"""Judge MongoDB: who it is, whether it takes writes, from us, and whether it keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, warning

#: What the worker does to each of its collections.
NEEDED: tuple[str, ...] = ("find", "insert", "update", "remove", "createIndex", "createCollection")
COLLECTIONS = (
    "events",
    "rollups_1m",
    "rollups_10m",
    "rollups_1h",
    "rollups_1d",
    "pipeline_state",
    "schema_versions",
    "dead_letters",
)
#: Share and bytes of a disk that must be free.
LITTLE_DISK = 0.1
NO_DISK_BYTES = 1_000_000_000

_OWNS = "bypassWriteBlockingMode"
#: As serverStatus has it.
BLOCKED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What `hello` and their like tell."""

    hello: Mapping[str, Any]
    #: See `BLOCKED`; None where it was not told.
    write_block: int | None = None
    is_locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What `connectionStatus` tells of us."""

    user: str
    #: None where the server asks for no password.
    privileges: Sequence[Mapping[str, Any]] | None

    def actions(self, database: str, collection: str) -> set[str]:
        """What we may do to a collection."""
        return {
            action
            for privilege in self.privileges or ()
            if _covers(privilege["resource"], database, collection)
            for action in privilege["actions"]
        }

    @property
    def may_write_when_blocked(self) -> bool:
        """Whether the user write block mode holds for others only."""
        return self.privileges is None or any(_OWNS in privilege["actions"] for privilege in self.privileges)


def _covers(resource: Mapping[str, Any], database: str, collection: str) -> bool:
    if resource.get("anyResource"):
        return True
    return resource.get("db") in {"", database} and resource.get("collection") in {"", collection}


def judge_topology(server: ServerFacts) -> Finding:
    """Whether there are transactions."""
    check, hello = "mongodb.replica_set", server.hello
    if name := hello.get("setName"):
        return ok(check, f"replica set {name} of {_members(hello)}")
    if hello.get("msg") == "isdbgrid":
        return ok(check, "a sharded cluster")
    seen = (
        "no replica set, hence no transactions: a crash while dead letters are replayed may leave events out of the"
        " rollups, and this MongoDB is the only copy"
    )
    return warning(check, seen, 'start mongod with --replSet rs0, then: mongosh --eval "rs.initiate()"')


def _members(hello: Mapping[str, Any]) -> int:
    return len(hello.get("hosts", ())) + len(hello.get("passives", ()))


def judge_writable(server: ServerFacts, rights: Rights) -> Finding:
    """Whether it takes writes at all."""
    check = "mongodb.writable"
    if not server.hello.get("isWritablePrimary"):
        primary = server.hello.get("primary")
        seen = f"it is not the primary, which is {primary}" if primary else "the replica set has no primary"
        fix = "name the replica set and not one member: STREAMAPP_MONGO_URI=mongodb://<hosts>/?replicaSet="
        return fault(check, f"{seen}: writes are refused", fix + str(server.hello.get("setName", "rs0")))
    if server.is_locked:
        return fault(check, "it is locked by fsyncLock: writes wait", 'mongosh --eval "db.fsyncUnlock()"')
    if server.write_block == BLOCKED and not rights.may_write_when_blocked:
        fix = 'mongosh --eval "db.adminCommand({setUserWriteBlockMode: 1, global: false})"'
        return fault(check, "user writes are blocked (setUserWriteBlockMode)", fix)
    return ok(check, "it is the primary, and takes writes")


def judge_rights(rights: Rights, database: str) -> Finding:
    """Whether we may do what the worker does."""
    if rights.privileges is None:
        return ok("mongodb.rights", "it asks for no password")
    lacking = {name: missing for name in COLLECTIONS if (missing := _missing(rights, database, name))}
    if not lacking:
        return ok("mongodb.rights", f"{rights.user} may read, write and index {database}")
    actions = [action for action in NEEDED if any(action in missing for missing in lacking.values())]
    seen = f"{rights.user} may not {', '.join(actions)} in {', '.join(f'{database}.{name}' for name in lacking)}"
    return fault("mongodb.rights", seen, grant(rights.user, database))


def _missing(rights: Rights, database: str, collection: str) -> set[str]:
    return set(NEEDED) - rights.actions(database, collection)


def grant(user: str, database: str) -> str:
    """The command that gives a user what the worker needs."""
    role = f'{{role: "readWrite", db: "{database}"}}'
    return f"mongosh admin --eval 'db.grantRolesToUser(\"{user}\", [{role}])', in the database of the user"


def judge_write_concern(concern: Mapping[str, Any], server: ServerFacts) -> Finding:
    """What the connection string asks for; empty is the worker's own, majority."""
    w, members = concern.get("w", "majority"), _members(server.hello)
    check, fix = "mongodb.write_concern", "take w out of STREAMAPP_MONGO_URI, or write w=majority there"
    if w == 0:
        return fault(check, "w=0: a write that fails is not noticed, and its event is lost", fix)
    if w == 1 and members > 1:
        seen = (
            f"w=1 with {members} members: what only the primary has is lost with it, though Kafka's offset is committed"
        )
        return warning(check, seen, fix)
    return ok(check, f"w={w}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsFacts:
    """The collection `events`."""

    database: str
    exists: bool
    #: As listCollections has them.
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    #: As listIndexes has them.
    indexes: Sequence[Mapping[str, Any]] = ()
    #: Our versions whose sample the validator refuses; None where that could not be tried.
    refused: Sequence[str] | None = ()


#: Index → its keys and the options that matter.
_WANTED: Mapping[str, Mapping[str, Any]] = {
    "event_timestamp_1": {"key": {"event_timestamp": 1}},
    "apart": {"key": {"event_timestamp": 1}, "partialFilterExpression": {"kafka.apart": True}},
}
_OPTIONS = ("key", "partialFilterExpression", "sparse", "unique", "expireAfterSeconds", "collation", "hidden")


def judge_events(events: EventsFacts) -> Findings:
    """Whether it takes our documents, and keeps them."""
    if not events.exists:
        yield ok("mongodb.events", f"{events.database}.events will be made, with its indexes")
        return
    yield from _kept(events)
    yield _validator(events)
    yield _indexes(events)


def _kept(events: EventsFacts) -> Iterator[Finding]:
    check, name = "mongodb.kept", f"{events.database}.events"
    if events.options.get("capped"):
        fix = (
            f"make it anew, uncapped: mongosh {events.database} --eval 'db.events.renameCollection(\"events_capped\")'"
        )
        yield fault(check, f"{name} is capped: new events drive out old ones", fix)
        return
    if ttl := [each for each in events.indexes if "expireAfterSeconds" in each]:
        after = f"{ttl[0]['expireAfterSeconds']:,} s"
        seen = f"index {ttl[0]['name']} deletes events after {after}; the rollups go on counting them"
        yield warning(check, seen, _drop(events, ttl[0]))
        return
    yield ok(check, f"{name} keeps events for ever")


def _validator(events: EventsFacts) -> Finding:
    check = "mongodb.validator"
    if not events.options.get("validator"):
        return ok(check, "there is none")
    if events.refused is None:
        seen = "there is one; whether it takes our documents cannot be told without writing"
        return warning(check, seen, "compare it with a document of the README: db.getCollectionInfos({name: 'events'})")
    if not events.refused:
        return ok(check, "it takes our documents")
    seen = f"it refuses our documents ({', '.join(events.refused)})"
    off = f'mongosh {events.database} --eval \'db.runCommand({{collMod: "events", validationLevel: "off"}})\''
    if events.options.get("validationAction", "error") == "warn":
        return warning(check, f"{seen}, and only warns in MongoDB's log", off)
    return fault(check, f"{seen}: every event becomes a dead letter", off)


def _indexes(events: EventsFacts) -> Finding:
    check = "mongodb.indexes"
    there = {index["name"]: _essence(index) for index in events.indexes}
    if unique := [index for index in events.indexes if index.get("unique")]:
        seen = f"index {unique[0]['name']} is unique: a second event with its values becomes a dead letter"
        return fault(check, seen, _drop(events, unique[0]))
    if wrong := [index for index in events.indexes if _is_in_the_way(index, there)]:
        seen = f"index {wrong[0]['name']} is in the way of ours, which cannot be made: the page reads slowly"
        return warning(check, seen, f"{_drop(events, wrong[0])}, and start the worker again")
    if missing := [name for name in _WANTED if _WANTED[name] not in there.values()]:
        return ok(check, f"{', '.join(missing)} will be made")
    return ok(check, f"{', '.join(_WANTED)} are there")


def _essence(index: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(index[name]) for name in _OPTIONS if name in index}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _is_in_the_way(index: Mapping[str, Any], there: Mapping[str, Mapping[str, Any]]) -> bool:
    essence, name = _essence(index), index["name"]
    if essence in _WANTED.values():
        return False
    # Of the same name, or with the same keys and no filter of its own, which MongoDB takes for the same index.
    same_keys = essence["key"] == {"event_timestamp": 1} and "partialFilterExpression" not in essence
    return name in _WANTED or (same_keys and _WANTED["event_timestamp_1"] not in there.values())


def _drop(events: EventsFacts, index: Mapping[str, Any]) -> str:
    return f"mongosh {events.database} --eval 'db.events.dropIndex(\"{index['name']}\")'"


def judge_disk(stats: Mapping[str, Any]) -> Finding:
    """What is left of the disk that MongoDB writes to (dbStats)."""
    total, used = stats.get("fsTotalSize"), stats.get("fsUsedSize")
    if not total or used is None:
        return ok("mongodb.disk", "how much is free was not told")
    free = total - used
    seen = f"{free / 1e9:.1f} GB of {total / 1e9:.1f} GB are free"
    fix = "make room, or keep rollups and events for less long"
    if free < NO_DISK_BYTES:
        return fault("mongodb.disk", seen, fix)
    return warning("mongodb.disk", seen, fix) if free < LITTLE_DISK * total else ok("mongodb.disk", seen)
