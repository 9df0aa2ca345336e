"""Rollups are compared with the events and repaired in a real MongoDB, also while a worker counts."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pymongo.database import Database

from streamapp import net
from streamapp.commands import rollups
from streamapp.connections.kafka import KafkaConnection
from streamapp.decode.document import Document
from streamapp.errors import StoreUnavailable
from streamapp.kafka import topic_reader
from streamapp.kafka.admin import KafkaAdmin
from streamapp.model.record import PartitionId
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_store import EventStore
from streamapp.mongodb.out_of_order_store import OutOfOrderStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.reconcile import reconciliation as reconcile_reconciliation
from streamapp.reconcile.reconciliation import Reconciliation
from streamapp.reconcile.result import ReconciliationResult
from streamapp.retry import OutageRetrier
from streamapp.rollups.levels import LEVELS, Level
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.rollup import ConditionalWrite
from streamapp.rollups.writer import RollupWriter
from streamapp.settings import Settings
from tests.support import foreign, rollup_factory
from tests.support.factories import NOW, TOPIC_ID
from tests.support.workers import environment

PARTITION = PartitionId(TOPIC_ID, 0)
MINUTE, TEN_MINUTES, HOUR, DAY = LEVELS
DAY_MS = DAY.width_ms


@pytest.fixture
def mongo(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mongo]:
    """Return the client of the database of the test."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    asyncio.run(EventStore(mongo).prepare())
    monkeypatch.setattr(reconcile_reconciliation, "FIRST_HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(reconcile_reconciliation, "HEARTBEAT_SECONDS", 2.0)
    yield mongo
    mongo.close()


def an_event(offset: int, **changes: Any) -> Document:
    """Return the document of an event; the events lie in several minutes, hours and days."""
    document = {
        "_id": f"{TOPIC_ID}-0-{offset}",
        "user_id": f"user-{offset % 300}",
        "event_type": f"type-{offset % 5}",
        "event_timestamp": NOW + offset % 11 * 20_000_000 + offset % 7 * 61_000,
        "metadata": {"device": "mobile", "location": "DE"},
        "browser": f"browser-{offset % 3}",
        "schema_version": "v2",
        "kafka": {"topic": "user_events", "partition": 0, "offset": offset},
    }
    return document | changes


def events(*offsets: int) -> list[Document]:
    """Return the documents of events."""
    return [an_event(offset) for offset in offsets]


def a_reconciliation(mongo: Mongo, *, levels: Sequence[Level] = LEVELS) -> Reconciliation:
    """Return one with the system clock, of rollups without retention."""
    return Reconciliation(mongo, keep={}, now=lambda: datetime.now(UTC), levels=levels)


def whys(findings: ReconciliationResult) -> list[str]:
    """Return how the rollups differed."""
    return sorted(findings.different.values())


def counted(database: Database[Any]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Return the counts of all rollups."""
    return {
        level.name: {
            each["_id"]: tuple(each[name] for name in ("n", "types", "browsers", "cells", "apart"))
            for each in database[level.collection].find()
        }
        for level in LEVELS
    }


def test_right_rollups_stay_as_they_are(mongo: Mongo, database: Database[Any]) -> None:
    """No difference is found and nothing is written, whatever the order of the events."""
    rollup_factory.insert(database, events(*random.Random(1).sample(range(2_000), 2_000)))
    before = counted(database)

    findings = a_reconciliation(mongo).check()

    assert {} == findings.different == a_reconciliation(mongo).rebuild().different
    assert (2_000, sum(map(len, before.values()))) == (findings.events, findings.rollups)
    assert before == counted(database)


def test_every_planted_fault_is_found_and_repaired(mongo: Mongo, database: Database[Any]) -> None:
    """A missing rollup, a surplus one, and a wrong value in each field; a second check finds nothing."""
    rollup_factory.insert(database, events(*range(1_000)))
    right, hours = counted(database), database["rollups_1h"]
    ids = [each["_id"] for each in hours.find().sort("bucket")]
    surplus = hours.find_one({"_id": ids[0]}) | {"_id": f"{TOPIC_ID}:9:{ids[0].split(':')[2]}"}
    hours.insert_one(surplus)
    hours.delete_one({"_id": ids[1]})
    planted = [
        {"$inc": {"n": 1}},
        {"$inc": {"types.type-1": 1}},
        {"$inc": {"cells.type-1|mobile|browser-0|v2": -1}},
        {"$inc": {"apart": 1}},
        {"$set": {"users": b"broken"}},
        {"$set": {"n": 0}},
        {"$set": {"locations": {"DE": 5, "FR": 1}}},
    ]
    for id_, change in zip(ids[2:], planted, strict=False):
        hours.update_one({"_id": id_}, change)

    found = whys(a_reconciliation(mongo).check())
    repaired = whys(a_reconciliation(mongo).rebuild())

    assert len(found) == 2 + len(planted)
    assert found == repaired
    parts = ("n is", "types: 'type-1'", "cells:", "apart is 1", "users:", "missing:", "no such event", "locations:")
    for part in parts:
        assert any(part in why for why in found), part
    assert {} == a_reconciliation(mongo).check().different
    assert right == counted(database)


def test_missing_rollups_are_rebuilt_like_those_of_a_worker(mongo: Mongo, database: Database[Any]) -> None:
    """A worker continues from their offset."""
    rollup_factory.insert(database, events(*range(500)))
    right = counted(database)
    for level in LEVELS:
        database[level.collection].drop()

    findings = a_reconciliation(mongo).rebuild()

    assert right == counted(database)
    assert len(findings.different) == sum(map(len, right.values()))
    assert RollupStore(mongo, keep={}).last_offset(PARTITION) == 499


def test_only_the_given_level_is_written(mongo: Mongo, database: Database[Any]) -> None:
    """The other collections stay empty."""
    database["events"].insert_many(events(*range(100)))

    a_reconciliation(mongo, levels=[DAY]).rebuild()

    assert ["1d"] == [name for name, found in counted(database).items() if found]
    assert {} == a_reconciliation(mongo, levels=[DAY]).check().different


def test_documents_of_other_programs_are_counted(mongo: Mongo, database: Database[Any]) -> None:
    """By the fields that they have; those without a time are reported."""
    database["events"].insert_many(
        [
            {"_id": 1, "event_timestamp": NOW},
            {"_id": 2, "event_timestamp": NOW + 0.5, "user_id": 7, "metadata": "none", "kafka": {"topic": "t"}},
            {"_id": 3, "event_timestamp": "yesterday"},
            {"_id": 4},
            {"_id": 5, "event_timestamp": 2**60},
        ]
    )

    findings = a_reconciliation(mongo).rebuild()

    (day,) = database["rollups_1d"].find()
    assert (2, {"%null": 2}, -1) == (day["n"], day["types"], day["partition"])
    assert (2, 3) == (findings.events, findings.untimed)
    assert {} == a_reconciliation(mongo).check().different


def test_events_out_of_order_are_rebuilt_as_such(mongo: Mongo, database: Database[Any]) -> None:
    """The rollups equal those of the worker."""
    rollup_factory.insert(database, events(*range(50)))
    asyncio.run(OutOfOrderStore(mongo, RollupStore(mongo, keep={}), keep={}).insert(events(7_000)))
    right = counted(database)

    assert {} == a_reconciliation(mongo).check().different
    for level in LEVELS:
        database[level.collection].drop()
    a_reconciliation(mongo).rebuild()

    assert right == counted(database)


def test_buckets_before_the_retention_are_not_rebuilt(mongo: Mongo, database: Database[Any]) -> None:
    """MongoDB would delete them at once."""
    database["events"].insert_many([an_event(0, event_timestamp=NOW - 9 * DAY_MS), an_event(1, event_timestamp=NOW)])
    now = datetime.fromtimestamp(NOW / 1000, UTC)
    reconciliation = Reconciliation(mongo, keep={MINUTE: timedelta(days=7)}, now=lambda: now)

    reconciliation.rebuild()

    assert {"1m": 1, "10m": 2, "1h": 2, "1d": 2} == {name: len(found) for name, found in counted(database).items()}
    assert {} == reconciliation.check().different


def test_rollups_of_deleted_events_stay(mongo: Mongo, database: Database[Any]) -> None:
    """Also those of the day of the first event that is left; their number is reported."""
    old = [an_event(n, event_timestamp=NOW - n * 3_600_000) for n in range(100)]
    rollup_factory.insert(database, old)
    right = counted(database)
    database["events"].delete_many({"kafka.offset": {"$gt": 30}})

    findings = a_reconciliation(mongo).rebuild()

    assert right == counted(database)
    assert findings.older > 0


def test_rollups_are_compared_in_several_ranges(
    mongo: Mongo, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a day and across days."""
    monkeypatch.setattr(reconcile_reconciliation, "MAX_ROLLUPS_PER_RANGE", 20)
    monkeypatch.setattr("streamapp.reconcile.bucket_range.MAX_EVENTS_PER_READ", 17)
    documents = [an_event(n, event_timestamp=NOW + n * 200_000) for n in range(600)]
    rollup_factory.insert(database, documents)
    right = counted(database)
    assert {} == a_reconciliation(mongo).check().different
    for level in LEVELS:
        database[level.collection].delete_many({"n": {"$mod": [2, 0]}})
        database[level.collection].update_many({"n": 1}, {"$inc": {"n": 1}})

    a_reconciliation(mongo).rebuild()

    assert right == counted(database)


def test_events_that_a_worker_has_not_settled_are_not_counted(mongo: Mongo, database: Database[Any]) -> None:
    """The worker counts them: a rebuild that did so too would count them twice, or leave out earlier ones."""
    rollup_factory.insert(database, events(*range(100)))
    right = counted(database)
    settled(database, 100)
    database["events"].insert_many(events(103, 104))

    assert {} == a_reconciliation(mongo).check().different == a_reconciliation(mongo).rebuild().different
    assert right == counted(database)


def test_a_check_waits_for_the_first_heartbeat_of_a_new_owner(
    mongo: Mongo, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it calls events different that the worker is about to count."""
    database["events"].insert_many(events(0, 1))
    slept = list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        settled(database, 0)

    monkeypatch.setattr(reconcile_reconciliation, "time", SimpleNamespace(sleep=sleep))

    assert {} == a_reconciliation(mongo).check().different
    assert slept == [reconcile_reconciliation.FIRST_HEARTBEAT_SECONDS]


def rebuilt(mongo: Mongo, next_offset: int) -> ReconciliationResult:
    """Rebuild while no worker owns the partition, and the group goes on at this offset."""
    return a_reconciliation(mongo).rebuild({PARTITION: next_offset})


def test_events_that_the_next_worker_receives_again_are_left_to_it(mongo: Mongo, database: Database[Any]) -> None:
    """A worker stored later events, was killed before it stored an earlier one, and no worker has followed it yet."""
    database["events"].insert_many(events(0, 1, 2, 3, 4, 6, 7))
    settled(database, 4, at=datetime.now(UTC) - timedelta(hours=1))

    found = rebuilt(mongo, 4)

    assert (7, 3) == (found.events, found.uncounted)
    worker = CountingWorker(mongo, database, 4)
    asyncio.run(worker.work())
    assert_every_event_is_counted_once(mongo, database)


def test_a_worker_that_comes_and_goes_during_a_rebuild_has_counted_its_events(
    mongo: Mongo, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has committed them after the rebuild read where the group goes on, so nobody receives them again."""
    rollup_factory.insert(database, events(*range(1_000)))
    database["rollups_1m"].delete_many({})
    worker = CountingWorker(mongo, database, 1_000)
    find = Reconciliation._next_day

    def found_after_the_worker(self: Reconciliation, *args: Any) -> Any:
        if worker.delivered == 1_000:
            asyncio.run(worker.work())
        return find(self, *args)

    monkeypatch.setattr(Reconciliation, "_next_day", found_after_the_worker)

    rebuilt(mongo, 1_000)

    assert_every_event_is_counted_once(mongo, database)


def test_a_rollup_of_which_another_program_removed_the_offset_is_rebuilt(mongo: Mongo, database: Database[Any]) -> None:
    """Whatever other rollups the partition has."""
    rollup_factory.insert(database, events(*range(10)))
    database["rollups_1d"].update_many({}, {"$unset": {"offset": ""}})

    rebuilt(mongo, 10)

    assert_every_event_is_counted_once(mongo, database)


def test_the_commits_of_a_killed_worker_are_later_than_its_last_heartbeat(
    mongo: Mongo, database: Database[Any]
) -> None:
    """No worker receives what is committed again, so it is counted; a worker that lives says itself how far it is."""
    rollup_factory.insert(database, events(*range(20)))
    database["rollups_1m"].delete_many({})
    settled(database, 5, at=datetime.now(UTC) + timedelta(seconds=30))

    assert rebuilt(mongo, 20).different
    assert 4 == max(each["offset"] for each in database["rollups_1m"].find())

    settled(database, 5, at=datetime.now(UTC) - timedelta(seconds=30))
    rebuilt(mongo, 20)
    assert_every_event_is_counted_once(mongo, database)


def test_events_below_the_rollups_are_counted_also_if_the_group_was_rewound(
    mongo: Mongo, database: Database[Any]
) -> None:
    """A worker has counted them, and would not count them again."""
    rollup_factory.insert(database, events(*range(100)))
    database["rollups_1h"].delete_many({})
    settled(database, 100, at=datetime.now(UTC) - timedelta(hours=1))

    assert 0 == rebuilt(mongo, 10).uncounted

    assert_every_event_is_counted_once(mongo, database)


def test_each_rollup_is_compared_up_to_its_own_offset(mongo: Mongo, database: Database[Any]) -> None:
    """While the rollups are read, a worker may complete a write and begin the next one, at the widest level."""
    settled(database, 100)
    for level in LEVELS:
        last = 199 if level is MINUTE else 299
        for each in rollup_factory.rollups(events(*range(last + 1)), level):
            database[level.collection].insert_one(each | {"offset": last})
    database["events"].insert_many(events(*range(300)))

    assert {} == a_reconciliation(mongo).check().different


def test_rollups_are_compared_before_a_new_owner_has_settled_a_batch(mongo: Mongo, database: Database[Any]) -> None:
    """The heartbeat of the new owner has no settled offset."""
    rollup_factory.insert(database, events(*range(20)))
    asyncio.run(RollupStore(mongo, keep={}).prepare())
    for level in LEVELS:
        database[level.collection].update_many({}, {"$set": {"offset": 19}})
    settled(database, None)

    assert {} == a_reconciliation(mongo).check().different
    database["rollups_1h"].update_one({}, {"$inc": {"n": 1}})

    assert len(a_reconciliation(mongo).check().different) == 1


def settled(
    database: Database[Any], offset: int | None, *, delivered: int | None = None, at: datetime | None = None
) -> None:
    """Write the heartbeat of a worker that has settled the offsets below `offset` and read those below `delivered`."""
    state = {"kind": "partition", "topic": "t", "incarnation": TOPIC_ID, "partition": 0, "settled": offset}
    state |= {"delivered": delivered, "at": at or datetime.now(UTC)}
    database["pipeline_state"].replace_one({"_id": "partition"}, state, upsert=True)


class CountingWorker:
    """Stores and counts events as a worker does, some batches concurrently, with a heartbeat beside it."""

    def __init__(self, mongo: Mongo, database: Database[Any], first: int, rollups: RollupStore | None = None) -> None:
        self._database = database
        self._store = EventStore(mongo)
        self._writer = RollupWriter(
            rollups or RollupStore(mongo, keep={}),
            outages=OutageRetrier("MongoDB"),
            keep={},
            now=lambda: datetime.now(UTC),
        )
        self._chance = random.Random(5)
        self._settled = self.delivered = first

    async def work(self) -> None:
        """Store and count the next batches."""
        begin = self.delivered
        self.delivered += 800
        batches = [events(*range(at, at + 200)) for at in range(begin, self.delivered, 200)]
        # Not in their order: a later batch can be stored before an earlier one.
        await asyncio.gather(*[self._store.insert(each) for each in self._chance.sample(batches, len(batches))])
        await asyncio.gather(*[self._writer.add(PARTITION, PendingCounts.of(each)) for each in batches])
        self._settled = self.delivered

    async def beat(self) -> None:
        """Write heartbeats until cancelled."""
        while True:
            # The instant first: what is reported must not be older than it.
            state = {"at": datetime.now(UTC), "offset": self._settled, "delivered": self.delivered}
            await asyncio.to_thread(settled, self._database, **state)
            await asyncio.sleep(0.05)


def assert_every_event_is_counted_once(mongo: Mongo, database: Database[Any]) -> None:
    """Compare the rollups with all stored events."""
    stored = list(database["events"].find())
    right = {level.name: {each["_id"]: each["n"] for each in rollup_factory.rollups(stored, level)} for level in LEVELS}
    assert right == {name: {id_: each[0] for id_, each in each.items()} for name, each in counted(database).items()}
    assert {} == a_reconciliation(mongo).check().different


def delete_rollups(database: Database[Any]) -> None:
    """Delete all rollups."""
    for level in LEVELS:
        database[level.collection].delete_many({})


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild waits for the heartbeats of a worker, however slow the machine is."""
    monkeypatch.setattr(reconcile_reconciliation, "HEARTBEAT_SECONDS", 120.0)
    monkeypatch.setattr(reconcile_reconciliation, "SETTLE_SECONDS", 120.0)


@pytest.mark.usefixtures("patient")
def test_a_rebuild_beside_a_running_worker_counts_every_event_once(mongo: Mongo, database: Database[Any]) -> None:
    """All rollups are deleted and rebuilt again and again while the worker counts."""
    rollup_factory.insert(database, events(*range(3_000)))

    def rebuild_often() -> None:
        times = 0
        while times < 4 or database["events"].count_documents({}) <= 5_000:
            delete_rollups(database)
            a_reconciliation(mongo).rebuild()
            assert {} == a_reconciliation(mongo).check().different
            times += 1

    async def work_until_rebuilt() -> None:
        worker = CountingWorker(mongo, database, 3_000)
        heartbeat = asyncio.create_task(worker.beat())
        rebuilt = asyncio.create_task(asyncio.to_thread(rebuild_often))
        while not rebuilt.done():
            await worker.work()
        await rebuilt
        heartbeat.cancel()

    settled(database, 3_000)
    asyncio.run(work_until_rebuilt())

    assert_every_event_is_counted_once(mongo, database)


class HeldRollups(RollupStore):
    """A store whose first write waits, once it is done, until it is released."""

    def __init__(self, mongo: Mongo) -> None:
        super().__init__(mongo, keep={})
        self.is_written, self.is_released = asyncio.Event(), asyncio.Event()

    async def write_if_unchanged(self, level: Level, writes: Sequence[ConditionalWrite]) -> bool:
        is_done = await super().write_if_unchanged(level, writes)
        self.is_written.set()
        await self.is_released.wait()
        return is_done


@pytest.mark.usefixtures("patient")
def test_rollups_that_are_deleted_during_a_write_are_rebuilt_with_its_events(
    mongo: Mongo, database: Database[Any]
) -> None:
    """The worker has written them and does not write them again; its heartbeat does not include their events yet."""
    rollup_factory.insert(database, events(*range(800)))

    async def rebuild_during_a_write() -> None:
        rollups = HeldRollups(mongo)
        worker = CountingWorker(mongo, database, 800, rollups)
        heartbeat, write = asyncio.create_task(worker.beat()), asyncio.create_task(worker.work())
        await rollups.is_written.wait()
        delete_rollups(database)
        rebuild = asyncio.create_task(asyncio.to_thread(a_reconciliation(mongo).rebuild))
        # A rebuild that does not wait for the worker has ended before the worker goes on.
        await asyncio.wait([rebuild], timeout=2.0)
        rollups.is_released.set()
        await asyncio.gather(rebuild, write)
        await worker.work()
        heartbeat.cancel()

    asyncio.run(rebuild_during_a_write())

    assert_every_event_is_counted_once(mongo, database)


def test_a_rebuild_ends_with_an_error_if_a_worker_does_not_settle(
    mongo: Mongo, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rollups that the worker has written and that are missing now cannot be counted again."""
    monkeypatch.setattr(reconcile_reconciliation, "SETTLE_SECONDS", 0.1)
    rollup_factory.insert(database, events(*range(100)))
    delete_rollups(database)

    async def rebuild_beside_a_stuck_worker() -> None:
        worker = CountingWorker(mongo, database, 50)
        worker.delivered = 100
        settled(database, 50, delivered=100)
        heartbeat = asyncio.create_task(worker.beat())
        try:
            await asyncio.to_thread(a_reconciliation(mongo).rebuild)
        finally:
            heartbeat.cancel()

    with pytest.raises(StoreUnavailable, match="have not counted"):
        asyncio.run(rebuild_beside_a_stuck_worker())

    assert {} == counted(database)["1d"]


def test_the_command_says_which_events_are_left_to_the_next_worker(
    settings: Settings, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If Kafka does not say where the group goes on, it counts all, and says what that means."""
    foreign.make_topic(settings)
    topic_id = asyncio.run(KafkaAdmin(KafkaConnection.of(settings)).topic_id_of(settings.topic))
    database["events"].insert_many([an_event(offset, _id=f"{topic_id}-0-{offset}") for offset in range(9)])
    monkeypatch.setattr(topic_reader, "TIMEOUT", 0.5)
    nowhere = settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{net.choose_port()}"})

    def rebuild(settings: Settings) -> Result:
        return CliRunner().invoke(rollups.command, ["rebuild", "--json"], env=environment(settings))

    left, counted_all = rebuild(settings), rebuild(nowhere)

    assert [0, 0] == [left.exit_code, counted_all.exit_code], left.output + counted_all.output
    assert "9 stored events are not counted yet" in left.stderr
    assert "Start a worker" in left.stderr
    assert (0, 9) == (json.loads(left.stdout)["rebuilt"], json.loads(left.stdout)["not_counted_yet"])
    assert "STREAMAPP_KAFKA_BOOTSTRAP_SERVERS" in counted_all.stderr
    assert "all stored events are counted" in counted_all.stderr
    assert 9 == sum(each["n"] for each in database[DAY.collection].find())
