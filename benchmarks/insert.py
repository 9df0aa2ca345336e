"""Measure what inserts alone cost MongoDB, by the kind of `_id` and the indexes: documents are encoded before."""

from __future__ import annotations

import argparse
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import bson
import psutil
from bson import Binary, Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from benchmarks import figures, noise, page, report
from benchmarks.bench import Bench, opened
from benchmarks.watching import cpu_seconds
from streamapp.model.user_event import TIME
from streamapp.samples import generator
from streamapp.settings import Settings
from streamapp.sink.insert_batcher import MAX_BATCH_DOCUMENTS, MAX_CONCURRENT_INSERTS

NAME = "insert"
_TOPIC_ID = "A" * 22
_PARTITIONS = Settings().partitions
_OURS = "as streamapp: text `_id`, index of event times"


def _text(partition: int, offset: int) -> str:
    return f"{_TOPIC_ID}-{partition}-{offset}"


def _binary(partition: int, offset: int) -> Binary:
    """The UUID of the topic, the partition and the offset: 16, 4 and 8 bytes."""
    return Binary(bytes(16) + struct.pack(">iq", partition, offset))


def _object_id(partition: int, offset: int) -> ObjectId:  # noqa: ARG001 - it has nothing of the record
    return ObjectId()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What is inserted into which collection."""

    make_id: Callable[[int, int], object]
    #: And the partial one for events out of order, in which no document is.
    has_time_index: bool = False


_KINDS: Mapping[str, _Kind] = {
    _OURS: _Kind(make_id=_text, has_time_index=True),
    "text `_id` alone": _Kind(make_id=_text),
    "binary `_id` of 28 bytes, index of event times": _Kind(make_id=_binary, has_time_index=True),
    "binary `_id` alone": _Kind(make_id=_binary),
    "ObjectId, index of event times": _Kind(make_id=_object_id, has_time_index=True),
    "ObjectId alone": _Kind(make_id=_object_id),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inserted:
    """One run."""

    mongod_cpu_micros: float
    events_per_second: float
    #: On disk, for each event.
    index_bytes: float


_COLUMNS: Mapping[str, tuple[Callable[[_Inserted], float], str]] = {
    "mongod's CPU µs per event": (lambda each: each.mongod_cpu_micros, ".1f"),
    "events/s": (lambda each: each.events_per_second, ",.0f"),
    "bytes of indexes per event": (lambda each: each.index_bytes, ".0f"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--events", type=int, default=200_000, help="number of events (default 200,000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--publish", action="store_true", help="renew the table of the documents")


def run(options: argparse.Namespace) -> None:
    """Insert the same events with each kind of `_id` and indexes in turns; print figures and ratios."""
    found: dict[str, list[_Inserted]] = {name: [] for name in _KINDS}
    with opened() as bench:
        for unneeded in (bench.backend.kafka, bench.backend.registry):
            unneeded.stop()
        for number, name in bench.turns([*_KINDS], options.rounds):
            with bench.database(f"insert-{number}") as database:
                found[name].append(_inserted(bench, database, _KINDS[name], options.events))
    rows = [_row(name, found) for name in found]
    table = report.lines(["inserted", *_COLUMNS, "CPU to that of streamapp's"], rows)
    head = f"{options.events:,} events, {options.rounds} rounds in turns; median and range."
    lines = [head, noise.verdict(bench.calibrations), "", *table]
    report.say("\n".join(lines))
    if options.publish:
        page.write({"insert": lines})


def _row(name: str, found: Mapping[str, Sequence[_Inserted]]) -> Sequence[str]:
    to_ours = [
        each.mongod_cpu_micros / ours.mongod_cpu_micros for each, ours in zip(found[name], found[_OURS], strict=True)
    ]
    spreads = [figures.spread([of(each) for each in found[name]], form) for of, form in _COLUMNS.values()]
    return [name, *spreads, figures.spread(to_ours, ".2f")]


def _inserted(bench: Bench, database: Database[dict[str, Any]], kind: _Kind, events: int) -> _Inserted:
    """Insert in as many threads, and as many documents at a time, as the worker."""
    database.create_collection("events")
    if kind.has_time_index:
        database["events"].create_index(TIME)
        database["events"].create_index(TIME, name="apart", partialFilterExpression={"kafka.apart": True})
    documents = _documents(kind, events)
    batches = [documents[at : at + MAX_BATCH_DOCUMENTS] for at in range(0, events, MAX_BATCH_DOCUMENTS)]
    mongod = [psutil.Process(bench.backend.mongod.pid)]
    used, began = cpu_seconds(mongod), time.monotonic()
    with ThreadPoolExecutor(MAX_CONCURRENT_INSERTS) as threads:
        inserted = sum(threads.map(lambda batch: _insert(database, batch), batches))
    took, used = time.monotonic() - began, cpu_seconds(mongod) - used
    if inserted != events:
        sys.exit(f"{inserted} of {events} events were inserted: the figures are not valid")
    database.client.admin.command("fsync")  # the sizes are those of the last checkpoint
    size: int = database.command("collStats", "events")["totalIndexSize"]
    return _Inserted(mongod_cpu_micros=used / events * 1e6, events_per_second=events / took, index_bytes=size / events)


def _insert(database: Database[dict[str, Any]], batch: Sequence[RawBSONDocument]) -> int:
    """Insert as the worker does, see `EventStore`; return the number of inserted documents."""
    command = {"insert": "events", "documents": batch, "ordered": False, "writeConcern": {"w": "majority"}}
    return database.command(command)["n"]


def _documents(kind: _Kind, count: int) -> Sequence[RawBSONDocument]:
    """Encoded documents as streamapp stores them, but for the `_id`."""
    now = datetime.now(UTC)
    at = int(now.timestamp() * 1000)
    samples = enumerate(islice(generator.samples(seed=1, v2_ratio=1), count))
    documents = (_document(kind, number, sample.event(at=at + number // 20), now) for number, sample in samples)
    return [RawBSONDocument(bson.encode(document)) for document in documents]


def _document(kind: _Kind, number: int, event: dict[str, Any], now: datetime) -> dict[str, Any]:
    partition, offset = number % _PARTITIONS, number // _PARTITIONS
    return {
        "_id": kind.make_id(partition, offset),
        **event,
        TIME: Int64(event[TIME]),
        "schema_version": "v2",
        "schema_id": 2,
        "received_at": now,
        "kafka": {"topic": "user_events", "partition": partition, "offset": offset, "timestamp": now},
    }
