"""Read what the page needs from MongoDB, and nothing else: no writes, no query beyond its limit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pymongo
from bson.codec_options import CodecOptions
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
)

from dashboard.snapshot import Counts, Overview
from dashboard.timeplan import Window, from_ms, to_ms
from dashboard.trouble import Disconnected, Refused, TooSlow, Trouble

if TYPE_CHECKING:
    from pymongo.database import Database

LIMIT_SECONDS = 2.0
# A server that is away is found out sooner than one that is slow, and the page is not held up as long.
REACH_SECONDS = 1.0
# Counting one by one costs up to 0.6 µs an event: not felt up to here, and beyond it MongoDB's own number is taken,
# which can be off after MongoDB was killed.
COUNT_UP_TO = 100_000
MOST_VALUES = 50
ASSUMED_V2_VERSION = 2

_HOSTS = re.compile(r"mongodb(?:\+srv)?://(?:[^/@?]*@)?([^/@?]+)(?:[/?][^@]*)?")

Document = Mapping[str, Any]
Key = TypeVar("Key")


class Reader(Protocol):
    """What the page reads; every method raises Trouble when there is no answer."""

    def overview(self) -> Overview | None:
        """Return what is known of the whole collection, None when it does not exist yet."""
        ...

    def counts(self, window: Window) -> Counts:
        """Return the events of the window, counted."""
        ...


class MongoReader:
    """The Reader on a real MongoDB."""

    def __init__(self, *, uri: str, database: str, subject: str, limit_seconds: float = LIMIT_SECONDS) -> None:
        self._uri = uri
        self._database = database
        self._subject = subject
        self._limit_seconds = limit_seconds
        self._client: pymongo.MongoClient[dict[str, Any]] | None = None
        self._connecting = Lock()

    def overview(self) -> Overview | None:
        """Return what is known of the whole collection, None when it does not exist yet."""
        with self._asking() as database:
            events = database["events"]
            last = events.find_one({}, {"received_at": 1}, sort=[("$natural", pymongo.DESCENDING)])
            if last is None:
                return None
            newest = events.find_one(
                {"event_timestamp": {"$type": ["int", "long", "double"]}},
                {"event_timestamp": 1},
                sort=[("event_timestamp", pymongo.DESCENDING)],
            )
            estimate = events.estimated_document_count()
            is_exact = estimate <= COUNT_UP_TO
            return Overview(
                all_time=events.count_documents({}) if is_exact else estimate,
                all_time_is_exact=is_exact,
                last_received_at=_instant(last.get("received_at")),
                newest_event_at=None if newest is None else from_ms(int(newest["event_timestamp"])),
                v2_version=self._v2_version(database),
            )

    def counts(self, window: Window) -> Counts:
        """Return the events of the window, counted."""
        with self._asking() as database:
            (facets,) = database["events"].aggregate(pipeline(window))
        return _counts(facets)

    def close(self) -> None:
        """Let go of the connections."""
        if self._client is not None:
            self._client.close()

    def _v2_version(self, database: Database[dict[str, Any]]) -> int:
        query = {"subject": self._subject, "is_v2": True}
        known = database["schema_versions"].find_one(query, {"version": 1}, sort=[("version", pymongo.ASCENDING)])
        return int(known["version"]) if known else ASSUMED_V2_VERSION

    @contextmanager
    def _asking(self) -> Generator[Database[dict[str, Any]]]:
        try:
            self._reach()
            # This also sets maxTimeMS on every command, so the server stops working when we stop waiting.
            with pymongo.timeout(self._limit_seconds):
                yield self._connected()
        except PyMongoError as exc:
            raise self._trouble(exc) from exc

    def _reach(self) -> None:
        with pymongo.timeout(REACH_SECONDS):
            self._connected().command("ping")

    def _connected(self) -> Database[dict[str, Any]]:
        with self._connecting:
            self._client = self._client or _client(self._uri)
        return self._client.get_database(self._database, CodecOptions(tz_aware=True, tzinfo=UTC))

    def _trouble(self, exc: PyMongoError) -> Trouble:
        server = f"MongoDB at {address(self._uri)}"
        if self._was_cut_off(exc):
            return TooSlow(f"The query to {server} took longer than {self._limit_seconds:g} s and was stopped.")
        if isinstance(exc, ConnectionFailure):
            return Disconnected(f"{server} does not answer.")
        if isinstance(exc, OperationFailure):
            return Refused(f"{server} refuses to be read: {_code_name(exc)}.")
        return Disconnected(f"{server} gave no usable answer ({type(exc).__name__}).")

    def _was_cut_off(self, exc: PyMongoError) -> bool:
        if not isinstance(exc, NetworkTimeout):
            return isinstance(exc, ExecutionTimeout)
        # We stopped waiting before the server stopped working, or there is no server any more: ask it.
        try:
            self._reach()
        except PyMongoError:
            return False
        return True


def _client(uri: str) -> pymongo.MongoClient[dict[str, Any]]:
    try:
        return pymongo.MongoClient(
            uri,
            connectTimeoutMS=int(REACH_SECONDS * 1_000),
            maxPoolSize=8,
            appname="streamapp dashboard",
        )
    except (InvalidURI, ConfigurationError, ValueError):
        # Not chained: the driver's message quotes the connection string.
        message = "STREAMAPP_MONGO_URI is not a connection string that can be used."
        raise Refused(message) from None


def address(uri: str) -> str:
    """Return the hosts in a connection string, without user, password and options."""
    match = _HOSTS.fullmatch(uri)
    return match[1] if match else "the address in STREAMAPP_MONGO_URI"


def pipeline(window: Window) -> Sequence[Document]:
    """Return the aggregation that counts a window in one pass; its $match uses the index on event_timestamp."""
    at, width_ms = "$event_timestamp", int(window.width.total_seconds() * 1_000)
    bucket = {"$toLong": {"$subtract": [at, {"$mod": [at, width_ms]}]}}
    return [
        {"$match": {"event_timestamp": {"$gte": to_ms(window.start), "$lt": to_ms(window.end)}}},
        {
            "$facet": {
                "by_bucket": [_grouped({"bucket": bucket, "version": "$schema_version"})],
                "by_type": _most_frequent({"value": "$event_type"}),
                "by_browser": _most_frequent({"value": "$browser", "version": "$schema_version"}),
                "by_device": _most_frequent({"value": "$metadata.device"}),
                "users": [{"$group": {"_id": "$user_id"}}, {"$count": "n"}],
            }
        },
    ]


def _grouped(by: Document) -> Document:
    return {"$group": {"_id": by, "n": {"$sum": 1}}}


def _most_frequent(by: Document) -> list[Document]:
    # Bounded: a field with a value of its own per event must not make the answer as large as the data.
    return [_grouped(by), {"$sort": {"n": -1, "_id": 1}}, {"$limit": MOST_VALUES}]


def _counts(facets: Document) -> Counts:
    return Counts(
        by_bucket=_summed(facets["by_bucket"], lambda by: (from_ms(int(by["bucket"])), _text(by.get("version")))),
        by_type=_summed(facets["by_type"], lambda by: _text(by.get("value"))),
        by_browser=_summed(facets["by_browser"], lambda by: (_text(by.get("value")), _text(by.get("version")))),
        by_device=_summed(facets["by_device"], lambda by: _text(by.get("value"))),
        users=facets["users"][0]["n"] if facets["users"] else 0,
    )


def _summed(rows: Sequence[Document], key_of: Callable[[Document], Key]) -> Mapping[Key, int]:
    # Summed, not just collected: a field that is absent and one that is null are the same to the page.
    counts: Counter[Key] = Counter()
    for row in rows:
        counts[key_of(row["_id"])] += int(row["n"])
    return counts


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _instant(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _code_name(exc: OperationFailure) -> str:
    return str((exc.details or {}).get("codeName", f"code {exc.code}"))
