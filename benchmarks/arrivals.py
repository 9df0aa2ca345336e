"""Note when documents become readable: a change stream with majority reads, the same for every program.

The change stream has a latency of its own, which is measured too: ten times a second a marker document is inserted
beside the events, and the time at which MongoDB acknowledges it with a majority is compared with the time at which the
change stream delivers it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple, Self

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database

from streamapp.connections import mongodb

_PROBES = "probes"
_PROBE_EVERY_SECONDS = 0.1
#: Seconds for which MongoDB waits for changes before it answers.
_WAIT_MS = 200
_AT_ONCE = 100_000


class Arrival(NamedTuple):
    """An event that has become readable; times in milliseconds since the epoch."""

    stamped_ms: int
    arrived_ms: float

    @property
    def latency_ms(self) -> float:
        """Milliseconds since the broker's timestamp; up to 1 ms too long: the timestamp has whole milliseconds."""
        return self.arrived_ms - self.stamped_ms


class Arrivals:
    """Notes the arrivals in a database, in threads that decode nothing; a context manager.

    Args:
        uri: URI of MongoDB.
        name: name of the database.
        every: note one of every `every` offsets of a partition.
    """

    def __init__(self, uri: str, name: str, *, every: int) -> None:
        self._uri = uri
        self._name = name
        self._every = every
        self._stopped = threading.Event()
        self._stack = ExitStack()
        self._threads: Sequence[Future[None]] = ()
        self._brought: list[tuple[float, Sequence[RawBSONDocument]]] = []
        self._acknowledged_ms: list[float] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            threads = stack.enter_context(ThreadPoolExecutor(2))
            stack.callback(self._stopped.set)
            client = stack.enter_context(mongodb.client(self._uri))
            session = stack.enter_context(client.start_session())
            database = client.get_database(self._name, CodecOptions(RawBSONDocument))
            cursor = _opened(database, session, self._every)
            self._threads = (threads.submit(self._read, database, session, cursor), threads.submit(self._probe))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        with self._stack:
            for thread in self._threads:
                thread.result()

    def events(self) -> Sequence[Arrival]:
        """Return the noted events."""
        noted = [(document["stamped_ms"], at) for at, documents in self._brought for document in documents]
        return [Arrival(stamped, at) for stamped, at in noted if stamped is not None]

    def own_ms(self) -> Sequence[float]:
        """Return the latencies of the change stream itself, one per marker document, in milliseconds."""
        noted = [(document.get("probe"), at) for at, documents in self._brought for document in documents]
        return [at - self._acknowledged_ms[number] for number, at in noted if number is not None]

    def _read(self, database: Database[RawBSONDocument], session: ClientSession, cursor: int) -> None:
        """Read the change stream until it is empty after the stop was requested."""
        more = {"getMore": cursor, "collection": "$cmd.aggregate", "maxTimeMS": _WAIT_MS, "batchSize": _AT_ONCE}
        documents: Sequence[RawBSONDocument] = ()
        while documents or not self._stopped.is_set():
            documents = database.command(more, session=session)["cursor"]["nextBatch"]
            self._brought.append((_now_ms(), documents))

    def _probe(self) -> None:
        with mongodb.client(self._uri, w="majority") as client:
            while not self._stopped.wait(_PROBE_EVERY_SECONDS):
                client[self._name][_PROBES].insert_one({"probe": len(self._acknowledged_ms)})
                self._acknowledged_ms.append(_now_ms())


def _opened(database: Database[RawBSONDocument], session: ClientSession, every: int) -> int:
    """Open a change stream with raw commands: all changes of a batch arrive at once, before they are decoded."""
    is_event = {"ns.coll": "events", "fullDocument.kafka.offset": {"$mod": [every, 0]}}
    pipeline = [
        {"$changeStream": {}},
        {"$match": {"operationType": "insert", "$or": [is_event, {"ns.coll": _PROBES}]}},
        {"$project": {"stamped_ms": {"$toLong": "$fullDocument.kafka.timestamp"}, "probe": "$fullDocument.probe"}},
    ]
    opening = {"aggregate": 1, "pipeline": pipeline, "cursor": {"batchSize": 0}, "readConcern": {"level": "majority"}}
    return database.command(opening, session=session)["cursor"]["id"]


def _now_ms() -> float:
    return time.time() * 1000
