"""The retention of events in a real MongoDB: the index, what it deletes, and the rollups of deleted events."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.database import Database

from streamapp.decode.document import Document
from streamapp.model.expiry import CLOCK_TOLERANCE, INDEX, Expiry
from streamapp.mongodb import event_retention
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_retention import EventRetention
from streamapp.reconcile import reconciliation
from streamapp.reconcile.reconciliation import Reconciliation, ReconciliationResult
from streamapp.rollups.levels import LEVELS
from streamapp.settings import Settings
from tests.support import rollup_factory
from tests.support.factories import TOPIC_ID
from tests.support.until import until

DAY = timedelta(days=1)
DAY_MS = 86_400_000
#: The clock of the tests, which agrees with the one by which MongoDB deletes events.
CLOCK = datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture
def mongo(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mongo]:
    """Return the client of the database of the test."""
    monkeypatch.setattr(reconciliation, "FIRST_HEARTBEAT_SECONDS", 0.01)
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    yield mongo
    mongo.close()


def apply(mongo: Mongo, days: int) -> None:
    """Prepare MongoDB as a worker with this setting does."""
    asyncio.run(EventRetention(mongo, days=days, now=lambda: CLOCK).prepare())


def ttl(database: Database[Any]) -> dict[str, int]:
    """Return the retention of each TTL index in days."""
    indexes = database["events"].list_indexes()
    return {each["name"]: each["expireAfterSeconds"] // 86_400 for each in indexes if "expireAfterSeconds" in each}


def an_event(offset: int, *, age: float, **changes: Any) -> Document:
    """Return an event that happened, and was received, `age` days before the clock of the tests."""
    at = int((CLOCK - age * DAY).timestamp() * 1000)
    received = {"received_at": CLOCK - age * DAY, "event_timestamp": at}
    return rollup_factory.an_event(offset, **{**received, **changes})


def reconcile(mongo: Mongo) -> Reconciliation:
    """Return a reconciliation of rollups without retention."""
    return Reconciliation(mongo, keep={}, now=lambda: CLOCK, max_lead_ms=DAY_MS)


def numbers(database: Database[Any]) -> dict[str, int]:
    """Return the events that the rollups of each level count."""
    return {level.name: sum(each["n"] for each in database[level.collection].find()) for level in LEVELS}


def delete_aged_out(database: Database[Any], days: int) -> None:
    """Delete what MongoDB deletes."""
    assert database["events"].delete_many({"received_at": {"$lt": CLOCK - days * DAY}}).deleted_count


@contextmanager
def fast_deletion(database: Database[Any]) -> Generator[None]:
    """Let MongoDB look for expired documents every second."""
    before = database.client.admin.command("setParameter", 1, ttlMonitorSleepSecs=1)["was"]
    try:
        yield
    finally:
        database.client.admin.command("setParameter", 1, ttlMonitorSleepSecs=before)


def test_the_index_follows_the_setting(mongo: Mongo, database: Database[Any]) -> None:
    """It is created, kept, changed in place and dropped; without the setting nothing is written."""
    seen = []
    for days in (0, 7, 7, 30, 24_855, 0, 0):
        apply(mongo, days)
        seen.append(ttl(database))

    assert seen == [{}, {INDEX: 7}, {INDEX: 7}, {INDEX: 30}, {INDEX: 24_855}, {}, {}]


def test_nothing_is_written_without_the_setting(mongo: Mongo, database: Database[Any]) -> None:
    """A user without more rights than before suffices."""
    apply(mongo, 0)
    assert [] == database.list_collection_names()


def test_an_index_of_an_operator_is_changed_but_never_dropped(
    mongo: Mongo, database: Database[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """MongoDB allows one index on the field."""
    database["events"].create_index("received_at", name="mine")
    apply(mongo, 0)
    assert {} == ttl(database)

    for days in (7, 30):
        apply(mongo, days)
        assert {"mine": days} == ttl(database)
    with caplog.at_level(logging.WARNING):
        apply(mongo, 0)

    assert {"mine": 30} == ttl(database)
    assert "The index mine of events deletes events" in caplog.text


def test_a_worker_that_lost_the_race_accepts_the_result(mongo: Mongo, database: Database[Any]) -> None:
    """Another worker has dropped the index meanwhile."""
    apply(mongo, 7)
    database["events"].drop_index(INDEX)

    EventRetention(mongo, days=0)._drop()

    assert {} == ttl(database)


def test_what_an_earlier_retention_deleted_is_remembered(mongo: Mongo, database: Database[Any]) -> None:
    """After a longer one, and after none."""
    apply(mongo, 7)
    assert Expiry(retention=7 * DAY) == event_retention.expiry(mongo.primary)
    apply(mongo, 30)
    longer = event_retention.expiry(mongo.primary)
    apply(mongo, 0)
    none = event_retention.expiry(mongo.primary)

    assert (Expiry(30 * DAY, CLOCK - 7 * DAY), Expiry(None, CLOCK - 7 * DAY)) == (longer, none)
    assert CLOCK - 7 * DAY + CLOCK_TOLERANCE == longer.before(CLOCK) == none.before(CLOCK)
    state = database["pipeline_state"].find_one({"_id": "retention"})
    assert state
    assert ("retention", 0) == (state["kind"], state["retention_days"])


@pytest.mark.skipif("STREAMAPP_TEST_LONG" not in os.environ, reason="MongoDB looks for expired events once a minute")
def test_mongodb_deletes_events_by_the_time_of_their_receipt(mongo: Mongo, database: Database[Any]) -> None:
    """Not by the event time; the documents of other programs, without that time, stay."""
    now = datetime.now(UTC)
    old, new = {"received_at": now - 2 * DAY}, {"received_at": now - DAY / 2}
    documents = [
        rollup_factory.an_event(0, **old),
        rollup_factory.an_event(1, **new, event_timestamp=0),
        rollup_factory.an_event(2),
    ]
    database["events"].insert_many(documents)
    apply(mongo, 1)

    with fast_deletion(database):
        until(lambda: database["events"].count_documents({}) == 2, within=150, what="the deletion")

    assert {f"{TOPIC_ID}-0-{offset}" for offset in (1, 2)} == {each["_id"] for each in database["events"].find()}


def whys(found: ReconciliationResult) -> tuple[int, int]:
    """Return the numbers of rollups that differ, and of those that cannot be repaired."""
    return len(found.different), len(found.unrepairable)


@pytest.mark.parametrize("later", [(), (30,), (0,), (30, 0)])
def test_rollups_keep_the_counts_of_deleted_events(
    mongo: Mongo, database: Database[Any], later: tuple[int, ...]
) -> None:
    """In a check and a rebuild, in buckets of which events are left, and after the retention was changed."""
    events = [an_event(n, age=n / 4) for n in range(80)]
    # Received now, and happened long ago: the first event that is left is older than events that were deleted.
    events += [an_event(100 + n, age=n / 4, received_at=CLOCK) for n in range(60, 64)]
    rollup_factory.insert(database, events)
    apply(mongo, 7)
    delete_aged_out(database, 7)
    for days in later:
        apply(mongo, days)
    before = numbers(database)

    checked, rebuilt = reconcile(mongo).check(), reconcile(mongo).rebuild()

    assert ((0, 0), (0, 0)) == (whys(checked), whys(rebuilt))
    assert dict.fromkeys(before, 84) == before == numbers(database)
    assert checked.aged_out > 0


def test_rollups_without_deleted_events_are_compared_exactly(mongo: Mongo, database: Database[Any]) -> None:
    """Of older buckets those that count too few are reported; a missing one is counted again."""
    rollup_factory.insert(database, [an_event(n, age=n / 4) for n in range(80)])
    # Two old events in one bucket of every level, received late.
    late = [an_event(100 + n, age=15, received_at=CLOCK) for n in range(2)]
    alone = an_event(200, age=19.9, received_at=CLOCK)
    rollup_factory.insert(database, [*late, alone])
    apply(mongo, 7)
    delete_aged_out(database, 7)
    right = numbers(database)
    new, old = CLOCK - DAY, CLOCK - 15 * DAY
    minutes = database["rollups_1m"]
    assert minutes.update_many({"bucket": {"$gt": new}}, {"$inc": {"n": 1}}).modified_count == 4
    minute = {"bucket": {"$gte": old - timedelta(minutes=1), "$lte": old}}
    assert minutes.update_one(minute, {"$inc": {"n": -2}}).modified_count == 1
    assert minutes.delete_one({"bucket": {"$lte": CLOCK - 19.9 * DAY}, "n": 1}).deleted_count == 1

    checked = reconcile(mongo).check()
    rebuilt = reconcile(mongo).rebuild()
    again = reconcile(mongo).check()

    assert [(5, 1), (5, 1), (0, 1)] == [whys(each) for each in (checked, rebuilt, again)], checked
    assert not again.is_good
    assert right | {"1m": right["1m"] - 2} == numbers(database)
