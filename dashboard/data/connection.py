"""The connection to MongoDB: one client for all readers, a limit for every query, and errors as texts for the page."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC
from threading import Lock
from typing import TYPE_CHECKING, Any

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

from dashboard.model.errors import DashboardError, DisconnectedError, RefusedError, TooSlowError
from streamapp.connections import mongodb
from streamapp.mongodb import access

if TYPE_CHECKING:
    from pymongo.database import Database

LIMIT_SECONDS = 2.0
# A server that is unreachable is detected sooner than a slow one, and blocks the page for a shorter time.
REACH_SECONDS = 1.0

_HOSTS = re.compile(r"mongodb(?:\+srv)?://(?:[^/@?]*@)?([^/@?]+)(?:[/?][^@]*)?")


class Connection:
    """One database, opened at the first request."""

    def __init__(self, *, uri: str, database: str, limit_seconds: float = LIMIT_SECONDS) -> None:
        self._uri = uri
        self._database = database
        self._limit_seconds = limit_seconds
        self._client: pymongo.MongoClient[dict[str, Any]] | None = None
        self._connecting = Lock()
        self._is_well = False

    @contextmanager
    def asking(self) -> Generator[Database[dict[str, Any]]]:
        """Return the database for queries that together take no longer than the limit; raises DashboardError."""
        try:
            if not self._is_well:
                self.reach()
            # This also sets maxTimeMS on every command, so the server stops working when the client stops waiting.
            with pymongo.timeout(self._limit_seconds):
                yield self._connected()
            self._is_well = True
        except PyMongoError as exc:
            self._is_well = False
            raise self._trouble(exc) from exc

    def reach(self, within_seconds: float = REACH_SECONDS) -> None:
        """Ping; raises the driver's error when no answer arrives in time."""
        with pymongo.timeout(within_seconds):
            self._connected().command("ping")

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> Database[dict[str, Any]]:
        with self._connecting:
            self._client = self._client or _client(self._uri)
        return self._client.get_database(self._database, CodecOptions(tz_aware=True, tzinfo=UTC))

    def _trouble(self, exc: PyMongoError) -> DashboardError:
        server = f"MongoDB at {address(self._uri)}"
        if self._was_cut_off(exc):
            return TooSlowError(f"The query to {server} took longer than {self._limit_seconds:g} s and was stopped.")
        refusal = access.access_refusal(exc)
        if isinstance(exc, OperationFailure):
            return RefusedError(f"{server} refuses read access: {_code_name(exc)}{_remedy(refusal)}.")
        if refusal:
            return RefusedError(f"{server} cannot be used{_remedy(refusal)}.")
        if isinstance(exc, ConnectionFailure):
            return DisconnectedError(f"{server} does not answer.")
        return DisconnectedError(f"{server} gave an unusable answer ({type(exc).__name__}).")

    def _was_cut_off(self, exc: PyMongoError) -> bool:
        if not isinstance(exc, NetworkTimeout):
            return isinstance(exc, ExecutionTimeout)
        # The client stopped waiting before the server stopped working, or the server is unreachable: ping it.
        try:
            self.reach()
        except PyMongoError:
            return False
        return True


def address(uri: str) -> str:
    """Return the hosts of a connection string, without user, password and options."""
    match = _HOSTS.fullmatch(uri)
    return match[1] if match else "the address in STREAMAPP_MONGO_URI"


def _client(uri: str) -> pymongo.MongoClient[dict[str, Any]]:
    # At DEBUG the driver writes every answer with its documents.
    logging.getLogger("pymongo.command").setLevel(logging.INFO)
    try:
        return mongodb.client(
            uri,
            connectTimeoutMS=int(REACH_SECONDS * 1_000),
            maxPoolSize=8,
            appname="streamapp dashboard",
        )
    except (InvalidURI, ConfigurationError, ValueError):
        # not chained: the driver's message quotes the connection string
        message = "STREAMAPP_MONGO_URI is not a valid connection string."
        raise RefusedError(message) from None


def _remedy(refusal: tuple[str, str] | None) -> str:
    """Return cause and remedy of a refused access, with the settings of the dashboard."""
    text = f": {refusal[0]}. {refusal[1]}" if refusal else ""
    return text.replace("STREAMAPP_MONGO_URI", "STREAMAPP_DASHBOARD_MONGO_URI (if unset: STREAMAPP_MONGO_URI)")


def _code_name(exc: OperationFailure) -> str:
    return str((exc.details or {}).get("codeName", f"code {exc.code}"))
