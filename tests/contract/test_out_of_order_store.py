"""What the sink expects of the store of events out of order; the fake and MongoDB pass the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import DatetimeMS

from streamapp.decode.identity import with_id_of_its_own
from streamapp.errors import StoreUnavailable
from streamapp.local import mongod
from streamapp.model.record import PartitionId
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_store import EventStore
from streamapp.mongodb.out_of_order_store import OutOfOrderStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.rollups.keys import id_of
from streamapp.rollups.levels import LEVELS
from streamapp.rollups.rollup import ConditionalWrite, Rollup
from streamapp.rollups.writer import RollupPort
from streamapp.sink.ports import EventPort, OutOfOrderPort
from tests.support.backends import standalone_mongod
from tests.support.doubles.ports import FakeEventStore, FakeOutOfOrderStore, FakeRollupStore
from tests.support.factories import NOW, TOPIC_ID
from tests.support.rollup_factory import an_event


class Subject:
    """A store of events out of order, and the two stores that it writes to."""

    def __init__(
        self,
        store: OutOfOrderPort,
        events: EventPort,
        rollups: RollupPort,
        *,
        make_unreachable: Callable[[], None],
        delete: Callable[[str], object],
        refuse: Callable[[str], object],
    ) -> None:
        self.store = store
        self.events = events
        self.rollups = rollups
        self.make_unreachable = make_unreachable
        self.delete = delete
        self.refuse = refuse

    def insert(self, *documents: dict[str, Any]) -> tuple[set[int], set[int]]:
        """Insert, and return which were duplicates and which were refused."""
        outcome = asyncio.run(self.store.insert(documents))
        return set(outcome.duplicates), set(outcome.refused)

    def known(self, *offsets: int) -> dict[int, bool]:
        """Return which events are stored, and whether they are marked as out of order."""
        ids = {an_event(offset)["_id"]: offset for offset in offsets}
        known = asyncio.run(self.events.known([*ids]))
        return {ids[id_]: each["kafka"].get("apart", False) for id_, each in known.items()}

    def counts(self) -> set[tuple[int, int, int]]:
        """Return events, events out of order and offset of the rollup of each level: one value if they agree."""
        return {(rollup.n, rollup.out_of_order, rollup.offset) for rollup in self._rollups()}

    def _rollups(self) -> Iterator[Rollup]:
        for level in LEVELS:
            id_ = id_of(PartitionId(TOPIC_ID, 0), level.start_of(NOW))
            yield from asyncio.run(self.rollups.load(level, [id_])).values()


@pytest.fixture(scope="module")
def standalone_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a MongoDB that is not a replica set: it has no transactions."""
    with standalone_mongod(tmp_path_factory.mktemp("mongod")) as port:
        yield port


@pytest.fixture(params=["fake", "replica set", "standalone"])
def subject(request: pytest.FixtureRequest, unique_name: str) -> Iterator[Subject]:
    """Return each in turn."""
    if request.param == "fake":
        events, rollups = FakeEventStore(), FakeRollupStore()
        yield Subject(
            FakeOutOfOrderStore(events, rollups),
            events,
            rollups,
            make_unreachable=lambda: setattr(events, "is_unreachable", True),
            delete=events.documents.pop,
            refuse=lambda type_: setattr(events, "refused_type", type_),
        )
        return
    if request.param == "standalone":
        uri = mongod.uri(request.getfixturevalue("standalone_port"))
    else:
        uri = request.getfixturevalue("backend").addresses.mongo_uri
    mongo = Mongo(uri, unique_name)
    rollup_store = RollupStore(mongo, keep={})
    yield Subject(
        OutOfOrderStore(mongo, rollup_store, keep={}),
        EventStore(mongo),
        rollup_store,
        make_unreachable=mongo.close,
        delete=lambda id_: mongo.database["events"].delete_one({"_id": id_}),
        refuse=lambda type_: mongo.database.command("collMod", "events", validator={"event_type": {"$ne": type_}}),
    )
    mongo.close()


def test_an_event_out_of_order_is_stored_marked_and_counted(subject: Subject) -> None:
    """At every level, as an event out of order; the offset of the rollup stays."""
    assert (set(), set()) == subject.insert(an_event(3))

    assert {3: True} == subject.known(3, 4)
    assert {(1, 1, -1)} == subject.counts()


def test_counts_and_offset_of_a_stored_rollup_are_kept(subject: Subject) -> None:
    """The event is added to what was counted in order."""
    for level in LEVELS:
        rollup = Rollup(id_of(PartitionId(TOPIC_ID, 0), level.start_of(NOW)))
        rollup.n, rollup.offset = 5, 9
        asyncio.run(subject.rollups.write_if_unchanged(level, [ConditionalWrite(None, rollup.document())]))

    subject.insert(an_event(3))

    assert {(6, 1, 9)} == subject.counts()


def test_an_event_that_is_stored_already_is_not_counted_again(subject: Subject) -> None:
    """Whether it is twice in one call, or was stored by a call before, or in order."""
    asyncio.run(subject.events.insert([an_event(1)]))

    assert ({0, 2}, set()) == subject.insert(an_event(1), an_event(3), an_event(3))
    assert ({0}, set()) == subject.insert(an_event(3))
    assert {1: False, 3: True} == subject.known(1, 3)
    assert {(1, 1, -1)} == subject.counts()


def test_an_event_that_was_deleted_is_stored_again_and_not_counted_again(subject: Subject) -> None:
    """An operator may delete old events; their rollups stay."""
    subject.insert(an_event(3), an_event(4))
    subject.delete(an_event(3)["_id"])

    assert (set(), set()) == subject.insert(an_event(3), an_event(5))

    assert {3: True, 4: True, 5: True} == subject.known(3, 4, 5)
    assert {(3, 3, -1)} == subject.counts()
    assert {3, 4, 5} == asyncio.run(subject.events.failed_before(PartitionId(TOPIC_ID, 0), [2, 3, 4, 5]))


@pytest.mark.parametrize("change", [{"user_id": "another"}, {"kafka": {"timestamp": DatetimeMS(NOW + 1)}}])
def test_another_event_at_the_same_offset_is_stored_beside_the_first(subject: Subject, change: dict[str, Any]) -> None:
    """Under an `_id` with its Kafka timestamp and a checksum, once; it is counted, too."""
    usual = an_event(3)
    usual["kafka"] |= {"timestamp": DatetimeMS(NOW)}
    other = usual | change | {"kafka": usual["kafka"] | change.get("kafka", {})}
    asyncio.run(subject.events.insert([usual]))

    first = asyncio.run(subject.store.insert([usual, other]))
    again = asyncio.run(subject.store.insert([other]))

    assert ({0}, {1}) == ({*first.duplicates}, {*first.reused})
    assert ({0}, set[int]()) == ({*again.duplicates}, {*again.reused})
    assert {(1, 1, -1)} == subject.counts()
    id_ = with_id_of_its_own(other)["_id"]
    assert id_.startswith(f"{TOPIC_ID}-0-3-179000000000")
    assert {id_} == asyncio.run(subject.events.known([id_])).keys()


def test_a_refused_event_does_not_stop_the_events_beside_it(subject: Subject) -> None:
    """It is neither stored nor counted."""
    assert (set(), {1}) == subject.insert(an_event(0), an_event(1, n=2**70), an_event(2))

    assert {0: True, 2: True} == subject.known(0, 1, 2)
    assert {(2, 2, -1)} == subject.counts()


def test_an_event_that_was_deleted_is_not_counted_again_beside_one_that_the_server_refuses(subject: Subject) -> None:
    """Without transactions, the events before the refused one are stored, and must be counted, at once."""
    subject.insert(an_event(0))
    subject.delete(an_event(0)["_id"])
    subject.refuse("view")

    outcome = subject.insert(an_event(0), an_event(1), an_event(2, event_type="view"), an_event(3))

    assert {2} == outcome[1]
    assert {0: True, 1: True, 3: True} == subject.known(0, 1, 2, 3)
    assert {(3, 3, -1)} == subject.counts()
    assert {0, 1, 3} == asyncio.run(subject.events.failed_before(PartitionId(TOPIC_ID, 0), [0, 1, 2, 3]))


def test_the_given_documents_are_not_changed(subject: Subject) -> None:
    """After an outage the same documents are inserted again."""
    document = an_event(3)

    subject.insert(document)

    assert an_event(3) == document


def test_an_unreachable_store_raises(subject: Subject) -> None:
    """The call may be repeated."""
    subject.make_unreachable()

    with pytest.raises(StoreUnavailable):
        subject.insert(an_event(3))
