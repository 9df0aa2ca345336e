"""Rollups in a real MongoDB; what the fake does too is in tests/contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
import pytest
from pymongo.database import Database

from streamapp.decode.document import Document
from streamapp.errors import StoreUnavailable
from streamapp.model.record import PartitionId
from streamapp.mongodb import out_of_order_store, rollup_store
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.out_of_order_store import OutOfOrderStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.rollups.keys import id_of
from streamapp.rollups.levels import LEVELS
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.rollup import ConditionalWrite, Rollup
from streamapp.settings import Settings
from tests.support.factories import NOW, TOPIC_ID
from tests.support.rollup_factory import an_event
from tests.support.until import until

PARTITION = PartitionId(TOPIC_ID, 0)
MINUTE, DAY = LEVELS[0], LEVELS[-1]


@pytest.fixture
def mongo(settings: Settings) -> Iterator[Mongo]:
    """Return the client of the database of the test."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    yield mongo
    mongo.close()


@pytest.fixture
def rollups(mongo: Mongo) -> RollupStore:
    """Return a store of rollups without retention."""
    return RollupStore(mongo, keep={})


def counted(events: Sequence[Document], *, offset: int) -> Rollup:
    """Return a new rollup of one day that counts the events."""
    start, delta = next(iter(PendingCounts.of(events).after(-1, DAY).items()))
    rollup = Rollup(id_of(PARTITION, start))
    rollup.add(delta)
    rollup.offset = offset
    return rollup


def numbers(database: Database[Any]) -> dict[str, list[tuple[int, int]]]:
    """Return the events and the events out of order of all rollups."""
    return {
        level.name: [(each["n"], each["apart"]) for each in database[level.collection].find().sort("_id")]
        for level in LEVELS
    }


def test_a_rollup_is_written_only_over_the_version_that_was_read(rollups: RollupStore) -> None:
    """Neither over another new rollup, nor over the write of another process."""
    rollup = counted([an_event(0)], offset=0)
    new = ConditionalWrite(None, rollup.document())

    assert rollups.write(DAY, [new])
    assert not rollups.write(DAY, [new])
    changed = rollup.document() | {"offset": 1}
    assert not rollups.write(DAY, [ConditionalWrite((5, 1), changed)])
    assert not rollups.write(DAY, [ConditionalWrite((0, 2), changed)])
    assert rollups.write(DAY, [ConditionalWrite((0, 1), changed)])


def test_a_changed_rollup_does_not_stop_the_writes_beside_it(rollups: RollupStore) -> None:
    """The others are written, and read as they were written."""
    first, second = counted([an_event(0)], offset=0), counted([an_event(0)], offset=0)
    second.id = id_of(PARTITION, 0)
    rollups.write(DAY, [ConditionalWrite(None, first.document())])

    assert not rollups.write(DAY, [ConditionalWrite(None, first.document()), ConditionalWrite(None, second.document())])

    found = asyncio.run(rollups.load(DAY, [first.id, second.id, "none"]))
    assert {first.id: first.document(), second.id: second.document()} == {
        id_: rollup.document() for id_, rollup in found.items()
    }


@pytest.mark.parametrize("is_large", [False, True])
def test_many_rollups_are_replaced_unless_their_version_has_changed(
    rollups: RollupStore, database: Database[Any], monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    """In several updates, and in several commands if they are large; each gets its own document."""
    if is_large:
        monkeypatch.setattr(rollup_store, "_MAX_COMMAND_BYTES", 10_000)
    before = [counted([an_event(0)], offset=5).document() | {"_id": f"{TOPIC_ID}:0:{n}"} for n in range(250)]
    after = [each | {"n": n + 2, "offset": 9} for n, each in enumerate(before)]
    assert rollups.write(DAY, [ConditionalWrite(None, each) for each in before])
    changed = {"offset": (6, 1), "n": (5, 7)}
    for at, name in ((0, "offset"), (120, "n")):
        database[DAY.collection].update_one({"_id": before[at]["_id"]}, {"$set": {name: changed[name][name == "n"]}})

    assert not rollups.write(DAY, [ConditionalWrite((5, 1), each) for each in after])

    found = {each["_id"]: (each["offset"], each["n"]) for each in database[DAY.collection].find()}
    expected = {each["_id"]: (9, n + 2) for n, each in enumerate(before)}
    assert expected | {before[0]["_id"]: changed["offset"], before[120]["_id"]: changed["n"]} == found
    others = [n for n in range(250) if n not in {0, 120}]
    assert rollups.write(DAY, [ConditionalWrite((9, n + 2), before[n]) for n in others])


def test_a_rollup_without_a_version_is_replaced(rollups: RollupStore, database: Database[Any]) -> None:
    """Another program has removed the fields."""
    new = counted([an_event(0)], offset=5).document()
    for name in ("offset", "n"):
        database[DAY.collection].replace_one(
            {"_id": new["_id"]}, {key: value for key, value in new.items() if key != name}, upsert=True
        )
        found = asyncio.run(rollups.load(DAY, [new["_id"]]))[new["_id"]]

        assert not rollups.write(DAY, [ConditionalWrite((5, 1), new)])
        assert rollups.write(DAY, [ConditionalWrite(found.expected_version, new)])


def test_the_high_watermark_is_that_of_the_partition_alone(rollups: RollupStore) -> None:
    """Neither that of partition 10, nor that of the re-created topic."""
    for topic_id, partition, offset in ((TOPIC_ID, 0, 7), (TOPIC_ID, 10, 99), ("B" * 22, 0, 50)):
        rollup = counted([an_event(0)], offset=offset)
        rollup.id = id_of(PartitionId(topic_id, partition), 0)
        rollups.write(DAY, [ConditionalWrite(None, rollup.document())])

    assert [7, 99, -1] == [rollups.last_offset(PartitionId(TOPIC_ID, partition)) for partition in (0, 10, 1)]


def test_another_retention_creates_another_index(mongo: Mongo, database: Database[Any]) -> None:
    """The setting has changed between two starts."""
    for days, expected in ((7, 7 * 86_400), (1, 86_400), (None, None)):
        keep = {MINUTE: timedelta(days=days) if days else None}
        asyncio.run(RollupStore(mongo, keep=keep).prepare())

        index = database[MINUTE.collection].index_information()["bucket_1"]
        assert expected == index.get("expireAfterSeconds")


def test_an_event_out_of_order_is_stored_and_counted_once(
    mongo: Mongo, rollups: RollupStore, database: Database[Any]
) -> None:
    """Twice in one call, and in a second call; it is marked, and the offset of the rollup stays."""
    rollups.write(DAY, [ConditionalWrite(None, counted([an_event(5)], offset=9).document())])
    out_of_order = OutOfOrderStore(mongo, rollups, keep={})

    first = asyncio.run(out_of_order.insert([an_event(3), an_event(3)]))
    again = asyncio.run(out_of_order.insert([an_event(3)]))

    assert [{1}, {0}] == [first.duplicates, again.duplicates]
    assert [True] == [document["kafka"]["apart"] for document in database["events"].find()]
    assert {"1m": [(1, 1)], "10m": [(1, 1)], "1h": [(1, 1)], "1d": [(2, 1)]} == numbers(database)
    assert rollups.last_offset(PARTITION) == 9


def test_a_refused_event_does_not_stop_the_events_beside_it(
    mongo: Mongo, rollups: RollupStore, database: Database[Any]
) -> None:
    """The encoder refuses one, a validator another; the rest is stored and counted."""
    database.create_collection("events", validator={"user_id": {"$ne": "user-1"}})

    outcome = asyncio.run(
        OutOfOrderStore(mongo, rollups, keep={}).insert([an_event(0, n=2**70), an_event(1), an_event(2)])
    )

    assert {0, 1} == set(outcome.refused)
    assert [(1, 1)] == numbers(database)["1d"]
    assert database["events"].count_documents({}) == 1


def test_an_event_out_of_order_is_stored_and_counted_or_neither(
    mongo: Mongo, rollups: RollupStore, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error between two writes, the transaction is aborted."""
    write = rollups.write

    def fail_at_the_last_level(level: Any, *args: Any) -> bool:
        if level is DAY:
            raise ConnectionResetError
        return write(level, *args)

    monkeypatch.setattr(rollups, "write", fail_at_the_last_level)

    with pytest.raises(ConnectionResetError):
        asyncio.run(OutOfOrderStore(mongo, rollups, keep={}).insert([an_event(0)]))

    assert database["events"].count_documents({}) == 0
    assert [] == [each for found in numbers(database).values() for each in found]


def test_an_event_out_of_order_is_not_counted_in_expired_buckets(
    mongo: Mongo, rollups: RollupStore, database: Database[Any]
) -> None:
    """MongoDB would delete them at once."""
    keep = {MINUTE: timedelta(days=7)}
    now = datetime.fromtimestamp(NOW / 1000, UTC) + timedelta(days=8)

    asyncio.run(OutOfOrderStore(mongo, rollups, keep=keep, now=lambda: now).insert([an_event(0)]))

    assert {"1m": 0, "10m": 1, "1h": 1, "1d": 1} == {name: len(found) for name, found in numbers(database).items()}


class _SlowRollupStore(RollupStore):
    """Finds rollups after the time limit of the transaction."""

    def find(self, *args: Any, **values: Any) -> dict[str, Rollup]:
        ends_at = time.monotonic() + 1
        until(lambda: time.monotonic() > ends_at, what="the end of the time limit")
        return super().find(*args, **values)


def test_a_transaction_that_takes_too_long_releases_its_locks(
    mongo: Mongo, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next attempt would wait until MongoDB ends it."""
    database.create_collection("events")
    monkeypatch.setattr(out_of_order_store, "ANSWER_TIMEOUT_MS", 500)
    with pytest.raises(StoreUnavailable):
        asyncio.run(OutOfOrderStore(mongo, _SlowRollupStore(mongo, keep={}), keep={}).insert([an_event(0)]))

    with pymongo.timeout(5):
        database["events"].insert_one(an_event(0))
