"""What the rollup writer expects of a rollup store; the fake and MongoDB pass the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamapp.errors import StoreUnavailable
from streamapp.model.record import PartitionId
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.rollups.keys import id_of
from streamapp.rollups.levels import LEVELS, Level
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.rollup import ConditionalWrite, Rollup
from streamapp.rollups.writer import RollupPort
from tests.conftest import SettingsFactory
from tests.support.doubles.ports import FakeRollupStore
from tests.support.factories import TOPIC_ID
from tests.support.rollup_factory import an_event

PARTITION = PartitionId(TOPIC_ID, 0)
DAY = LEVELS[-1]


class Subject:
    """A rollup store, and a way to make it unreachable."""

    def __init__(self, store: RollupPort, make_unreachable: Callable[[], None]) -> None:
        self.store = store
        self.make_unreachable = make_unreachable

    def load(self, *ids: str, level: Level = DAY) -> dict[str, dict[str, Any]]:
        """Return the documents of the rollups that are found."""
        found = asyncio.run(self.store.load(level, ids))
        return {id_: rollup.document() for id_, rollup in found.items()}

    def write(self, *writes: ConditionalWrite, level: Level = DAY) -> bool:
        """Write, and return whether all were written."""
        return asyncio.run(self.store.write_if_unchanged(level, writes))

    def high_watermark(self, partition_id: PartitionId = PARTITION) -> int:
        """Return that of a partition."""
        return asyncio.run(self.store.high_watermark(partition_id))


@pytest.fixture(params=["fake", "mongodb"])
def subject(request: pytest.FixtureRequest, settings_for: SettingsFactory) -> Iterator[Subject]:
    """Return each in turn."""
    if request.param == "fake":
        fake = FakeRollupStore()
        yield Subject(fake, lambda: setattr(fake, "is_unreachable", True))
        return
    settings = settings_for()
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    yield Subject(RollupStore(mongo, keep={}), mongo.close)
    mongo.close()


def a_rollup(*, offset: int, bucket_ms: int = 0, partition_id: PartitionId = PARTITION) -> Rollup:
    """Return a new rollup with one event."""
    rollup = Rollup(id_of(partition_id, bucket_ms))
    (delta,) = PendingCounts.of([an_event(offset)]).after(-1, DAY).values()
    rollup.add(delta)
    rollup.offset = offset
    return rollup


def first(rollup: Rollup) -> ConditionalWrite:
    """Return the write of a rollup that must not be stored yet."""
    return ConditionalWrite(None, rollup.document())


def test_stored_rollups_are_loaded(subject: Subject) -> None:
    """Those of the level, and only those that exist."""
    rollup = a_rollup(offset=7)
    assert subject.write(first(rollup))

    assert {rollup.id: rollup.document()} == subject.load(rollup.id, "other")
    assert {} == subject.load(rollup.id, level=LEVELS[0])
    assert {} == subject.load()


def test_a_rollup_is_written_only_over_the_version_that_was_read(subject: Subject) -> None:
    """The version is the offset and the number of events; None means that no rollup is stored."""
    rollup = a_rollup(offset=0)
    subject.write(first(rollup))
    rollup.offset = 9

    assert not subject.write(first(rollup))
    assert not subject.write(ConditionalWrite((5, 1), rollup.document()))
    assert not subject.write(ConditionalWrite((0, 2), rollup.document()))
    assert 0 == subject.load(rollup.id)[rollup.id]["offset"]
    assert subject.write(ConditionalWrite((0, 1), rollup.document()))
    assert 9 == subject.load(rollup.id)[rollup.id]["offset"]


def test_a_rollup_that_is_gone_is_not_written(subject: Subject) -> None:
    """Another process deleted it after it was read."""
    assert not subject.write(ConditionalWrite((0, 1), a_rollup(offset=0).document()))
    assert {} == subject.load(a_rollup(offset=0).id)


def test_a_changed_rollup_does_not_stop_the_writes_beside_it(subject: Subject) -> None:
    """The result still says that not all were written."""
    changed, new = a_rollup(offset=0), a_rollup(offset=0, bucket_ms=DAY.width_ms)
    subject.write(first(changed))

    assert not subject.write(first(changed), first(new))
    assert {changed.id, new.id} == subject.load(changed.id, new.id).keys()


def test_a_stored_rollup_changes_only_with_a_write(subject: Subject) -> None:
    """The writer adds to the rollup that it wrote, and keeps it in memory."""
    rollup = a_rollup(offset=0)
    subject.write(first(rollup))
    before = subject.load(rollup.id)

    rollup.add(next(iter(PendingCounts.of([an_event(1)]).after(-1, DAY).values())))

    assert before == subject.load(rollup.id)


def test_the_high_watermark_is_the_highest_offset_at_any_level(subject: Subject) -> None:
    """A write can end between two levels."""
    assert -1 == subject.high_watermark()

    for level, offset in zip(LEVELS, (3, 9, 5, 4), strict=True):
        subject.write(first(a_rollup(offset=offset)), level=level)

    assert 9 == subject.high_watermark()


def test_the_high_watermark_is_that_of_the_partition_alone(subject: Subject) -> None:
    """Partition 10 and a topic that was re-created have their own."""
    others = ((PartitionId(TOPIC_ID, 10), 99), (PartitionId("B" * 22, 0), 50))
    for partition_id, offset in ((PARTITION, 7), *others):
        subject.write(first(a_rollup(offset=offset, partition_id=partition_id)))

    assert 7 == subject.high_watermark()


def test_an_unreachable_store_raises(subject: Subject) -> None:
    """Every call may be repeated."""
    subject.make_unreachable()

    for call in (
        lambda: subject.load("any"),
        lambda: subject.write(first(a_rollup(offset=0))),
        subject.high_watermark,
    ):
        with pytest.raises(StoreUnavailable):
            call()
