"""Write the worker's progress to `pipeline_state` every few seconds, for the dashboard and `rollups check`.

One document per assigned partition, `_id` "partition:<topic id>:<partition>":
    kind "partition", topic, partition, incarnation (the topic id), worker (the `_id` of its worker), at
    settled       the next offset to settle: every record below it has its fate and is counted
    delivered     the end of what the worker has begun to store and count; `settled` reaches it when that is done
    end           the log end offset of the last fetch
    lag           end - settled
    lag_seconds   age of the oldest record that is not settled, by its Kafka timestamp; 0 without lag
    lag_seconds_at_most
                  if that record has not been read: the time since the log end was at or below its offset
    rate          offsets settled per second since the last heartbeat
    recent        the last 180 of {at, lag, lag_seconds, lag_seconds_at_most, rate}, the oldest first
    last_hour, last_day
                  the last 60 minutes and the last 144 steps of ten minutes: see lag_history.py
One document per worker, `_id` "worker:<host>-<pid>-<random>":
    kind "worker", started_at, at, partitions (their number), fates {stored, duplicates, dead_lettered} since the start,
    rate          events per second since the last heartbeat
    in_flight     {slices, bytes}
    deleted_offsets   number of offsets that Kafka deleted before they were read, since the start: lost records
    memory_bytes  resident memory of the process; null where the system does not tell it
    latency       {bounds_ms, counts, n, window_seconds, p50_ms, p95_ms, p99_ms}, from Kafka's timestamp to MongoDB
An unknown value is null, never 0. A TTL index deletes documents that have not been written for a week.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.write_concern import WriteConcern

from streamapp.errors import StreamappError
from streamapp.mongodb.client import Mongo
from streamapp.monitoring.consumer import Consumer
from streamapp.monitoring.lag_history import LagHistory
from streamapp.monitoring.latency import BOUNDS_MS, WINDOW_SECONDS, Latencies
from streamapp.monitoring.process_memory import resident_bytes
from streamapp.sink.ports import Fates
from streamapp.transport.offset_tracker import Progress

log = logging.getLogger(__name__)

COLLECTION = "pipeline_state"
#: Seconds between two heartbeats, and between two observations of the log ends.
HEARTBEAT_SECONDS = 5.0
SAMPLE_SECONDS = 0.5
#: Entries of `recent`.
MAX_RECENT = 180
#: Log ends that are remembered per partition, for `lag_seconds_at_most`.
MAX_ENDS = 120
RETENTION = timedelta(days=7)
#: Timeout of a write; a failed heartbeat is not retried, because the next one replaces it.
WRITE_TIMEOUT_SECONDS = 2.0

#: The `_id` of a document and its update.
Write = tuple[str, dict[str, Any]]
_Key = tuple[str, int, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSample:
    """The state of the worker at one instant."""

    at: datetime
    partitions: Sequence[Progress]
    fates: Fates
    in_flight: tuple[int, int]
    latencies: Latencies
    deleted_offsets: int = 0
    memory_bytes: int | None = None


@dataclass(slots=True)
class HeartbeatBuilder:
    """Turns the samples of one worker into writes; keeps the last sample, for the rates."""

    started_at: datetime
    worker: str = field(default_factory=lambda: f"worker:{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    _last: HeartbeatSample | None = None
    #: The last log ends of each partition, with the instant at which each was last observed.
    _ends: dict[_Key, OrderedDict[int, datetime]] = field(default_factory=dict[_Key, OrderedDict[int, datetime]])
    _histories: dict[_Key, LagHistory] = field(default_factory=dict[_Key, LagHistory])

    def observe(self, partitions: Sequence[Progress], at: datetime) -> None:
        """Record the log ends of all assigned partitions; forget the other partitions."""
        self._ends = {progress.key: self._ends.get(progress.key, OrderedDict()) for progress in partitions}
        self._histories = {progress.key: self._histories.get(progress.key, LagHistory()) for progress in partitions}
        for progress in partitions:
            if progress.end is not None:
                _record_end(self._ends[progress.key], progress.end, at)

    def has_new(self, partitions: Iterable[Progress]) -> bool:
        """Whether a partition among them was not in the last sample."""
        known = {progress.key for progress in self._last.partitions} if self._last else set[object]()
        return any(progress.key not in known for progress in partitions)

    def writes(self, sample: HeartbeatSample) -> list[Write]:
        """Return the writes for a sample, one per document."""
        self.observe(sample.partitions, sample.at)
        before = {progress.key: progress for progress in self._last.partitions} if self._last else {}
        elapsed = (sample.at - self._last.at).total_seconds() if self._last else 0.0
        writes = [self._partition(p, before.get(p.key), elapsed, sample.at) for p in sample.partitions]
        rate = _rate(sample.fates.records, self._last.fates.records if self._last else None, elapsed)
        self._last = sample
        return [*writes, _worker(sample, rate=rate, worker=self.worker, started_at=self.started_at)]

    def _partition(self, progress: Progress, before: Progress | None, elapsed: float, at: datetime) -> Write:
        changing = {
            "lag": progress.lag,
            "lag_seconds": lag_seconds(progress, at),
            "lag_seconds_at_most": _lag_seconds_at_most(progress, self._ends[progress.key], at),
            "rate": _rate(progress.settled, before and before.settled, elapsed),
        }
        state = {
            "kind": "partition",
            "topic": progress.topic,
            "partition": progress.partition,
            "incarnation": progress.topic_id,
            "worker": self.worker,
            "at": at,
            "settled": progress.settled,
            "delivered": progress.delivered,
            "end": progress.end,
            **changing,
        }
        entry = {"at": at, **changing}
        ended = self._histories[progress.key].add(entry)
        pushed = {"recent": _pushed(entry, MAX_RECENT)}
        pushed |= {level.name: _pushed(summary, level.entries) for level, summary in ended.items()}
        name = f"partition:{progress.topic_id or progress.topic}:{progress.partition}"
        return name, {"$set": state, "$push": pushed}


class Heartbeat:
    """Writes the heartbeat of one worker; while MongoDB is unreachable, heartbeats are skipped."""

    def __init__(
        self,
        mongo: Mongo,
        *,
        consumer: Consumer,
        fates: Callable[[], Fates],
        latencies: Latencies,
        record: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._call = mongo.call
        self._collection = mongo.database.get_collection(COLLECTION, write_concern=WriteConcern(1))
        self._consumer = consumer
        self._fates = fates
        self._latencies = latencies
        #: Called after each write with its error, or None.
        self._record = record
        self._builder = HeartbeatBuilder(datetime.now(UTC))
        self._has_index = False

    async def run(self) -> None:
        """Write a heartbeat every few seconds until cancelled; no error here may stop the worker."""
        while True:
            try:
                await self.write_once()
            except (StreamappError, BulkWriteError) as exc:
                # An outage, which the sink logs, or two workers that upsert the same new document.
                self._record(str(exc))
                log.debug("heartbeat was not written to pipeline_state: %s", exc)
            except Exception as exc:
                self._record(str(exc))
                log.exception("heartbeat was not written to pipeline_state")
            else:
                self._record(None)
            await self._wait()

    async def write_once(self) -> None:
        """Write the current state; raises StoreUnavailable, BulkWriteError."""
        sample = HeartbeatSample(
            at=datetime.now(UTC),
            partitions=self._consumer.progress(),
            fates=self._fates(),
            in_flight=self._consumer.in_flight,
            latencies=self._latencies,
            deleted_offsets=self._consumer.deleted_offsets,
            memory_bytes=resident_bytes(),
        )
        writes = self._builder.writes(sample)
        await self._call(lambda: self._write(writes))

    async def _wait(self) -> None:
        for _ in range(round(HEARTBEAT_SECONDS / SAMPLE_SECONDS)):
            await asyncio.sleep(SAMPLE_SECONDS)
            partitions = self._consumer.progress()
            if self._builder.has_new(partitions):
                return
            self._builder.observe(partitions, datetime.now(UTC))

    def _write(self, writes: Sequence[Write]) -> None:
        with pymongo.timeout(WRITE_TIMEOUT_SECONDS):
            if not self._has_index:
                self._create_index()
            updates = [UpdateOne({"_id": name}, change, upsert=True) for name, change in writes]
            self._collection.bulk_write(updates, ordered=False)

    def _create_index(self) -> None:
        try:
            self._collection.create_index("at", expireAfterSeconds=int(RETENTION.total_seconds()))
        except OperationFailure as exc:
            log.warning("cannot create the TTL index on pipeline_state, so old documents stay: %s", exc)
        self._has_index = True


def lag_seconds(progress: Progress, at: datetime) -> float | None:
    """Age of the oldest record that is not settled; None if that record has not been read."""
    if progress.lag == 0:
        return 0.0
    if progress.oldest_ms is None:
        return None
    return max(0.0, round(at.timestamp() - progress.oldest_ms / 1_000, 3))


def _record_end(ends: OrderedDict[int, datetime], end: int, at: datetime) -> None:
    ends[end] = at
    ends.move_to_end(end)
    while len(ends) > MAX_ENDS:
        ends.popitem(last=False)


def _lag_seconds_at_most(progress: Progress, ends: Mapping[int, datetime], at: datetime) -> float | None:
    """Seconds since the log end was at or below the first offset that is not settled; None if that is unknown."""
    if progress.settled is None or lag_seconds(progress, at) is not None:
        return None
    seen_at = max((seen_at for end, seen_at in ends.items() if end <= progress.settled), default=None)
    return None if seen_at is None else round((at - seen_at).total_seconds(), 3)


def _worker(sample: HeartbeatSample, *, rate: float | None, worker: str, started_at: datetime) -> Write:
    batches, held = sample.in_flight
    state = {
        "kind": "worker",
        "started_at": started_at,
        "at": sample.at,
        "partitions": len(sample.partitions),
        "fates": asdict(sample.fates),
        "rate": rate,
        "in_flight": {"slices": batches, "bytes": held},
        "deleted_offsets": sample.deleted_offsets,
        "memory_bytes": sample.memory_bytes,
        "latency": _latency(sample.latencies, sample.at),
    }
    return worker, {"$set": state}


def _pushed(entry: Mapping[str, Any], most: int) -> dict[str, Any]:
    return {"$each": [entry], "$slice": -most}


def _latency(latencies: Latencies, at: datetime) -> dict[str, Any]:
    seen = latencies.histogram(now=at.timestamp())
    percentiles = {f"p{p}_ms": seen.percentile(p / 100) for p in (50, 95, 99)}
    return {
        "bounds_ms": list(BOUNDS_MS),
        "counts": list(seen.counts),
        "n": seen.n,
        "window_seconds": WINDOW_SECONDS,
        **percentiles,
    }


def _rate(now: int | None, before: int | None, elapsed: float) -> float | None:
    if now is None or before is None or now < before or elapsed <= 0:
        return None
    return round((now - before) / elapsed, 3)
