"""Read the facts of MongoDB, by commands that write nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient, timeout
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from streamapp.connections import mongodb
from streamapp.decode.document import Document
from streamapp.doctor.checks import mongo as checks
from streamapp.doctor.checks.events import EventsFacts, check_events
from streamapp.doctor.checks.finding import Findings, fault, ok, skipped, warning
from streamapp.doctor.checks.local import check_clock
from streamapp.doctor.checks.mongo import Rights, ServerFacts
from streamapp.doctor.checks.redaction import user_of
from streamapp.mongodb import event_retention
from streamapp.mongodb.access import access_refusal
from streamapp.mongodb.client import error_text
from streamapp.settings import Settings

ANSWER_SECONDS = 4.0
_REACH_MS = 2_500
_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18
_START_OR_SET = "start a local MongoDB with `streamapp up`, or set STREAMAPP_MONGO_URI=mongodb://<host:port>"
_LATER_CHECKS = ("mongodb.writable", "mongodb.rights", "mongodb.events", "mongodb.disk")


class MongoChecks:
    """The checks of MongoDB."""

    def __init__(self, settings: Settings, samples: Mapping[str, Document], redact: Callable[[str], str]) -> None:
        self._uri = mongodb.uri(settings)
        self._name = settings.mongo_database
        #: Documents as the worker stores them, by name of the version.
        self._samples = samples
        self._retention_days = settings.events_retention_days
        #: Removes secrets from texts of driver and server.
        self._redact = redact
        self.is_available = False

    def findings(self) -> Findings:
        """Run all checks."""
        try:
            client = mongodb.client(
                self._uri,
                appname="streamapp doctor",
                tz_aware=True,
                serverSelectionTimeoutMS=_REACH_MS,
                connectTimeoutMS=_REACH_MS,
                socketTimeoutMS=int(ANSWER_SECONDS * 1000),
            )
        except (PyMongoError, ValueError) as exc:  # a DNS error of mongodb+srv:// is raised here
            yield fault("mongodb.address", self._redacted(exc), "set STREAMAPP_MONGO_URI=mongodb://<host:port>")
            yield from _skipped("a reachable MongoDB")
            return
        with client:
            yield from self._connected(client)

    def is_stored(self, event_id: str) -> bool:
        """Whether there is an event with this `_id`; False if MongoDB cannot be asked."""
        if not self.is_available:
            return False
        with suppress(PyMongoError), mongodb.client(self._uri, timeoutMS=_REACH_MS) as client:
            return client[self._name]["events"].find_one({"_id": event_id}, {"_id": 1}) is not None
        return False

    def _connected(self, client: MongoClient[dict[str, Any]]) -> Findings:
        try:
            began = time.monotonic()
            hello = client.admin.command("hello", codec_options=client.codec_options)
            now = datetime.now(UTC)
            millis = (time.monotonic() - began) * 1000
            version = client.server_info()["version"]
            # Needs the login, which `hello` does not, and which the driver may not have tried before.
            client.admin.command("connectionStatus")
        except OperationFailure as exc:
            yield self._refusal(exc)
            yield from _skipped("a login that MongoDB accepts")
            return
        except (PyMongoError, ConfigurationError) as exc:
            cause, remedy = access_refusal(exc) or (self._redacted(exc), _START_OR_SET)
            yield fault("mongodb.address", cause, remedy)
            yield from _skipped("a reachable MongoDB")
            return
        self.is_available = True
        yield ok("mongodb.address", f"MongoDB {version} answers in {millis:.0f} ms")
        # The delay of the answer is at most the round trip, which is short against the limits.
        yield check_clock((hello["localTime"] - now).total_seconds())
        yield from self._server(client, hello)

    def _refusal(self, exc: OperationFailure) -> Any:
        user = user_of(self._uri)
        seen = f"MongoDB refuses the login{f' of {user}' if user else ''}: {self._redacted(exc)}"
        fix = "check user, password and authSource: STREAMAPP_MONGO_URI=mongodb://<user>:<password>@<host>/?authSource=admin"
        return fault("mongodb.login", seen, fix)

    def _server(self, client: MongoClient[dict[str, Any]], hello: Mapping[str, Any]) -> Findings:
        server = ServerFacts(hello=hello, write_block=_write_block(client), is_locked=_is_locked(client))
        yield checks.check_topology(server)
        yield checks.check_write_concern(client.write_concern.document, server)
        rights = self._rights(client)
        if rights is None:
            yield self._no_password()
            yield from _skipped("privileges on the database")
            return
        yield checks.check_writable(server, rights)
        yield checks.check_rights(rights, self._name)
        yield from self._database(client, rights.user)

    def _no_password(self) -> Any:
        seen = "MongoDB requires a password, but STREAMAPP_MONGO_URI has none"
        return fault(
            "mongodb.login", seen, "set STREAMAPP_MONGO_URI=mongodb://<user>:<password>@<host>/?authSource=admin"
        )

    def _rights(self, client: MongoClient[dict[str, Any]]) -> Rights | None:
        info = client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
        if users := info["authenticatedUsers"]:
            return Rights(user=users[0]["user"], privileges=info["authenticatedUserPrivileges"])
        try:
            client[self._name].command("listCollections", nameOnly=True)
        except OperationFailure as exc:
            if exc.code != _UNAUTHORIZED:
                raise
            return None
        return Rights(user="", privileges=None)

    def _database(self, client: MongoClient[dict[str, Any]], user: str) -> Findings:
        grant = checks.grant_command(user or "<user>", self._name)
        try:
            yield from check_events(self._events(client))
        except OperationFailure as exc:
            yield _unreadable("mongodb.events", self._redacted(exc), grant)
        try:
            yield checks.check_disk(client[self._name].command("dbStats"))
        except OperationFailure as exc:
            yield _unreadable("mongodb.disk", self._redacted(exc), grant)

    def _events(self, client: MongoClient[dict[str, Any]]) -> EventsFacts:
        database = client[self._name]
        found = next(iter(database.list_collections(filter={"name": "events"})), None)
        if found is None:
            return EventsFacts(database=self._name, exists=False)
        options = found.get("options", {})
        return EventsFacts(
            database=self._name,
            exists=True,
            options=options,
            indexes=[dict(index) for index in database["events"].list_indexes()],
            refused=self._refused(client, options.get("validator")),
            retention_days=self._retention_days,
            aged_out_before=event_retention.expiry(database).before(datetime.now(UTC)),
        )

    def _refused(self, client: MongoClient[dict[str, Any]], validator: Any) -> Sequence[str] | None:
        """Return the samples that a validator refuses, by an aggregation over them; None if this is impossible."""
        if not validator:
            return ()
        try:
            with timeout(ANSWER_SECONDS):
                return [name for name, sample in self._samples.items() if not self._passes(client, sample, validator)]
        except PyMongoError:
            return None  # MongoDB before 5.1 has no $documents

    def _passes(self, client: MongoClient[dict[str, Any]], sample: Document, validator: Any) -> bool:
        documents = [{"$documents": [{"$literal": sample}]}, {"$match": validator}]
        return bool(list(client[self._name].aggregate(documents)))

    def _redacted(self, exc: Exception) -> str:
        return self._redact(error_text(exc))


def _write_block(client: MongoClient[dict[str, Any]]) -> int | None:
    with suppress(OperationFailure):  # the user may lack the privilege
        return client.admin.command("serverStatus").get("repl", {}).get("userWriteBlockMode")
    return None


def _is_locked(client: MongoClient[dict[str, Any]]) -> bool:
    with suppress(OperationFailure):
        return bool(client.admin.command({"currentOp": 1, "$ownOps": True}).get("fsyncLock"))
    return False


def _unreadable(check: str, why: str, fix: str) -> Any:
    return warning(check, f"doctor cannot read this: {why}", fix)


def _skipped(needs: str) -> Findings:
    for check in _LATER_CHECKS:
        yield skipped(check, needs)
