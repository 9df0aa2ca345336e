"""Access to MongoDB: one client, a few threads for its blocking calls, and errors classed as transient or not."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pymongo import ReadPreference
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from streamapp.connections import mongodb
from streamapp.errors import SettingsError, StoreAccessRefused, StoreUnavailable
from streamapp.mongodb.access import access_refusal
from streamapp.mongodb.faults import COMMAND_RECORD_CODES, RECORD_CODES, VALIDATION_FAILED, is_of_setting
from streamapp.sink.insert_batcher import MAX_CONCURRENT_INSERTS

T = TypeVar("T")

#: How long to wait for the answer to a call on an open connection.
ANSWER_TIMEOUT_MS = 10_000
#: How long to wait for a connection, and for a server that takes the call.
_CONNECT_TIMEOUT_MS = 2_000

DUPLICATE_KEY = 11_000

_CHECK_SETTING = (
    "The write concern (w), the read concern or the database of the connection string cannot work with this server."
    " Remove w from STREAMAPP_MONGO_URI, or use a replica set with enough members"
)


class Mongo:
    """A client of one database, and the threads for its calls."""

    def __init__(self, uri: str, database: str) -> None:
        # At DEBUG the driver writes every command with its documents.
        logging.getLogger("pymongo.command").setLevel(logging.INFO)
        self.client = mongodb.client(
            uri,
            appname="streamapp worker",
            connect=False,
            # Callers repeat a failed call, and log it; the driver would repeat it without a log line.
            retryWrites=False,
            retryReads=False,
            # Other programs write documents too: no date and no text in them may raise an error.
            datetime_conversion="DATETIME_AUTO",
            unicode_decode_error_handler="replace",
            # Not `timeoutMS`: server selection would use all of it.
            socketTimeoutMS=ANSWER_TIMEOUT_MS,
            connectTimeoutMS=_CONNECT_TIMEOUT_MS,
            serverSelectionTimeoutMS=_CONNECT_TIMEOUT_MS,
        )
        concern = self.client.write_concern
        if concern.is_server_default:
            concern = WriteConcern("majority")
        self.database = self.client.get_database(database, write_concern=concern)
        #: For reads that decide what is written, whatever read preference the URI has. Data that only the primary has
        #: can be rolled back after a failover: to skip an event because of such data would lose the event.
        self.primary = self.database.with_options(
            read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("majority")
        )
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT_INSERTS + 1, thread_name_prefix="store")
        self._is_closed = False

    async def call(self, call: Callable[[], T]) -> T:
        """Call in a thread, see `translate_errors`; raises StoreUnavailable after `close` too."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, translate_errors, call)
        except (InvalidOperation, RuntimeError) as exc:  # of the closed client, or of its threads
            if not self._is_closed:
                raise
            message = "the connection to MongoDB is closed: the worker stops"
            raise StoreUnavailable(message) from exc

    async def ping(self) -> None:
        """Raise StoreUnavailable unless MongoDB answers."""
        await self.call(lambda: self.client.admin.command("ping"))

    def close(self) -> None:
        """Close the connections; calls in progress fail."""
        self._is_closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.client.close()


def is_transient(exc: Exception) -> bool:
    """Whether MongoDB or the network is the cause of an error, and not a document.

    A command that the server refuses as a whole (permissions, read-only, quota …) is an outage too.
    """
    if isinstance(exc, BulkWriteError):
        details = exc.details or {}
        unexpected = any(error["code"] not in RECORD_CODES for error in write_errors(details))
        return unexpected or bool(details.get("writeConcernErrors"))
    if isinstance(exc, OperationFailure):
        return exc.code not in COMMAND_RECORD_CODES or isinstance(exc, (WriteConcernError, ExecutionTimeout))
    if isinstance(exc, ConfigurationError):
        return _is_dns_unreachable(exc)
    return isinstance(exc, ConnectionFailure) or (isinstance(exc, PyMongoError) and exc.timeout)


def _is_dns_unreachable(exc: ConfigurationError) -> bool:
    """Whether the name of a mongodb+srv:// URI could not be looked up; False if the name does not exist."""
    from dns.resolver import LifetimeTimeout, NoNameservers  # noqa: PLC0415 - few URIs need a lookup

    return isinstance(exc.__cause__, (LifetimeTimeout, NoNameservers))


def translate_errors(call: Callable[[], T]) -> T:
    """Call; raises StoreUnavailable for an error that is worth a retry, and SettingsError for a wrong URI."""
    try:
        return call()
    except PyMongoError as exc:
        message = f"MongoDB cannot be used (STREAMAPP_MONGO_URI): {error_text(exc)}"
        if is_wrong_setting(exc):
            raise SettingsError(f"{message}. {_CHECK_SETTING}") from exc
        if refusal := access_refusal(exc):
            cause, remedy_ = refusal
            raise StoreAccessRefused(f"MongoDB cannot be used (STREAMAPP_MONGO_URI): {cause}. {remedy_}.") from exc
        if is_transient(exc):
            raise StoreUnavailable(message, is_running=isinstance(exc, OperationFailure)) from exc
        if isinstance(exc, ConfigurationError):
            raise SettingsError(message) from exc
        if isinstance(exc, OperationFailure):
            raise StoreUnavailable(_refusal_of_own_document(exc), is_running=True) from exc
        raise


def is_wrong_setting(exc: PyMongoError) -> bool:
    """Whether an error means that a setting cannot be right, for example a write concern that nothing satisfies."""
    details = (exc.details if isinstance(exc, OperationFailure) else None) or {}
    own = {"code": getattr(exc, "code", None), "errmsg": str(exc)}
    errors = [own, *write_errors(details), *details.get("writeConcernErrors", ())]
    return any(map(is_of_setting, errors))


def _refusal_of_own_document(exc: OperationFailure) -> str:
    """Why MongoDB refuses a document that is not an event; without its values."""
    codes = {error["code"] for error in write_errors(exc.details)} or {exc.code}
    names = ", ".join(sorted(f"{RECORD_CODES.get(code or 0, 'error')} ({code})" for code in codes))
    remedy = (
        " Remove the validator of the collection: db.runCommand({collMod: NAME, validator: {}}), with NAME one of"
        " rollups_1m, rollups_10m, rollups_1h, rollups_1d, dead_letters, failed_offsets, schema_versions"
    )
    return f"MongoDB refuses a rollup or a count: {names}.{remedy if VALIDATION_FAILED in codes else ''}"


def error_text(exc: Exception) -> str:
    """The text of an error, without the driver's list of timeouts and servers."""
    details = (exc.details if isinstance(exc, BulkWriteError) else None) or {}
    outages = [error for error in write_errors(details) if error["code"] not in RECORD_CODES]
    errors = [*outages, *details.get("writeConcernErrors", ())]
    text = str(errors[0].get("errmsg")) if errors else str(exc) or type(exc).__name__
    return re.split(r" \(configured timeouts|, Timeout: |, full error: ", text, maxsplit=1)[0][:300]


def write_errors(details: Any) -> Iterable[dict[str, Any]]:
    """The errors of single documents in a bulk write."""
    return details.get("writeErrors", ())
