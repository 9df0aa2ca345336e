"""What the sink expects of an event store; the fake and MongoDB pass the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from streamapp.decode.document import Document
from streamapp.errors import StoreUnavailable
from streamapp.model.record import PartitionId, Reason
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_store import EventStore
from streamapp.sink.ports import EventPort
from tests.conftest import SettingsFactory
from tests.support.doubles.ports import FakeEventStore
from tests.support.factories import NOW, TOPIC_ID, a_letter, lazy, replayed


class Subject:
    """An event store, ways to look into it, and one to make it unreachable."""

    #: Makes the form in which documents are inserted.
    form: Callable[[dict[str, Any]], Document] = dict

    def __init__(
        self,
        store: EventPort,
        ids: Callable[[], set[str]],
        dead: Callable[[], dict[str, int]],
        make_unreachable: Callable[[], None],
    ) -> None:
        self.store = store
        self.ids = ids
        self.dead = dead
        self.make_unreachable = make_unreachable

    def insert(self, *documents: dict[str, Any]) -> tuple[set[int], set[int]]:
        """Insert; return which were duplicates and which refused."""
        outcome = asyncio.run(self.store.insert([*map(self.form, documents)]))
        return set(outcome.duplicates), set(outcome.refused)

    def count(self, *letters: Any) -> None:
        """Count dead letters."""
        asyncio.run(self.store.count_dead_letters(letters))

    def mark(self, *letters: Any) -> None:
        """Mark the offsets of dead letters."""
        asyncio.run(self.store.mark_failed(letters))


def encoded(document: dict[str, Any]) -> Document:
    """Return the document as the fast path makes it, if it can be encoded."""
    try:
        return lazy(document)
    except OverflowError:
        return document


@pytest.fixture(params=["fake", "mongodb"])
def subject(request: pytest.FixtureRequest, settings_for: SettingsFactory) -> Iterator[Subject]:
    """Return each in turn."""
    if request.param == "fake":
        fake = FakeEventStore()
        yield Subject(
            fake,
            lambda: set(fake.documents),
            lambda: dict(fake.dead_letters),
            lambda: setattr(fake, "is_unreachable", True),
        )
        return
    settings = settings_for()
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    store, database = EventStore(mongo), mongo.database
    yield Subject(
        store,
        lambda: {document["_id"] for document in database["events"].find()},
        lambda: {document["reason"]: document["n"] for document in database["dead_letters"].find()},
        mongo.close,
    )
    mongo.close()


@pytest.fixture(params=[dict, encoded], autouse=True)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Insert documents in each form in turn."""
    monkeypatch.setattr(Subject, "form", staticmethod(request.param))


def test_new_documents_are_stored(subject: Subject) -> None:
    """All of them."""
    assert (set(), set()) == subject.insert({"_id": "a"}, {"_id": "b"})
    assert {"a", "b"} == subject.ids()


def test_documents_that_are_stored_already_are_duplicates(subject: Subject) -> None:
    """The documents beside them are stored."""
    subject.insert({"_id": "b"})

    assert ({1}, set()) == subject.insert({"_id": "a"}, {"_id": "b"}, {"_id": "c"})
    assert {"a", "b", "c"} == subject.ids()


def test_a_document_that_is_twice_in_a_call_is_stored_once(subject: Subject) -> None:
    """The second is a duplicate."""
    assert ({1}, set()) == subject.insert({"_id": "a"}, {"_id": "a"})


def test_known_events_say_whether_they_were_counted_out_of_order(subject: Subject) -> None:
    """A document of another program has no such mark."""
    subject.insert({"_id": "a", "kafka": {"offset": 1}}, {"_id": "b", "kafka": {"apart": True}}, {"_id": "c"})

    known = asyncio.run(subject.store.known(["a", "b", "c", "d"]))

    assert {"a": None, "b": True, "c": None} == {id_: each.get("kafka", {}).get("apart") for id_, each in known.items()}


def test_known_events_have_the_fields_that_tell_them_from_other_events(subject: Subject) -> None:
    """And those that rollups need, and no others."""
    event = {"user_id": "u", "event_type": "click", "metadata": {"device": "tv", "location": "DE"}}
    kafka = {"offset": 1, "timestamp": datetime(2026, 3, 1)}  # noqa: DTZ001 - as the driver returns it
    subject.insert({"_id": "a", **event, "kafka": kafka, "schema_id": 1})

    assert {"_id": "a", **event, "kafka": kafka} == asyncio.run(subject.store.known(["a"]))["a"]


def test_offsets_of_dead_letters_are_remembered(subject: Subject) -> None:
    """Those of the partition, in documents of thousands of offsets; a replayed event that fails again adds none."""
    partition_id, other = PartitionId(TOPIC_ID, 0), PartitionId(TOPIC_ID, 1)
    first = a_letter(offset=31)
    subject.mark(first, a_letter(offset=32), a_letter(offset=5_000_000_000), a_letter(offset=7, partition=1))
    subject.mark(first, a_letter(offset=5_000_000_001, headers=replayed(first)))

    found = asyncio.run(subject.store.failed_before(partition_id, [7, 31, 32, 33, 5_000_000_000, 5_000_000_001]))

    assert {31, 32, 5_000_000_000} == found
    assert [5_000_000_000, 7, -1] == [
        asyncio.run(subject.store.highest_failed(each)) for each in (partition_id, other, PartitionId(TOPIC_ID, 2))
    ]


def test_an_unreachable_store_raises(subject: Subject) -> None:
    """Every call may be repeated."""
    subject.make_unreachable()

    for call in (
        lambda: subject.insert({"_id": "a"}),
        lambda: asyncio.run(subject.store.known(["a"])),
        lambda: asyncio.run(subject.store.uncounted(["a"])),
        lambda: asyncio.run(subject.store.failed_before(PartitionId(TOPIC_ID, 0), [1])),
        lambda: asyncio.run(subject.store.highest_failed(PartitionId(TOPIC_ID, 0))),
        lambda: subject.mark(a_letter()),
        lambda: subject.count(a_letter()),
    ):
        with pytest.raises(StoreUnavailable):
            call()


def test_uncounted_events_are_those_that_were_not_counted_out_of_order(subject: Subject) -> None:
    """By their ids, with the fields that rollups need and no others."""
    event = {"user_id": "u", "metadata": {"device": "tv", "location": "DE"}}
    subject.insert(
        {"_id": "a", **event, "kafka": {"offset": 1, "timestamp": 5}, "schema_id": 1},
        {"_id": "b", "kafka": {"offset": 2, "apart": True}},
    )

    found = asyncio.run(subject.store.uncounted(["a", "b", "c"]))

    assert [{"_id": "a", **event, "kafka": {"offset": 1}}] == [*found]


def test_documents_beside_a_refused_one_are_stored(subject: Subject) -> None:
    """Beside a duplicate, too."""
    subject.insert({"_id": "d"})

    outcome = subject.insert({"_id": "a"}, {"_id": "b", "n": 2**63}, {"_id": "c"}, {"_id": "d"})

    assert ({3}, {1}) == outcome
    assert {"a", "c", "d"} == subject.ids()


def test_all_documents_can_be_refused(subject: Subject) -> None:
    """Then nothing is left to send."""
    assert (set(), {0}) == subject.insert({"_id": "a", "n": 2**63})


def test_dead_letters_are_counted_by_reason(subject: Subject) -> None:
    """Of every partition."""
    subject.count(
        a_letter(offset=1), a_letter(offset=2), a_letter(Reason.EMPTY, offset=3), a_letter(offset=1, partition=1)
    )

    assert {"undecodable": 3, "empty": 1} == subject.dead()


def test_a_redelivered_dead_letter_is_not_counted_again(subject: Subject) -> None:
    """Together with new ones."""
    subject.count(a_letter(offset=1), a_letter(offset=5))
    subject.count(a_letter(offset=1), a_letter(offset=5), a_letter(offset=6))

    assert {"undecodable": 3} == subject.dead()


def test_dead_letters_of_another_hour_are_counted_too(subject: Subject) -> None:
    """Summed here; MongoDB has one document per reason and hour."""
    subject.count(a_letter(offset=1))
    subject.count(a_letter(offset=2, timestamp=NOW + 1000))

    assert {"undecodable": 2} == subject.dead()


def test_an_event_that_fails_again_for_the_same_reason_is_counted_once(subject: Subject) -> None:
    """However often it is replayed and delivered."""
    first = [a_letter(offset=offset) for offset in range(5)]
    subject.count(*first)
    for _ in range(2):
        subject.count(*(a_letter(offset=10 + at, headers=replayed(letter)) for at, letter in enumerate(first)))

    assert {"undecodable": 5} == subject.dead()


def test_an_event_that_fails_again_for_another_reason_is_counted_there_too(subject: Subject) -> None:
    """Out of offset order, in copies, and delivered twice."""
    first = [a_letter(offset=offset) for offset in range(5)]
    subject.count(*first)
    copies = [a_letter(Reason.EMPTY, offset=10, headers=replayed(first[at])) for at in (3, 1, 3, 0)]
    for _ in range(2):
        subject.count(copies[0])
        subject.count(*copies[1:])

    assert {"undecodable": 5, "empty": 3} == subject.dead()


def test_an_event_that_returns_to_a_reason_is_not_counted_there_again(subject: Subject) -> None:
    """Nor is one that changes its reason every time."""
    letter = a_letter(offset=3)
    subject.count(letter)
    for reason in (Reason.EMPTY, Reason.UNDECODABLE, Reason.EMPTY, Reason.TRUNCATED, Reason.UNDECODABLE):
        letter = a_letter(reason, offset=10, headers=replayed(letter))
        subject.count(letter)

    assert {"undecodable": 1, "empty": 1, "truncated": 1} == subject.dead()


def test_a_record_that_is_read_again_is_not_counted_where_its_replay_was(subject: Subject) -> None:
    """After its replay failed for another reason, the record itself fails for that reason, too."""
    first = a_letter(offset=3)
    subject.count(first)
    subject.count(a_letter(Reason.EMPTY, offset=10, headers=replayed(first)))
    subject.count(a_letter(Reason.EMPTY, offset=3), a_letter(Reason.EMPTY, offset=4))

    assert {"undecodable": 1, "empty": 2} == subject.dead()


def test_first_failures_are_counted_beside_events_that_fail_again(subject: Subject) -> None:
    """A replayed event has an old offset; the later first failures are counted all the same."""
    old = a_letter(Reason.EMPTY, offset=50)
    subject.count(old)
    subject.count(a_letter(offset=51), a_letter(offset=52, headers=replayed(old)), a_letter(offset=53))
    subject.count(a_letter(offset=54))

    assert {"undecodable": 4, "empty": 1} == subject.dead()
