"""Write every few seconds how far the worker is: `pipeline_state`, read by the page and by `rollups check`.

One document per partition that the worker holds, `_id` "partition:<incarnation>:<partition>":
    kind "partition", topic, partition, incarnation, worker (the `_id` of its worker), at
    settled       the next offset to settle: everything below has its fate and is counted
    end           the log's end as the last fetch told it
    lag           end - settled
    lag_seconds   age of the oldest record that is not settled, by its Kafka timestamp; 0 without lag
    lag_seconds_at_most
                  where that record has not been read: the time since the log ended at or before it
    rate          offsets settled per second since the last writing
    recent        the last 120 of {at, lag, lag_seconds, lag_seconds_at_most, rate}, the oldest first
One per worker, `_id` "worker:<host>-<pid>-<random>":
    kind "worker", started_at, at, partitions (how many), fates {stored, duplicates, dead_lettered} since the start,
    rate          events per second since the last writing
    in_flight     {slices, bytes}
    deleted_offsets   how many Kafka had deleted before they were read, since the start: lost
    latency       {bounds_ms, counts, n, window_seconds, p50_ms, p95_ms, p99_ms}, from Kafka's timestamp to MongoDB
What is not known is null, never 0. Documents that nobody writes any more are deleted after a week.
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
from typing import Any, Protocol

import pymongo
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.write_concern import WriteConcern

from streamapp.errors import StreamappError
from streamapp.mongodb.client import Mongo
from streamapp.monitoring.latency import BOUNDS_MS, WINDOW_SECONDS, Latencies
from streamapp.sink.ports import Fates
from streamapp.transport.offset_tracker import Progress

log = logging.getLogger(__name__)

COLLECTION = "pipeline_state"
#: Seconds between two writings, and between two looks for partitions that are new here.
HEARTBEAT_SECONDS = 5.0
SAMPLE_SECONDS = 0.5
RECENT = 120
#: Log ends that are remembered of each partition, to tell how old a record is at most that has not been read.
ENDS = 120
KEEP = timedelta(days=7)
#: A write that takes longer is given up; the next one tells the same and more.
WRITE_SECONDS = 2.0

#: A document's `_id`, and what changes in it.
Write = tuple[str, dict[str, Any]]
_Key = tuple[str, int, str | None]


class Consumer(Protocol):
    """What tells how far the worker is."""

    @property
    def in_flight(self) -> tuple[int, int]:
        """Batches that are delivered and not acked, and their bytes."""
        ...

    @property
    def deleted_offsets(self) -> int:
        """Offsets that Kafka had deleted before they were read."""
        ...

    def progress(self) -> Sequence[Progress]:
        """Each partition that is held and whose topic id is known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSample:
    """The state at one instant."""

    at: datetime
    partitions: Sequence[Progress]
    fates: Fates
    in_flight: tuple[int, int]
    latencies: Latencies
    deleted_offsets: int = 0


@dataclass(slots=True)
class HeartbeatBuilder:
    """Turns one worker's beats into writes; remembers the last one, for the rates."""

    started_at: datetime
    worker: str = field(default_factory=lambda: f"worker:{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    _last: HeartbeatSample | None = None
    #: When each of the last log ends was seen last.
    _ends: dict[_Key, OrderedDict[int, datetime]] = field(default_factory=dict[_Key, OrderedDict[int, datetime]])

    def look(self, partitions: Sequence[Progress], at: datetime) -> None:
        """Note where the logs end, of these partitions and no others."""
        self._ends = {progress.key: self._ends.get(progress.key, OrderedDict()) for progress in partitions}
        for progress in partitions:
            if progress.end is not None:
                _note(self._ends[progress.key], progress.end, at)

    def is_news(self, partitions: Iterable[Progress]) -> bool:
        """Whether a partition among them was not in the last beat."""
        known = {progress.key for progress in self._last.partitions} if self._last else set[object]()
        return any(progress.key not in known for progress in partitions)

    def writes(self, beat: HeartbeatSample) -> list[Write]:
        """Return the writes of a beat, one per document."""
        self.look(beat.partitions, beat.at)
        before = {progress.key: progress for progress in self._last.partitions} if self._last else {}
        elapsed = (beat.at - self._last.at).total_seconds() if self._last else 0.0
        writes = [self._partition(p, before.get(p.key), elapsed, beat.at) for p in beat.partitions]
        rate = _rate(beat.fates.records, self._last.fates.records if self._last else None, elapsed)
        self._last = beat
        return [*writes, _worker(beat, rate=rate, worker=self.worker, started_at=self.started_at)]

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
            "end": progress.end,
            **changing,
        }
        recent = {"recent": {"$each": [{"at": at, **changing}], "$slice": -RECENT}}
        name = f"partition:{progress.topic_id or progress.topic}:{progress.partition}"
        return name, {"$set": state, "$push": recent}


class Heartbeat:
    """Writes the pulse of one worker; an outage of MongoDB only leaves a gap in it."""

    def __init__(
        self,
        mongo: Mongo,
        *,
        consumer: Consumer,
        fates: Callable[[], Fates],
        latencies: Latencies,
        note: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self._call = mongo.call
        self._collection = mongo.database.get_collection(COLLECTION, write_concern=WriteConcern(1))
        self._consumer = consumer
        self._fates = fates
        self._latencies = latencies
        #: Told of each writing what went wrong, or None.
        self._note = note
        self._builder = HeartbeatBuilder(datetime.now(UTC))
        self._has_index = False

    async def run(self) -> None:
        """Beat until cancelled; nothing that goes wrong here may stop the worker."""
        while True:
            try:
                await self.beat()
            except (StreamappError, BulkWriteError) as exc:
                # What whoever settles tells of, or another worker was quicker to make a document.
                self._note(str(exc))
                log.debug("pipeline_state not written: %s", exc)
            except Exception as exc:
                self._note(str(exc))
                log.exception("pipeline_state not written")
            else:
                self._note(None)
            await self._wait()

    async def beat(self) -> None:
        """Write the present state once."""
        beat = HeartbeatSample(
            at=datetime.now(UTC),
            partitions=self._consumer.progress(),
            fates=self._fates(),
            in_flight=self._consumer.in_flight,
            latencies=self._latencies,
            deleted_offsets=self._consumer.deleted_offsets,
        )
        writes = self._builder.writes(beat)
        await self._call(lambda: self._write(writes))

    async def _wait(self) -> None:
        for _ in range(round(HEARTBEAT_SECONDS / SAMPLE_SECONDS)):
            await asyncio.sleep(SAMPLE_SECONDS)
            partitions = self._consumer.progress()
            if self._builder.is_news(partitions):
                return
            self._builder.look(partitions, datetime.now(UTC))

    def _write(self, writes: Sequence[Write]) -> None:
        with pymongo.timeout(WRITE_SECONDS):
            if not self._has_index:
                self._make_index()
            updates = [UpdateOne({"_id": name}, change, upsert=True) for name, change in writes]
            self._collection.bulk_write(updates, ordered=False)

    def _make_index(self) -> None:
        try:
            self._collection.create_index("at", expireAfterSeconds=int(KEEP.total_seconds()))
        except OperationFailure as exc:
            log.warning("the index on pipeline_state that deletes old documents cannot be made: %s", exc)
        self._has_index = True


def lag_seconds(progress: Progress, at: datetime) -> float | None:
    """Age of the oldest record that is not settled; None while it has not been read."""
    if progress.lag == 0:
        return 0.0
    if progress.oldest_ms is None:
        return None
    return max(0.0, round(at.timestamp() - progress.oldest_ms / 1_000, 3))


def _note(ends: OrderedDict[int, datetime], end: int, at: datetime) -> None:
    ends[end] = at
    ends.move_to_end(end)
    while len(ends) > ENDS:
        ends.popitem(last=False)


def _lag_seconds_at_most(progress: Progress, ends: Mapping[int, datetime], at: datetime) -> float | None:
    """Time since the log ended at or before the first record that is not settled; None if that is not known."""
    if progress.settled is None or lag_seconds(progress, at) is not None:
        return None
    seen_at = max((seen_at for end, seen_at in ends.items() if end <= progress.settled), default=None)
    return None if seen_at is None else round((at - seen_at).total_seconds(), 3)


def _worker(beat: HeartbeatSample, *, rate: float | None, worker: str, started_at: datetime) -> Write:
    batches, held = beat.in_flight
    state = {
        "kind": "worker",
        "started_at": started_at,
        "at": beat.at,
        "partitions": len(beat.partitions),
        "fates": asdict(beat.fates),
        "rate": rate,
        "in_flight": {"slices": batches, "bytes": held},
        "deleted_offsets": beat.deleted_offsets,
        "latency": _latency(beat.latencies, beat.at),
    }
    return worker, {"$set": state}


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
