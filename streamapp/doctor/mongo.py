"""Ask MongoDB, by commands that write nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient, timeout
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from streamapp.decode.document import Document
from streamapp.doctor.checks import mongo as judge
from streamapp.doctor.checks.finding import Findings, fault, ok, skipped, warning
from streamapp.doctor.checks.local import judge_clock
from streamapp.doctor.checks.mongo import EventsFacts, Rights, ServerFacts
from streamapp.doctor.checks.redaction import user_of
from streamapp.mongodb.client import error_text
from streamapp.settings import Settings

ANSWER_SECONDS = 4.0
_REACH_MS = 2_500
_UNAUTHORIZED, _AUTHENTICATION_FAILED = 13, 18
_STARTS_LOCALLY = "`streamapp up` starts a local one, or STREAMAPP_MONGO_URI=mongodb://<host:port>"
_REST = ("mongodb.writable", "mongodb.rights", "mongodb.events", "mongodb.disk")


class MongoChecks:
    """The checks of MongoDB."""

    def __init__(self, settings: Settings, samples: Mapping[str, Document], hide: Callable[[str], str]) -> None:
        self._uri = settings.mongo_uri.get_secret_value()
        self._name = settings.mongo_database
        #: What the worker would store: name of the version → document.
        self._samples = samples
        #: Keeps secrets out of what driver and server say.
        self._hide = hide

    def findings(self) -> Findings:
        """All checks, in their order."""
        try:
            client: MongoClient[dict[str, Any]] = MongoClient(
                self._uri,
                appname="streamapp doctor",
                tz_aware=True,
                serverSelectionTimeoutMS=_REACH_MS,
                connectTimeoutMS=_REACH_MS,
                socketTimeoutMS=int(ANSWER_SECONDS * 1000),
            )
        except (PyMongoError, ValueError) as exc:  # mongodb+srv:// is looked up here
            yield fault("mongodb.address", self._said(exc), "STREAMAPP_MONGO_URI=mongodb://<host:port>")
            yield from _skipped("a MongoDB that answers")
            return
        with client:
            yield from self._of(client)

    def _of(self, client: MongoClient[dict[str, Any]]) -> Findings:
        try:
            began = time.monotonic()
            hello = client.admin.command("hello", codec_options=client.codec_options)
            now = datetime.now(UTC)
            millis = (time.monotonic() - began) * 1000
            version = client.server_info()["version"]
            # Asked only now: `hello` needs no password, and the driver does not always try it before.
            client.admin.command("connectionStatus")
        except OperationFailure as exc:
            yield self._refusal(exc)
            yield from _skipped("a user that MongoDB lets in")
            return
        except (PyMongoError, ConfigurationError) as exc:
            yield fault("mongodb.address", self._said(exc), _STARTS_LOCALLY)
            yield from _skipped("a MongoDB that answers")
            return
        yield ok("mongodb.address", f"MongoDB {version} answers in {millis:.0f} ms")
        # Half of the time that the question took, if at all, is the way back.
        yield judge_clock((hello["localTime"] - now).total_seconds())
        yield from self._server(client, hello)

    def _refusal(self, exc: OperationFailure) -> Any:
        seen = f"MongoDB does not let {user_of(self._uri) or 'us'} in: {self._said(exc)}"
        fix = "check user, password and authSource of STREAMAPP_MONGO_URI=mongodb://<user>:<password>@<host>/?authSource=admin"
        return fault("mongodb.login", seen, fix)

    def _server(self, client: MongoClient[dict[str, Any]], hello: Mapping[str, Any]) -> Findings:
        server = ServerFacts(hello=hello, write_block=_write_block(client), is_locked=_is_locked(client))
        yield judge.judge_topology(server)
        yield judge.judge_write_concern(client.write_concern.document, server)
        rights = self._rights(client)
        if rights is None:
            yield self._no_password()
            yield from _skipped("rights on the database")
            return
        yield judge.judge_writable(server, rights)
        yield judge.judge_rights(rights, self._name)
        yield from self._database(client)

    def _no_password(self) -> Any:
        seen = "MongoDB asks for a password, and STREAMAPP_MONGO_URI has none"
        return fault("mongodb.login", seen, "STREAMAPP_MONGO_URI=mongodb://<user>:<password>@<host>/?authSource=admin")

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

    def _database(self, client: MongoClient[dict[str, Any]]) -> Findings:
        try:
            yield from judge.judge_events(self._events(client))
        except OperationFailure as exc:
            yield _untold("mongodb.events", self._said(exc))
        try:
            yield judge.judge_disk(client[self._name].command("dbStats"))
        except OperationFailure as exc:
            yield _untold("mongodb.disk", self._said(exc))

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
        )

    def _refused(self, client: MongoClient[dict[str, Any]], validator: Any) -> Sequence[str] | None:
        """Which samples a validator refuses: it is tried as a query on documents that stand nowhere."""
        if not validator:
            return ()
        try:
            with timeout(ANSWER_SECONDS):
                return [name for name, sample in self._samples.items() if not self._passes(client, sample, validator)]
        except PyMongoError:
            return None  # no $documents before MongoDB 5.1

    def _passes(self, client: MongoClient[dict[str, Any]], sample: Document, validator: Any) -> bool:
        documents = [{"$documents": [{"$literal": sample}]}, {"$match": validator}]
        return bool(list(client[self._name].aggregate(documents)))

    def _said(self, exc: Exception) -> str:
        return self._hide(error_text(exc))


def _write_block(client: MongoClient[dict[str, Any]]) -> int | None:
    with suppress(OperationFailure):  # takes the right to ask
        return client.admin.command("serverStatus").get("repl", {}).get("userWriteBlockMode")
    return None


def _is_locked(client: MongoClient[dict[str, Any]]) -> bool:
    with suppress(OperationFailure):
        return bool(client.admin.command({"currentOp": 1, "$ownOps": True}).get("fsyncLock"))
    return False


def _untold(check: str, why: str) -> Any:
    return warning(check, f"cannot be told: {why}", "give the user the role readWrite on the database")


def _skipped(needs: str) -> Findings:
    for check in _REST:
        yield skipped(check, needs)
