"""The way to MongoDB: one client, calls in a few threads of their own since pymongo blocks, faults told apart."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pymongo import MongoClient, ReadPreference
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

from streamapp.errors import SettingsError, StoreUnavailable
from streamapp.sink.insert_batcher import MAX_CONCURRENT_INSERTS

T = TypeVar("T")

#: Until a server that holds its connection and does not answer counts as away …
ANSWER_TIMEOUT_MS = 10_000
#: … and one that cannot be reached.
_REACH_TIMEOUT_MS = 2_000

DUPLICATE_KEY = 11_000
# What the server says of a single document that it will never take (MongoDB's error_codes.yml and geo errors): bad
# value, type mismatch, overflow, invalid BSON, names of fields, validation, parallel arrays, too large, duplicate key.
# Anything else is an outage: a good document must not be taken for a bad one.
_OF_A_DOCUMENT = frozenset(
    {2, 14, 15, 22, 52, 53, 54, 55, 56, 57, 121, 171, 241, 10334, 11000, 16755, 16804, 17261, 17280, 17419, 17420}
)
# What the server says of a whole command because of a document in it: bad value, overflow, invalid BSON, too large.
BECAUSE_OF_A_DOCUMENT = frozenset({2, 15, 22, 10334, 17419, 17420})


class Mongo:
    """A database, and the threads in which it is used."""

    def __init__(self, uri: str, database: str) -> None:
        self.client: MongoClient[dict[str, Any]] = MongoClient(
            uri,
            appname="streamapp worker",
            connect=False,
            # Whoever calls repeats what fails, and tells of it; the driver would do so in silence.
            retryWrites=False,
            retryReads=False,
            # Documents may be anybody's: no time and no text in them raises anything.
            datetime_conversion="DATETIME_AUTO",
            unicode_decode_error_handler="replace",
            # Not `timeoutMS`, which would spend all of it on looking for a server.
            socketTimeoutMS=ANSWER_TIMEOUT_MS,
            connectTimeoutMS=_REACH_TIMEOUT_MS,
            serverSelectionTimeoutMS=_REACH_TIMEOUT_MS,
        )
        concern = self.client.write_concern
        if concern.is_server_default:
            concern = WriteConcern("majority")
        self.database = self.client.get_database(database, write_concern=concern)
        #: For reads that decide what is written, whatever the address says of other reads. What only the primary has
        #: may be undone when it dies: to leave an event out because of that would lose it.
        self.primary = self.database.with_options(
            read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("majority")
        )
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT_INSERTS + 1, thread_name_prefix="store")
        self._is_closed = False

    async def call(self, call: Callable[[], T]) -> T:
        """Call in a thread, see `translated`; raises StoreUnavailable also once this is closed."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, translated, call)
        except (InvalidOperation, RuntimeError) as exc:  # the client's, or the threads', of what is closed
            if not self._is_closed:
                raise
            message = "MongoDB is not used any more: the worker ends"
            raise StoreUnavailable(message) from exc

    async def ping(self) -> None:
        """Raise StoreUnavailable unless MongoDB answers."""
        await self.call(lambda: self.client.admin.command("ping"))

    def close(self) -> None:
        """Give up the connections; calls still under way fail."""
        self._is_closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.client.close()


def is_transient(exc: Exception) -> bool:
    """Whether the fault is MongoDB's, or the way to it, and not a document's.

    A command that is refused as a whole (rights, read-only, quota …) is an outage too: no record is at fault.
    """
    if isinstance(exc, BulkWriteError):
        details = exc.details or {}
        unexpected = any(error["code"] not in _OF_A_DOCUMENT for error in write_errors(details))
        return unexpected or bool(details.get("writeConcernErrors"))
    if isinstance(exc, OperationFailure):
        return exc.code not in BECAUSE_OF_A_DOCUMENT or isinstance(exc, (WriteConcernError, ExecutionTimeout))
    if isinstance(exc, ConfigurationError):
        return _is_dns_away(exc)
    return isinstance(exc, ConnectionFailure) or (isinstance(exc, PyMongoError) and exc.timeout)


def _is_dns_away(exc: ConfigurationError) -> bool:
    """Whether a mongodb+srv:// address could not be looked up, rather than found to be none."""
    from dns.resolver import LifetimeTimeout, NoNameservers  # noqa: PLC0415 - few addresses are looked up by us

    return isinstance(exc.__cause__, (LifetimeTimeout, NoNameservers))


def translated(call: Callable[[], T]) -> T:
    """Call; raises StoreUnavailable for what time may mend, and SettingsError for an address that leads nowhere."""
    try:
        return call()
    except PyMongoError as exc:
        message = f"MongoDB cannot be used (STREAMAPP_MONGO_URI): {reason(exc)}"
        if is_transient(exc):
            raise StoreUnavailable(message) from exc
        if isinstance(exc, ConfigurationError):
            raise SettingsError(message) from exc
        raise


def reason(exc: Exception) -> str:
    """What an error says is wrong, without the driver's account of its timeouts and servers."""
    details = (exc.details if isinstance(exc, BulkWriteError) else None) or {}
    of_documents = [error for error in write_errors(details) if error["code"] not in _OF_A_DOCUMENT]
    errors = [*of_documents, *details.get("writeConcernErrors", ())]
    text = str(errors[0].get("errmsg")) if errors else str(exc) or type(exc).__name__
    return re.split(r" \(configured timeouts|, Timeout: |, full error: ", text, maxsplit=1)[0][:300]


def write_errors(details: Any) -> Iterable[dict[str, Any]]:
    """What is wrong with single documents of a bulk."""
    return details.get("writeErrors", ())
