"""Workers, crashes, outages, zombies, replays and rebuilds in a random order: every event is counted once.

All of it runs in one thread from one seeded random source, so a seed that fails once fails again. A step is one call to
MongoDB: a worker can be killed, or lose the answer, before or after it, and a bulk write can be executed in part.
Only this test finds faults of the interleaving of calls by several workers and a rebuild.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import CommandListener

from streamapp.decode.document import Document, EventTimes, id_of
from streamapp.decode.kernel import KERNEL
from streamapp.decode.writer_schema import WriterSchema, in_shape_of, writer_schema
from streamapp.errors import BrokerUnavailable, StoreUnavailable
from streamapp.model.record import DeadLetter, PartitionBatch, PartitionId, origin_from_headers, own_origin
from streamapp.mongodb.client import Mongo, translate_errors
from streamapp.mongodb.event_store import EventStore
from streamapp.mongodb.out_of_order_store import OutOfOrderStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.reconcile import bucket_range, reconciliation
from streamapp.reconcile.reconciliation import Reconciliation
from streamapp.reconcile.result import ReconciliationResult
from streamapp.retry import OutageRetrier, RetryPolicy
from streamapp.rollups.levels import LEVELS, Level
from streamapp.rollups.rollup import ConditionalWrite, Rollup
from streamapp.rollups.writer import RollupWriter
from streamapp.settings import Settings
from streamapp.sink.circuit_breaker import CircuitBreaker
from streamapp.sink.ports import Outcome, SinkOutages, SinkPorts
from streamapp.sink.settle import Sink
from tests.support import shapes
from tests.support.doubles.ports import FakeObserver
from tests.support.factories import NOW, V1, V2, FakeRecord, replayed, wire
from tests.support.factories import an_event as values
from tests.support.recount import recounted, stored

T = TypeVar("T")

PARTITIONS = (0, 1)
#: A schema that the registry does not know at first: its records are dead letters until then.
#: It calls the browser by another name: the shapes that it gives have both.
AGENT = shapes.field("agent", shapes.TEXT, "browser", default=None)
LATE: WriterSchema = writer_schema(shapes.event_schema(AGENT), schema_id=3, version="v3")
#: What the registry may have as the latest schema at any time.
LATEST = (V2, shapes.latest(AGENT, shapes.field("plan", default="free")))
#: Whose time is not believable either.
NEVER = wire(values(browser="edge", event_timestamp=-1), schema_id=LATE.schema_id)
MIDNIGHT = NOW // 86_400_000 * 86_400_000
#: Buckets of several levels begin or end here.
TIMES = [
    MIDNIGHT + at + day * 86_400_000
    for day in (-40, -1, 0)
    for at in (0, 1, 59_999, 60_000, 599_999, 600_000, 3_599_999, 3_600_000, 86_399_999)
]


class Clock:
    """A clock that only the test advances."""

    def __init__(self) -> None:
        self.seconds = NOW / 1000

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


def event_id(record: FakeRecord, topic_id: str) -> str:
    """Return the `_id` of a record's event; a replay has the coordinates of the first record, in any partition."""
    claimed = origin_from_headers(record.headers)
    return id_of(claimed if claimed and claimed.topic_id == topic_id else own_origin(record, topic_id))


class Topic:
    """The records of a topic, and the committed offsets of the group."""

    def __init__(self, source: random.Random) -> None:
        self.source = source
        self.topic_ids = (f"{n:022d}" for n in itertools.count(1))
        self.dead: list[DeadLetter] = []
        self.knows_late = False
        self.recreate()

    def recreate(self) -> None:
        self.topic_id = next(self.topic_ids)
        self.records: dict[int, list[FakeRecord]] = {partition: [] for partition in PARTITIONS}
        self.committed = dict.fromkeys(PARTITIONS, 0)

    def append(self, count: int) -> None:
        for _ in range(count):
            partition = self.source.choice(PARTITIONS)
            self._put(partition, self._value())

    def replay(self, letter: DeadLetter) -> None:
        self._put(self.source.choice(PARTITIONS), letter.record.value, replayed(letter))

    def replayable(self) -> list[DeadLetter]:
        """Return the last dead letter of each event that has no unsettled record, as `streamapp dlq replay` does."""
        last = {id_of(letter.origin): letter for letter in self.dead}
        for partition, log in self.records.items():
            for record in log:
                if record.offset >= self.committed[partition]:
                    last.pop(event_id(record, self.topic_id), None)
        return [*last.values()]

    def next_offsets(self) -> Mapping[PartitionId, int]:
        """Return the offset that the group reads next, of each partition."""
        first = {partition: log[0].offset if log else 0 for partition, log in self.records.items()}
        return {PartitionId(self.topic_id, each): max(self.committed[each], first[each]) for each in PARTITIONS}

    def good(self) -> set[str]:
        """Return the `_id`s of all events that must be stored."""
        records = [record for log in self.records.values() for record in log if not record.headers]
        return {f"{self.topic_id}-{each.partition}-{each.offset}" for each in records if each.value not in {b"", NEVER}}

    def _put(self, partition: int, value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = ()) -> None:
        log = self.records[partition]
        # Offsets have gaps.
        offset = log[-1].offset + self.source.choice((1, 1, 1, 2)) if log else 0
        log.append(FakeRecord(value=value, partition=partition, offset=offset, headers=headers))

    def _value(self) -> bytes | None:
        chance = self.source
        kind = chance.random()
        if kind < 0.08:
            return b""
        event = values(
            user_id=f"user-{chance.randrange(30)}",
            event_type=chance.choice(("click", "search", "a|b")),
            event_timestamp=chance.choice(TIMES),
            metadata={"device": chance.choice(("mobile", "desktop")), "location": chance.choice(("DE", "FR"))},
        )
        if kind < 0.12:  # once the schema is known, a dead letter for another reason
            return NEVER
        if kind < 0.25:
            return wire(event | {"browser": "edge"}, schema_id=LATE.schema_id)
        return wire(event | ({"browser": chance.choice(("edge", None))} if kind < 0.7 else {}))


class ChaosMongo(Mongo):
    """Runs calls in the thread of the event loop; before and after each call its worker can fail or be killed."""

    def __init__(self, mongo: Mongo, source: random.Random) -> None:
        self.client, self.database, self.primary = mongo.client, mongo.database, mongo.primary
        self.source = source
        self.is_dead = False
        self.failure_ratio = 0.05

    async def call(self, call: Callable[[], T]) -> T:
        await self._yield()
        self.fail_sometimes()
        result = translate_errors(call)
        await self._yield()
        self.fail_sometimes()
        return result

    def fail_sometimes(self) -> None:
        if self.source.random() < self.failure_ratio:
            raise StoreUnavailable("unreachable")

    async def _yield(self) -> None:
        for _ in range(self.source.choice((0, 1, 2, 5, 30))):
            await asyncio.sleep(0)
        if self.is_dead:
            await asyncio.Event().wait()


class PartialRollups(RollupStore):
    """Sometimes executes a bulk write in part, and loses its answer."""

    def __init__(self, mongo: ChaosMongo) -> None:
        super().__init__(mongo, keep={})
        self.chaos = mongo

    def write(self, level: Level, writes: Sequence[ConditionalWrite], session: Any = None) -> bool:
        if self.chaos.source.random() < self.chaos.failure_ratio:
            some = self.chaos.source.sample([*writes], self.chaos.source.randint(0, len(writes)))
            super().write(level, some, session)
            raise StoreUnavailable("unreachable")
        return super().write(level, writes, session)


class PartialStore(EventStore):
    """Sometimes stores a part of the documents, and loses the answer."""

    def __init__(self, mongo: ChaosMongo, dead: DeadCounts) -> None:
        super().__init__(mongo)
        self.chaos = mongo
        self.dead = dead

    async def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        self.dead.begin(letters)
        await super().count_dead_letters(letters)
        self.dead.end(letters)

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        if self.chaos.source.random() < self.chaos.failure_ratio:
            some = self.chaos.source.sample([*documents], self.chaos.source.randint(0, len(documents)))
            await super().insert(some or documents)
            raise StoreUnavailable("unreachable")
        return await super().insert(documents)


class DeadCounts:
    """Which events must be counted for which reason, and which can be: the answer to a call can be lost."""

    def __init__(self) -> None:
        self.may: set[tuple[str, str]] = set()
        self.must: set[tuple[str, str]] = set()

    def begin(self, letters: Sequence[DeadLetter]) -> None:
        self.may |= {(letter.reason.value, id_of(letter.origin)) for letter in letters}

    def end(self, letters: Sequence[DeadLetter]) -> None:
        fresh = [each for each in letters if dict(each.record.headers).get("streamapp.reason") != each.reason.encode()]
        self.must |= {(letter.reason.value, id_of(letter.origin)) for letter in fresh}


class LateRegistry:
    """Knows a schema only after some time."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        for _ in range(self.topic.source.choice((0, 0, 3, 40))):
            await asyncio.sleep(0)
        writers, latest = (V1, V2, LATE) if self.topic.knows_late else (V1, V2), self.topic.source.choice(LATEST)
        return {writer.schema_id: in_shape_of(writer, latest) for writer in writers if writer.schema_id in schema_ids}


class RepeatedDeadLetters:
    """Sometimes delivers dead letters and loses the answer, so that they are delivered twice."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        self.topic.dead += letters
        if self.topic.source.random() < 0.1:
            raise BrokerUnavailable("unreachable")


class Worker:
    """A sink that gets the batches of some partitions."""

    numbers = itertools.count(1)

    def __init__(self, world: World) -> None:
        self.world = world
        self.mongo = ChaosMongo(world.mongo, world.source)
        outages = OutageRetrier("MongoDB", policy=RetryPolicy(first_wait=0, max_wait=0), sleep=_no_sleep)
        rollups = PartialRollups(self.mongo)
        broker_outages = OutageRetrier("Kafka", policy=RetryPolicy(first_wait=0, max_wait=0), sleep=_no_sleep)
        ports = SinkPorts(
            schemas=LateRegistry(world.topic),
            events=PartialStore(self.mongo, world.dead),
            out_of_order=OutOfOrderStore(self.mongo, rollups, keep={}),
            dead_letters=RepeatedDeadLetters(world.topic),
            observer=FakeObserver(),
        )
        self.sink = Sink(
            ports,
            outages=SinkOutages(store=outages, dead_letters=broker_outages),
            rollup_writer=RollupWriter(rollups, outages=outages, keep={}, now=world.clock.now, sleep=_no_sleep),
            breaker=CircuitBreaker(failure_ratio=0, window=1, min_records=1),
            times=EventTimes(earliest=0, ahead=2**60),
            kernel=KERNEL,
        )
        self.feeds: dict[int, Feed] = {}

    def take(self, partition: int) -> None:
        self.drop(partition)
        self.feeds[partition] = Feed(self, partition)

    def drop(self, partition: int) -> None:
        if feed := self.feeds.pop(partition, None):
            feed.stop()

    def kill(self) -> None:
        self.mongo.is_dead = True
        for partition in [*self.feeds]:
            self.drop(partition)

    def beat(self) -> None:
        for feed in self.feeds.values():
            feed.beat()


class Feed:
    """One assignment of a partition: its batches, some of them concurrent, and its settled offset."""

    def __init__(self, worker: Worker, partition: int) -> None:
        self.worker = worker
        self.world = worker.world
        self.topic = self.world.topic
        self.partition = partition
        self.topic_id = self.topic.topic_id
        self.number = next(Worker.numbers)
        self.position = self.settled = self.topic.committed[partition]
        self.queue: list[tuple[asyncio.Task[Any], int]] = []
        self.task = asyncio.create_task(self.run())
        self.beat_due = self.world.source.randrange(20)

    def stop(self) -> None:
        self.task.cancel()
        for task, _ in self.queue:
            task.cancel()

    @property
    def owns(self) -> bool:
        return self.world.owners.get(self.partition) is self.worker and self.topic_id == self.topic.topic_id

    @property
    def is_done(self) -> bool:
        log = self.topic.records[self.partition]
        return not self.queue and (not log or self.settled > log[-1].offset)

    async def run(self) -> None:
        source = self.world.source
        while True:
            await asyncio.sleep(0)
            if self.beat_due == 0 or source.random() < 0.01:
                self.beat()
            self.beat_due -= 1
            self._reap()
            if self.topic_id == self.topic.topic_id and len(self.queue) < 4 and source.random() < 0.3:
                self._next()

    def _next(self) -> None:
        log = self.topic.records[self.partition]
        records = [record for record in log if record.offset >= self.position][: self.world.source.randint(1, 6)]
        if not records:
            return
        begin, self.position = self.position, records[-1].offset + 1
        batch = PartitionBatch(
            topic="user_events",
            partition=self.partition,
            topic_id=self.topic_id,
            assignment=self.number,
            begin=begin,
            records=records,
            size=0,
        )
        self.queue.append((asyncio.create_task(self.worker.sink.settle(batch)), self.position))

    def _reap(self) -> None:
        while self.queue and self.queue[0][0].done():
            task, end = self.queue.pop(0)
            task.result()
            self.settled = end
        if self.owns and self.world.source.random() < 0.2:
            self.topic.committed[self.partition] = max(self.settled, self.topic.committed[self.partition])

    def beat(self) -> None:
        self.world.database["pipeline_state"].replace_one(
            {"_id": f"partition:{self.topic_id}:{self.partition}"},
            {
                "kind": "partition",
                "topic": "user_events",
                "incarnation": self.topic_id,
                "partition": self.partition,
                "settled": self.settled,
                "at": self.world.clock.now(),
            },
            upsert=True,
        )


async def _no_sleep(_: float) -> None:
    await asyncio.sleep(0)


class Stepped(CommandListener):
    """Runs a check or a rebuild in its own thread; each `step` lets it send one command to MongoDB."""

    def __init__(self, world: World, *, is_rebuild: bool) -> None:
        self.world = world
        self.is_rebuild = is_rebuild
        self.may_go, self.has_paused = threading.Semaphore(0), threading.Semaphore(0)
        self.is_over = False
        self.sleeps = False
        self.found: ReconciliationResult | BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self.has_paused.acquire()

    def _run(self) -> None:
        settings = self.world.settings
        mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
        concern = mongo.database.write_concern
        mongo.client = MongoClient(settings.mongo_uri.get_secret_value(), event_listeners=[self])
        mongo.database = mongo.client.get_database(settings.mongo_database, write_concern=concern)
        mongo.primary = mongo.database
        try:
            next_offsets = self.world.topic.next_offsets()
            self.pause()
            reconciliation = Reconciliation(mongo, keep={}, now=self.world.clock.now)
            self.found = reconciliation.rebuild(next_offsets) if self.is_rebuild else reconciliation.check()
        except BaseException as exc:  # noqa: BLE001 - for the test
            self.found = exc
        finally:
            self.is_over = True
            mongo.close()
            self.has_paused.release()

    def pause(self) -> None:
        self.has_paused.release()
        self.may_go.acquire()

    def sleep(self, seconds: float) -> None:
        self.seconds = seconds
        self.sleeps = True
        self.pause()

    def step(self) -> None:
        if self.sleeps:
            # Longer than a worker takes to write the first heartbeat of a partition.
            self.sleeps = False
            self.world.clock.seconds += self.seconds
            for worker in self.world.workers:
                worker.beat()
        self.may_go.release()
        self.has_paused.acquire()

    def started(self, event: Any) -> None:
        if threading.current_thread() is self.thread and not self.is_over:
            self.pause()

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


class World:
    """Workers, topic and database, and the random source."""

    def __init__(self, settings: Settings, database: Database[Any], mongo: Mongo, seed: int) -> None:
        self.settings = settings
        self.database = database
        self.mongo = mongo
        self.source = random.Random(seed)
        self.clock = Clock()
        self.topic = Topic(self.source)
        self.dead = DeadCounts()
        self.workers: list[Worker] = []
        self.owners: dict[int, Worker] = {}
        self.stepped: Stepped | None = None
        self.planted_during = False
        self.is_planted = False
        #: Whether the topic was re-created: events that were stored at that moment can stay uncounted.
        self.was_recreated = False
        #: Partitions whose records were deleted before they were committed: their orphans are counted later.
        self.cut = set[int]()

    async def go(self, steps: int) -> None:
        self.topic.append(20)
        actions = {
            self.pass_time: 60,
            self.append: 4,
            self.own: 8,
            self.kill: 3,
            self.take_again: 2,
            self.learn: 1,
            self.replay: 2,
            self.recreate_topic: 0.3,
            self.delete_records: 2,
            self.reconcile: 2,
            self.plant: 0.5,
        }
        for _ in range(steps):
            (action,) = self.source.choices([*actions], [*actions.values()])
            action()
            await self.some_steps(self.source.randrange(15))
        await self.settle_all()

    async def some_steps(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
            self.look()
            if self.stepped and self.source.random() < 0.5:
                self.advance()

    def look(self) -> None:
        for worker in self.workers:
            for feed in worker.feeds.values():
                if feed.task.done():
                    feed.task.result()

    def advance(self) -> None:
        assert self.stepped
        self.stepped.step()
        if self.stepped.is_over:
            found, stepped, self.stepped = self.stepped.found, self.stepped, None
            if isinstance(found, BaseException):
                raise found
            assert found
            if not stepped.is_rebuild:
                if not self.is_planted:
                    assert [] == [
                        why for key, why in found.different.items() if self.is_held(Rollup(key[1]).partition_id)
                    ]
            elif not self.planted_during:
                self.is_planted = False
            self.planted_during = False

    def is_held(self, partition_id: PartitionId) -> bool:
        """Return whether a worker will count the stored events of the partition that are not counted yet."""
        return (
            partition_id.topic_id == self.topic.topic_id
            and partition_id.partition in self.owners
            and partition_id.partition not in self.cut
        )

    def pass_time(self) -> None:
        self.clock.seconds += self.source.random() * 3
        for worker in self.workers:
            if self.source.random() < 0.5:
                worker.beat()

    def append(self) -> None:
        self.topic.append(self.source.randrange(12))

    def own(self) -> None:
        """Assign a partition to another worker; the previous owner gives it up, or becomes a zombie."""
        partition = self.source.choice(PARTITIONS)
        before = self.owners.get(partition)
        fresh = len(self.workers) < 3 and self.source.random() < 0.6
        if fresh or not self.workers:
            self.workers.append(Worker(self))
        after = self.workers[-1] if fresh else self.source.choice(self.workers)
        if before and self.source.random() < 0.6:
            before.drop(partition)
        self.owners[partition] = after
        after.take(partition)

    def kill(self) -> None:
        if self.workers:
            worker = self.workers.pop(self.source.randrange(len(self.workers)))
            worker.kill()
            self.owners = {partition: owner for partition, owner in self.owners.items() if owner is not worker}
        if self.source.random() < 0.5 and not self.stepped:
            # Time passes; the live workers write heartbeats.
            self.clock.seconds += 120
            for worker in self.workers:
                worker.beat()

    def take_again(self) -> None:
        for partition, owner in self.owners.items():
            owner.take(partition)

    def kill_all(self) -> None:
        for worker in self.workers:
            worker.kill()
        self.workers, self.owners = [], {}

    def learn(self) -> None:
        # There is no guarantee for two owners that give the same record different fates.
        self.kill_all()
        self.topic.knows_late = True

    def replay(self) -> None:
        for _ in range(3):
            if letters := self.topic.replayable():
                self.topic.replay(self.source.choice(letters))

    def recreate_topic(self) -> None:
        self.topic.recreate()
        self.was_recreated = True
        for partition, owner in self.owners.items():
            owner.take(partition)

    def delete_records(self) -> None:
        """Delete uncommitted records, as retention does, but not the last of a partition."""
        partition = self.source.choice(PARTITIONS)
        log = self.topic.records[partition]
        if log and log[-1].offset >= self.topic.committed[partition]:
            # A worker that stores records that it read before can leave their events uncounted.
            self.kill_all()
            self.cut.add(partition)
            del log[: self.source.randrange(len(log))]

    def reconcile(self) -> None:
        if not self.stepped:
            self.stepped = Stepped(self, is_rebuild=self.source.choice((False, True)))

    def plant(self) -> None:
        level = self.source.choice(LEVELS[:3])
        ids = [each["_id"] for each in self.database[level.collection].find({}, {"_id": 1}).sort("_id")]
        if ids and not self.stepped:
            self.database[level.collection].delete_one({"_id": self.source.choice(ids)})
            self.is_planted = True
            self.stepped = Stepped(self, is_rebuild=True)

    def sleep(self, seconds: float) -> None:
        """Replace `time.sleep` in a check or a rebuild."""
        if self.stepped:
            self.stepped.sleep(seconds)

    def monotonic(self) -> float:
        return self.clock.seconds

    async def prune_and_read_again(self, steps: int) -> None:
        """Delete events that Kafka still has, as an operator may, and let the group read from the beginning."""
        logs = self.topic.records.values()
        readable = {event_id(record, self.topic.topic_id) for log in logs for record in log}
        pruned = [id_ for id_ in sorted(readable) if self.source.random() < 0.5]
        self.database["events"].delete_many({"_id": {"$in": pruned}})
        self.topic.committed = dict.fromkeys(PARTITIONS, 0)
        self.own()
        for _ in range(steps):
            self.source.choice((self.pass_time, self.append, self.own, self.kill, self.take_again))()
            await self.some_steps(self.source.randrange(15))
        await self.settle_all()

    async def settle_all(self) -> None:
        self.kill_all()
        self.topic.knows_late = True
        worker = Worker(self)
        worker.mongo.failure_ratio = 0
        self.workers = [worker]
        self.owners = dict.fromkeys(PARTITIONS, worker)
        for letter in self.topic.replayable():
            self.topic.replay(letter)
        for partition in PARTITIONS:
            worker.take(partition)
        while self.stepped or not all(feed.is_done for feed in worker.feeds.values()):
            await self.some_steps(1)
        self.kill_all()


@pytest.fixture
def mongo(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mongo]:
    """Return the client of the database of the test."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    asyncio.run(EventStore(mongo).prepare())
    asyncio.run(RollupStore(mongo, keep={}).prepare())
    yield mongo
    mongo.close()


@pytest.mark.parametrize("seed", range(40 if os.environ.get("STREAMAPP_TEST_LONG") else 8))
def test_every_event_is_counted_once_whatever_happens(
    settings: Settings, database: Database[Any], mongo: Mongo, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Rollups equal a recount, a check finds no difference that a worker will remove, and dead letters are counted once
    for each reason.
    """
    world = World(settings, database, mongo, seed)
    monkeypatch.setattr(reconciliation, "time", world)
    monkeypatch.setattr(reconciliation, "MAX_ROLLUPS_PER_RANGE", 5)
    monkeypatch.setattr(bucket_range, "MAX_EVENTS_PER_READ", 3)

    asyncio.run(world.go(120))

    if world.was_recreated:
        world.clock.seconds += 120
        Reconciliation(mongo, keep={}, now=world.clock.now).rebuild()
    events = list(database["events"].find())
    assert recounted(events) == stored(database)
    assert world.topic.good() <= {event["_id"] for event in events}

    asyncio.run(world.prune_and_read_again(20))

    events_again = list(database["events"].find())
    assert {event["_id"] for event in events} <= {event["_id"] for event in events_again}
    assert recounted(events_again) == stored(database)
    for reason in ("empty", "unknown-schema-id", "timestamp-out-of-range"):
        must, may = (sum(name == reason for name, _ in ids) for ids in (world.dead.must, world.dead.may))
        counted = sum(each["n"] for each in database["dead_letters"].find({"reason": reason}))
        assert must <= counted <= may, reason
