"""Rollups are compared with events, and mended, on the real MongoDB: also while a worker counts."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.database import Database

from streamapp.decode.document import Document
from streamapp.model.record import PartitionId
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_store import EventStore
from streamapp.mongodb.out_of_order_store import OutOfOrderStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.reconcile import reconciliation as reconcile_reconciliation
from streamapp.reconcile.reconciliation import Reconciliation, ReconciliationResult
from streamapp.retry import OutageRetrier
from streamapp.rollups.levels import LEVELS, Level
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.writer import RollupWriter
from streamapp.settings import Settings
from tests.support import rollup_factory
from tests.support.factories import NOW, TOPIC_ID

LANE = PartitionId(TOPIC_ID, 0)
MINUTE, TEN_MINUTES, HOUR, DAY = LEVELS
DAY_MS = DAY.width_ms


@pytest.fixture
def mongo(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mongo]:
    """Return the way to a database of the test's own."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    asyncio.run(EventStore(mongo).prepare())
    monkeypatch.setattr(reconcile_reconciliation, "CLAIM_SECONDS", 0.01)
    monkeypatch.setattr(reconcile_reconciliation, "HEARTBEAT_SECONDS", 2.0)
    yield mongo
    mongo.close()


def an_event(offset: int, **changes: Any) -> Document:
    """Return the document of an event; they lie in several minutes, hours and days."""
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
    """Return one by the present clock, of rollups that are kept for ever."""
    return Reconciliation(mongo, keep={}, now=lambda: datetime.now(UTC), levels=levels)


def whys(findings: ReconciliationResult) -> list[str]:
    """Return what was wrong."""
    return sorted(findings.different.values())


def counted(database: Database[Any]) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Return what stands in all rollups."""
    return {
        level.name: {
            each["_id"]: tuple(each[name] for name in ("n", "types", "browsers", "cells", "apart"))
            for each in database[level.collection].find()
        }
        for level in LEVELS
    }


def test_what_the_worker_counted_is_right_and_stays(mongo: Mongo, database: Database[Any]) -> None:
    """Nothing is told and nothing is written, whatever the order of the events."""
    rollup_factory.insert(database, events(*random.Random(1).sample(range(2_000), 2_000)))
    before = counted(database)

    findings = a_reconciliation(mongo).check()

    assert {} == findings.different == a_reconciliation(mongo).rebuild().different
    assert (2_000, sum(map(len, before.values()))) == (findings.events, findings.rollups)
    assert before == counted(database)


def test_every_planted_fault_is_told_and_mended(mongo: Mongo, database: Database[Any]) -> None:
    """A rollup that is gone, one too many, a wrong number in each of its fields; the second time, all is well."""
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

    told = whys(a_reconciliation(mongo).check())
    mended = whys(a_reconciliation(mongo).rebuild())

    assert len(told) == 2 + len(planted)
    assert told == mended
    parts = ("n is", "types: 'type-1'", "cells:", "apart is 1", "users:", "missing:", "no such event", "locations:")
    for part in parts:
        assert any(part in why for why in told), part
    assert {} == a_reconciliation(mongo).check().different
    assert right == counted(database)


def test_rollups_that_are_absent_are_made_as_the_worker_makes_them(mongo: Mongo, database: Database[Any]) -> None:
    """And the worker goes on from them."""
    rollup_factory.insert(database, events(*range(500)))
    right = counted(database)
    for level in LEVELS:
        database[level.collection].drop()

    findings = a_reconciliation(mongo).rebuild()

    assert right == counted(database)
    assert len(findings.different) == sum(map(len, right.values()))
    assert RollupStore(mongo, keep={}).last_offset(LANE) == 499


def test_only_the_level_that_is_asked_for_is_written(mongo: Mongo, database: Database[Any]) -> None:
    """The others stay absent."""
    database["events"].insert_many(events(*range(100)))

    a_reconciliation(mongo, levels=[DAY]).rebuild()

    assert ["1d"] == [name for name, found in counted(database).items() if found]
    assert {} == a_reconciliation(mongo, levels=[DAY]).check().different


def test_documents_of_others_are_counted_with_what_they_have(mongo: Mongo, database: Database[Any]) -> None:
    """Somebody may have loaded events by hand; those without a time are told."""
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


def test_events_that_came_apart_are_counted_as_such(mongo: Mongo, database: Database[Any]) -> None:
    """By the worker, and again."""
    rollup_factory.insert(database, events(*range(50)))
    asyncio.run(OutOfOrderStore(mongo, RollupStore(mongo, keep={}), keep={}).insert(events(7_000)))
    right = counted(database)

    assert {} == a_reconciliation(mongo).check().different
    for level in LEVELS:
        database[level.collection].drop()
    a_reconciliation(mongo).rebuild()

    assert right == counted(database)


def test_what_is_not_kept_is_not_made_again(mongo: Mongo, database: Database[Any]) -> None:
    """MongoDB would delete it at once."""
    database["events"].insert_many([an_event(0, event_timestamp=NOW - 9 * DAY_MS), an_event(1, event_timestamp=NOW)])
    now = datetime.fromtimestamp(NOW / 1000, UTC)
    reconciliation = Reconciliation(mongo, keep={MINUTE: timedelta(days=7)}, now=lambda: now)

    reconciliation.rebuild()

    assert {"1m": 1, "10m": 2, "1h": 2, "1d": 2} == {name: len(found) for name, found in counted(database).items()}
    assert {} == reconciliation.check().different


def test_history_whose_events_are_gone_is_left_alone(mongo: Mongo, database: Database[Any]) -> None:
    """Who deletes old events keeps their rollups, also of the day in which they were cut; it is told."""
    old = [an_event(n, event_timestamp=NOW - n * 3_600_000) for n in range(100)]
    rollup_factory.insert(database, old)
    right = counted(database)
    database["events"].delete_many({"kafka.offset": {"$gt": 30}})

    findings = a_reconciliation(mongo).rebuild()

    assert right == counted(database)
    assert findings.older > 0


def test_more_rollups_than_are_compared_at_once(
    mongo: Mongo, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stretch by stretch, within a day and across days."""
    monkeypatch.setattr(reconcile_reconciliation, "COMPARED_AT_ONCE", 20)
    monkeypatch.setattr("streamapp.reconcile.bucket_range.READ_AT_ONCE", 17)
    some = [an_event(n, event_timestamp=NOW + n * 200_000) for n in range(600)]
    rollup_factory.insert(database, some)
    right = counted(database)
    assert {} == a_reconciliation(mongo).check().different
    for level in LEVELS:
        database[level.collection].delete_many({"n": {"$mod": [2, 0]}})
        database[level.collection].update_many({"n": 1}, {"$inc": {"n": 1}})

    a_reconciliation(mongo).rebuild()

    assert right == counted(database)


def test_what_a_worker_has_not_settled_is_left_to_it(mongo: Mongo, database: Database[Any]) -> None:
    """Stored already, not counted yet: it would be counted twice, or what lies before it not at all."""
    rollup_factory.insert(database, events(*range(100)))
    right = counted(database)
    settled(database, 100)
    database["events"].insert_many(events(103, 104))

    assert {} == a_reconciliation(mongo).check().different == a_reconciliation(mongo).rebuild().different
    assert right == counted(database)


def test_a_worker_that_has_just_come_has_settled_nothing(mongo: Mongo, database: Database[Any]) -> None:
    """What it finds counted is compared all the same."""
    rollup_factory.insert(database, events(*range(20)))
    asyncio.run(RollupStore(mongo, keep={}).prepare())
    for level in LEVELS:
        database[level.collection].update_many({}, {"$set": {"offset": 19}})
    settled(database, None)

    assert {} == a_reconciliation(mongo).check().different
    database["rollups_1h"].update_one({}, {"$inc": {"n": 1}})

    assert len(a_reconciliation(mongo).check().different) == 1


def settled(database: Database[Any], offset: int | None) -> None:
    """Tell how far the worker is, as its heartbeat does."""
    state = {"kind": "partition", "topic": "t", "incarnation": TOPIC_ID, "partition": 0, "settled": offset}
    database["pipeline_state"].replace_one({"_id": "partition"}, {**state, "at": datetime.now(UTC)}, upsert=True)


class CountingWorker(threading.Thread):
    """Stores and counts events as a worker does, some batches side by side, until it is told to end."""

    def __init__(self, mongo: Mongo, database: Database[Any], first: int) -> None:
        super().__init__()
        self._mongo = mongo
        self._database = database
        self._next = first
        self.ends = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as exc:  # noqa: BLE001 - for the test
            self.failure = exc

    async def _work(self) -> None:
        store, rollups = EventStore(self._mongo), RollupStore(self._mongo, keep={})
        counting = RollupWriter(rollups, outages=OutageRetrier("MongoDB"), keep={}, now=lambda: datetime.now(UTC))
        chance = random.Random(5)
        while not self.ends.is_set():
            batches = [events(*range(at, at + 200)) for at in range(self._next, self._next + 800, 200)]
            # Not in their order: what comes later is stored earlier.
            await asyncio.gather(*[store.insert(each) for each in chance.sample(batches, len(batches))])
            await asyncio.gather(*[counting.add(LANE, PendingCounts.of(each)) for each in batches])
            self._next += 800
            settled(self._database, self._next)


def test_a_running_worker_is_unharmed(mongo: Mongo, database: Database[Any]) -> None:
    """While it counts, all rollups are dropped and counted again, again and again; in the end every event is there."""
    rollup_factory.insert(database, events(*range(3_000)))
    settled(database, 3_000)
    worker = CountingWorker(mongo, database, 3_000)
    worker.start()
    for _ in range(4):
        for level in LEVELS:
            database[level.collection].delete_many({})
        a_reconciliation(mongo).rebuild()
        assert {} == a_reconciliation(mongo).check().different
    worker.ends.set()
    worker.join(30)

    assert worker.failure is None
    stored = list(database["events"].find())
    right = {level.name: {each["_id"]: each["n"] for each in rollup_factory.rollups(stored, level)} for level in LEVELS}
    found = {name: {id_: each[0] for id_, each in each.items()} for name, each in counted(database).items()}
    assert len(stored) > 5_000
    assert right == found
    assert {} == a_reconciliation(mongo).check().different
