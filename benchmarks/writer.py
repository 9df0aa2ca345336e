"""`python -m benchmarks.writer load|follow …`: write events and rollups as a worker does, without Kafka.

`load` writes a history, or the rest of one, and ends; `follow` continues it at the same density until a signal.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime

from benchmarks.history import PARTITIONS, TOPIC_ID, WRITERS, Partition, Timeline
from streamapp import settings
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_store import EventStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.monitoring.heartbeat import Heartbeat
from streamapp.monitoring.latency import Latencies
from streamapp.retry import NoRetry
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.writer import RollupWriter
from streamapp.settings import Settings
from streamapp.sink.ports import Fates
from streamapp.transport.offset_tracker import Progress

_AT_ONCE = 5_000
_FOLLOW_EVERY_SECONDS = 1.0


def main() -> None:
    """Parse the arguments and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.writer", description=__doc__)
    parser.add_argument("what", choices=["load", "follow"])
    parser.add_argument("--events", type=int, required=True, help="events of the history, in all partitions")
    parser.add_argument("--end", type=datetime.fromisoformat, required=True, help="of the past")
    parser.add_argument("--partitions", type=int, nargs="+", default=[*range(PARTITIONS)])
    options = parser.parse_args()
    timeline = Timeline(events=options.events // PARTITIONS, end=options.end)
    partitions = [Partition(number=number, timeline=timeline) for number in options.partitions]
    asyncio.run(_run(options.what, Writer(settings.load(), partitions)))


async def _run(what: str, writer: Writer) -> None:
    if what == "load":
        await writer.load()
    else:
        await writer.follow()


class Writer:
    """Writes the events of some partitions."""

    def __init__(self, known: Settings, partitions: Sequence[Partition]) -> None:
        self._partitions = partitions
        self._subject = known.subject
        # The driver's own retries are off: any error ends this program.
        self._mongo = Mongo(known.mongo_uri.get_secret_value(), known.mongo_database)
        self._store = EventStore(self._mongo)
        self._rollups = RollupStore(self._mongo, keep=known.keep)
        self._counting = RollupWriter(
            self._rollups,
            outages=NoRetry("MongoDB"),
            keep=known.keep,
            now=lambda: datetime.now(UTC),
            sleep=lambda _: asyncio.sleep(0),  # a writer that loads does not wait a second between writes
        )

    async def load(self) -> None:
        """Write the whole history, all partitions concurrently."""
        await self._prepare()
        await asyncio.gather(*map(self._load, self._partitions))

    async def follow(self) -> None:
        """Write what happens after the last stored event, and the worker's heartbeat, until a signal."""
        for partition in self._partitions:
            await self._resume(partition)
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        heartbeat = Heartbeat(self._mongo, consumer=self, fates=self._fates, latencies=Latencies())
        beating = asyncio.create_task(heartbeat.run())
        while not stopped.is_set():
            await asyncio.gather(*(self._catch_up(partition) for partition in self._partitions))
            await _first_of(stopped.wait(), asyncio.sleep(_FOLLOW_EVERY_SECONDS))
        beating.cancel()

    @property
    def in_flight(self) -> tuple[int, int]:
        """Nothing is in flight; see `monitoring.consumer.Consumer`."""
        return 0, 0

    @property
    def deleted_offsets(self) -> int:
        """No offset was deleted; see `monitoring.consumer.Consumer`."""
        return 0

    def progress(self) -> Sequence[Progress]:
        """Nothing waits; see `monitoring.consumer.Consumer`."""
        return [
            Progress(
                topic="user_events",
                partition=partition.number,
                topic_id=TOPIC_ID,
                settled=partition.offset,
                end=partition.offset,
                oldest_ms=None,
            )
            for partition in self._partitions
        ]

    def _fates(self) -> Fates:
        return Fates(stored=sum(partition.offset for partition in self._partitions))

    async def _prepare(self) -> None:
        await self._store.prepare()
        await self._rollups.prepare()
        for version, writer in WRITERS.items():
            await self._store.note_schema(writer, subject=self._subject, flags={"is_v2": version > 1})

    async def _resume(self, partition: Partition) -> None:
        """Continue after the last event that is counted; those of an interrupted write are written again."""
        partition.offset = await self._rollups.high_watermark(partition.partition_id) + 1
        rest = range(partition.offset, partition.offset + _AT_ONCE)
        ids = [f"{TOPIC_ID}-{partition.number}-{offset}" for offset in rest]
        await self._mongo.call(lambda: self._mongo.database["events"].delete_many({"_id": {"$in": ids}}))

    async def _load(self, partition: Partition) -> None:
        await self._resume(partition)
        while left := partition.timeline.events - partition.offset:
            await self._write(partition, most=min(left, _AT_ONCE), until_ms=partition.timeline.end_ms + 1)

    async def _catch_up(self, partition: Partition) -> None:
        while await self._write(partition, most=_AT_ONCE, until_ms=round(datetime.now(UTC).timestamp() * 1_000)):
            pass

    async def _write(self, partition: Partition, *, most: int, until_ms: int) -> int:
        documents = partition.take(most=most, until_ms=until_ms)
        if documents:
            outcome = await self._store.insert(documents)
            if outcome.duplicates or outcome.refused:
                raise AssertionError(f"not all events of partition {partition.number} could be stored")
            await self._counting.add(partition.partition_id, PendingCounts.of(documents))
        return len(documents)


async def _first_of(*waits: Awaitable[object]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    main()
