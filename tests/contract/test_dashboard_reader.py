"""The fake reader and the real one tell the same about the same documents."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from bson.int64 import Int64
from pymongo import MongoClient

from dashboard.data import reader
from dashboard.data.chunks import MOST_SECONDS
from dashboard.data.connection import Connection
from dashboard.data.reader import MongoReader
from dashboard.data.version_times import FRESH_FOR_SECONDS, VersionTimes
from dashboard.model import time_window
from dashboard.model.snapshot import Counts, Filter
from tests.support import rollup_factory
from tests.support.doubles.dashboard_reader import FakeReader, document, v1
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from streamapp.local.backend import Backend

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
START = time_window.window(time_window.DEFAULT, NOW).start
END = time_window.window(time_window.DEFAULT, NOW).end
MILLISECOND = timedelta(milliseconds=1)

LONG = "x" * 200

CASES: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "one": [document(NOW)],
    "both versions": [v1(NOW), document(NOW), document(NOW - timedelta(minutes=5)), document(NOW, browser=None)],
    "edges of the window": [document(START - MILLISECOND), document(START), document(END - MILLISECOND), document(END)],
    "two users in several buckets": [
        document(NOW - timedelta(minutes=i), user_id=f"user-{i % 2}", event_type=f"type-{i % 3}") for i in range(10)
    ],
    "unregistered": [document(NOW, schema_version="unregistered"), document(NOW)],
    "fields that are absent": [
        {key: value for key, value in document(NOW).items() if key not in {"browser", "metadata", "event_type"}},
        document(NOW, metadata={}),
    ],
    "odd values": [document(NOW, event_type="a.b$c|d"), document(NOW, event_type=""), document(NOW, browser="Ω")],
    "values with the texts of labels": [
        document(NOW, event_type=text, browser=text, metadata={"device": text, "location": text}, user_id=text)
        for text in (
            "not given",
            "n/a (v1)",
            "all others",
            "not counted",
            "unregistered",
            '"not given"',
            "",
            " ",
            "%null",
        )
    ],
    "long values": [document(NOW, event_type=text) for text in (LONG, LONG + "y", LONG[:100], LONG[:99], LONG[:98])],
    "all versions": [v1(NOW), document(NOW, schema_version="v3", browser=None), document(NOW, browser="not given")],
}


@pytest.fixture
def database(backend: Backend, unique_name: str) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](backend.addresses.mongo_uri) as client:
        yield client[unique_name]
        client.drop_database(unique_name)


@pytest.fixture
def connection(backend: Backend, unique_name: str) -> Iterator[Connection]:
    connection = Connection(uri=backend.addresses.mongo_uri, database=unique_name)
    yield connection
    connection.close()


@pytest.fixture
def real(connection: Connection) -> MongoReader:
    return MongoReader(connection, subject="user_events-value")


FILTERS = [
    Filter(),
    Filter(types=("click", "type-1")),
    Filter(browsers=("not given",), devices=("mobile", "not given")),
    Filter(versions=("unregistered", "v1")),
    Filter(browsers=("n/a (v1)", '"not given"')),
    Filter(types=('"not given"', '""', "all others", "unregistered", LONG[:99] + "…")),
    Filter(types=(LONG[:99],)),
]
COMPLETE = [case for case in CASES if case != "fields that are absent"]


@pytest.mark.parametrize("case", CASES)
def test_fake_and_real_count_the_same(case: str, real: MongoReader, database: Database[dict[str, Any]]) -> None:
    """So a page that is tested with the fake is tested."""
    fake = FakeReader(CASES[case])
    fake.not_rolled_up, fake.version_times = len(fake.documents), ()
    if fake.documents:
        database["events"].insert_many(fake.documents)

    for offered, wanted in product(time_window.RANGES, FILTERS):
        shown = time_window.window(offered, NOW)
        assert fake.found_directly(shown, wanted) == real.found_directly(shown, wanted)
    assert fake.overview() == real.overview()


def compared(previous: Counts | None) -> Any:
    """Return what is shown of the period before."""
    return previous and (previous.total, previous.by_bucket, previous.by_value["types"], previous.users)


@pytest.mark.parametrize("case", COMPLETE)
def test_rollups_tell_the_same_as_events(case: str, real: MongoReader, database: Database[dict[str, Any]]) -> None:
    """Of the window, of its finished part and of the period before it."""
    fake = FakeReader(CASES[case])
    if fake.documents:
        rollup_factory.insert(database, fake.documents)

    for offered, wanted in product(time_window.RANGES, FILTERS):
        shown = time_window.window(offered, NOW)
        expected, found = fake.found(shown, wanted, settled_at=NOW), real.found(shown, wanted, settled_at=NOW)
        assert compared(expected.previous) == compared(found.previous)
        assert replace(expected, previous=None) == replace(found, previous=None)
    assert fake.overview() == real.overview()


ARRIVING = [
    Filter(),
    Filter(types=("click",)),
    Filter(types=("click", "search"), versions=("v2",)),
    Filter(locations=("DE", "not given")),
    Filter(locations=("DE",), types=("click",)),
]


def test_answers_are_right_while_events_arrive(real: MongoReader, database: Database[dict[str, Any]]) -> None:
    """At each refresh only what has changed is read: the sums are those of all events all the same."""
    chance, now, fake = random.Random(7), NOW, FakeReader()
    for step in range(8):
        now += timedelta(seconds=(5, 55, 600)[step % 3])
        # At first so many that most of the later ones come into rollups that exist.
        arrived = [one_of_many(chance, now) for _ in range(2 if step else 300)]
        rollup_factory.insert(database, arrived)
        fake.documents += arrived
        for offered, wanted in product(time_window.RANGES[:4], ARRIVING):
            shown = time_window.window(offered, now)
            expected, found = fake.found(shown, wanted, settled_at=now), real.found(shown, wanted, settled_at=now)
            assert without_options(expected.counts) == without_options(found.counts)
            if wanted.is_in_cells:
                assert compared(expected.previous) == compared(found.previous)
                assert expected.counts.options == found.counts.options
            if len(wanted.names) <= 1:
                assert expected.finished is not None
                assert found.finished is not None
                assert expected.finished.total == found.finished.total


def one_of_many(chance: random.Random, now: datetime) -> dict[str, Any]:
    """Return an event of the last hours, most of them new, of one of three partitions."""
    event = document(
        now - timedelta(seconds=chance.choice([5, 3_000, 80_000]) * chance.random()),
        user_id=f"user-{chance.randrange(30)}",
        event_type=chance.choice(["click", "search", "purchase"]),
        metadata={"device": "mobile", "location": chance.choice(["DE", "FR", None])},
        schema_version=chance.choice(["v2", "v3"]),
    )
    number, offset = chance.randrange(3), event["kafka"]["offset"]
    return event | {"_id": f"{'A' * 22}-{number}-{offset}", "kafka": {**event["kafka"], "partition": number}}


def without_options(counts: Counts) -> Counts:
    """Return the counts without what filters offer."""
    return replace(counts, options={})


def test_what_changes_without_a_trace_is_noticed_after_a_while(
    connection: Connection, database: Database[dict[str, Any]]
) -> None:
    """A rollup that was corrected and has the same number of events, and events that MongoDB deleted."""
    seconds = [0.0]
    real = MongoReader(connection, subject="user_events-value", monotonic=lambda: seconds[-1])
    rollup_factory.insert(database, [document(NOW), document(NOW - timedelta(minutes=9))])
    shown, wanted = time_window.window(time_window.DEFAULT, NOW), Filter(types=("click",))

    def read() -> tuple[Any, Any]:
        found = real.found(shown, wanted, settled_at=NOW).counts
        return real.found(shown, Filter(), settled_at=NOW).counts.by_value["types"], found.users

    assert ({"click": 2}, 1) == read()
    database[shown.level.collection].update_many({}, {"$set": {"types": {"search": 1}}})
    database["events"].delete_many({})

    seconds.append(MOST_SECONDS)
    assert ({"search": 2}, None) == read()


@pytest.mark.parametrize("received_at", [NOW, NOW + MILLISECOND])
def test_lost_rollups_are_noticed(received_at: datetime, real: MongoReader, database: Database[dict[str, Any]]) -> None:
    """Of one level only, and not while events are on their way into them."""
    at = [NOW, NOW - timedelta(minutes=8), NOW - timedelta(minutes=20)]
    fake = FakeReader([document(at[0]), *[document(when, received_at=received_at) for when in at[1:]]])
    rollup_factory.insert(database, fake.documents)
    level = time_window.window(time_window.DEFAULT, NOW).level

    for when in at[:0:-1]:
        bucket = time_window.bucket_start(when, level.width)
        fake.lost.add(bucket)
        database[level.collection].delete_many({"bucket": bucket})
        for offered, wanted in product(time_window.RANGES[:2], FILTERS):
            shown = time_window.window(offered, NOW)
            assert fake.found(shown, wanted, settled_at=NOW) == real.found(shown, wanted, settled_at=NOW)


def test_all_lives_of_all_topics_are_counted(real: MongoReader, database: Database[dict[str, Any]]) -> None:
    """A topic that was re-created begins at offset 0 again; what its earlier life brought is stored all the same."""
    topic_ids = [("A", "user_events"), ("B", "user_events"), ("C", "other")]
    kafka = document()["kafka"]
    documents = [
        document(NOW, _id=f"{topic_id * 22}-0-{i}", user_id=topic_id, kafka={**kafka, "topic": topic, "offset": i})
        for topic_id, topic in topic_ids
        for i in range(3)
    ]
    rollup_factory.insert(database, documents)

    overview, found = (
        real.overview(),
        real.found(time_window.window(time_window.DEFAULT, NOW), Filter(), settled_at=NOW),
    )

    assert overview
    assert (9, 9, 9, 3) == (overview.stored, overview.rolled_up, found.counts.total, found.counts.users)


def test_users_of_too_many_events_are_not_counted(
    real: MongoReader, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a filter every event would have to be read."""
    monkeypatch.setattr(reader, "MOST_DIRECT", 2)
    monkeypatch.setattr(reader, "MOST_BY_VALUE", 1)
    monkeypatch.setattr(reader, "MOST_FOR_USERS", 2)
    wanted, shown = Filter(browsers=("edge",)), time_window.window(time_window.DEFAULT, NOW)
    rollup_factory.insert(database, [document(NOW), document(NOW, browser="edge")])
    assert 1 == real.found(shown, wanted, settled_at=NOW).counts.users

    rollup_factory.insert(database, [document(NOW, kafka={**document()["kafka"], "topic": "other", "partition": 5})])

    assert real.found(shown, wanted, settled_at=NOW).counts.users is None
    assert real.found_directly(shown, wanted).is_cut


def test_values_of_other_types_are_counted_by_their_texts(
    real: MongoReader, database: Database[dict[str, Any]]
) -> None:
    """MongoDB takes 1 and 1.0 for equal, and finds an array by its items; the page does not."""
    texts = {
        "1": [1, Int64(1), "1"],
        "1.0": [1.0],
        "true": [True, "true"],
        "[1]": [[1]],
        "['1', 'true']": [["1", "true"]],
        "{'a': 1}": [{"a": 1}],
        "not given": [None],
        '"not given"': ["not given"],
        "$event_type": ["$event_type"],
    }
    values = [value for each in texts.values() for value in each]
    database["events"].insert_many(
        document(NOW, event_type=value, browser=None, metadata={"device": value}, user_id=str(n))
        for n, value in enumerate(values)
    )
    database["events"].insert_many([document(NOW, metadata=[{"device": "tv"}], event_type="array")])
    shown = time_window.window(time_window.DEFAULT, NOW)

    found = real.found_directly(shown, Filter()).counts

    expected = {text: len(each) for text, each in texts.items()}
    assert {**expected, "array": 1} == found.by_value["types"]
    assert {**expected, "not given": 2} == found.by_value["devices"]
    for text, n in expected.items():
        counts = real.found_directly(shown, Filter(types=(text,))).counts
        assert (n, n) == (counts.total, counts.users)


def test_thousands_of_values_are_bounded_and_filters_are_exact(
    real: MongoReader, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most frequent value is known; a filter counts what a recount counts, as long as it can read the events."""
    events = [
        document(NOW, event_type="often" if n % 3 == 0 else f"once {n}", user_id=f"user-{n % 50}", browser=f"b{n % 4}")
        for n in range(5_000)
    ]
    rollup_factory.insert(database, events)
    fake, shown = FakeReader(events), time_window.window(time_window.DEFAULT, NOW)

    found = real.found(shown, Filter(), settled_at=NOW).counts
    true = fake.found(shown, Filter(), settled_at=NOW).counts
    assert (5_000, 5_000) == (found.total, sum(found.by_value["types"].values()))
    assert (
        max(found.by_value["types"], key=lambda label: (label != "all others", found.by_value["types"][label]))
        == "often"
    )
    for label, n in true.by_value["types"].items():
        least = found.by_value["types"].get(label, 0)
        assert least <= n <= least + found.error("types", label) <= least + 50
    assert true.by_value["browsers"] == found.by_value["browsers"]

    for wanted in (
        Filter(types=("often",)),
        Filter(types=("once 1",)),
        Filter(types=("never",)),
        Filter(browsers=("b1",)),
        Filter(types=("often", "once 4"), browsers=("b0",)),
    ):
        expected, exact = fake.found(shown, wanted, settled_at=NOW), real.found(shown, wanted, settled_at=NOW)
        assert (expected.counts.by_bucket, expected.counts.users) == (exact.counts.by_bucket, exact.counts.users)
        assert exact.counts.is_exact
        for name in ("browsers", "devices"):
            assert expected.counts.by_value[name] == exact.counts.by_value[name]

    monkeypatch.setattr(reader, "MOST_BY_VALUE", 2_000)
    for wanted, most in (
        (Filter(types=("once 1",)), 50),
        (Filter(types=("never",)), 50),
        (Filter(browsers=("b1",)), 0),
    ):
        expected, found = (
            fake.found(shown, wanted, settled_at=NOW).counts,
            real.found(shown, wanted, settled_at=NOW).counts,
        )
        assert found.total <= expected.total <= found.total + found.possible <= found.total + most
        assert expected.users == found.users
    monkeypatch.setattr(reader, "MOST_FOR_USERS", 2_000)
    assert real.found(shown, Filter(browsers=("b1",)), settled_at=NOW).counts.users is None


def test_first_and_last_events_of_versions_are_known(
    real: MongoReader, connection: Connection, database: Database[dict[str, Any]]
) -> None:
    """By their event times, whenever they were stored; to the bucket, where events were deleted."""
    first = NOW - timedelta(days=80, hours=3, milliseconds=17)
    at = {"v1": [first], "v2": [NOW, NOW - timedelta(days=40), NOW - timedelta(days=40, minutes=1)], "v10": [NOW]}
    documents = [document(when, schema_version=version) for version, times in at.items() for when in times]
    rollup_factory.insert(database, documents)
    expected = tuple((version, min(times), max(times)) for version, times in at.items())
    assert (overview := real.overview())
    assert expected == overview.version_times

    database["events"].delete_many({"schema_version": "v1"})
    database["rollups_1m"].delete_many({})
    times = VersionTimes(connection).read()

    assert ("v1", *[time_window.bucket_start(first, timedelta(minutes=10))] * 2) == times[0]
    assert expected[1:] == times[1:]


def test_version_times_are_read_once_for_many_refreshes(
    connection: Connection, database: Database[dict[str, Any]]
) -> None:
    """And again after a while, at first in the background."""
    seconds = [0.0]
    times = VersionTimes(connection, monotonic=lambda: seconds[-1])
    assert () == times.read()
    rollup_factory.insert(database, [document(NOW)])

    assert () == times.read()
    seconds.append(FRESH_FOR_SECONDS)
    assert () == times.read()
    until(times.read, within=120, what="the times")
    assert (("v2", NOW, NOW),) == times.read()


def test_version_of_v2_is_the_one_that_the_worker_noted(real: MongoReader, database: Database[dict[str, Any]]) -> None:
    """Under the subject, V2 need not be version 2."""
    database["events"].insert_one(document(NOW))
    database["schema_versions"].insert_many(
        {"_id": f"{subject}:v{version}", "subject": subject, "version": version, "schema_id": version, "is_v2": is_v2}
        for subject, version, is_v2 in [
            ("user_events-value", 2, False),
            ("user_events-value", 3, True),
            ("other-value", 1, True),
        ]
    )

    overview = real.overview()

    assert overview
    assert {1: 1, 2: 3} == overview.numbers


LOCATED = [
    document(
        NOW - timedelta(seconds=minutes * 60),
        user_id=f"user-{minutes % 7}",
        event_type=("click", "search", "purchase")[minutes % 3],
        metadata={"device": "mobile", "location": ("DE", "FR", "", "not given", None)[minutes % 5]},
    )
    for minutes in range(30)
]
LOCATIONS = [
    Filter(locations=("DE", "FR")),
    Filter(locations=("not given", '""', '"not given"')),
    Filter(locations=("DE", "all others", "XX"), types=("click", "search")),
]


@pytest.mark.parametrize("wanted", LOCATIONS)
def test_filter_by_location_counts_the_same_as_events(
    wanted: Filter, real: MongoReader, database: Database[dict[str, Any]]
) -> None:
    """A field that is not counted together with the others: the events are counted one by one."""
    rollup_factory.insert(database, LOCATED)
    shown = time_window.window(time_window.DEFAULT, NOW)

    expected = FakeReader(LOCATED).found(shown, wanted, settled_at=NOW)
    found = real.found(shown, wanted, settled_at=NOW)

    assert replace(expected.counts, options={}) == replace(found.counts, options={})
    assert 0 < found.counts.total
    if len(wanted.names) == 1:
        assert expected.previous is not None
        assert found.previous is not None
        assert expected.previous.total == found.previous.total > 0


@pytest.mark.parametrize("are_deleted", [False, True])
@pytest.mark.parametrize("wanted", LOCATIONS)
def test_filter_by_location_has_true_bounds_beyond_what_is_counted_one_by_one(
    wanted: Filter,
    are_deleted: bool,
    real: MongoReader,
    database: Database[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Alone its total is exact; beside another filter it is an upper bound. Counts outlive the events."""
    rollup_factory.insert(database, LOCATED)
    if are_deleted:
        database["events"].delete_many({})
    else:
        monkeypatch.setattr(reader, "MOST_BY_VALUE", 0)
    shown = time_window.window(time_window.DEFAULT, NOW)

    expected = FakeReader(LOCATED).found(shown, wanted, settled_at=NOW).counts
    found = real.found(shown, wanted, settled_at=NOW).counts

    assert found.total <= expected.total <= found.total + found.possible
    assert found.is_exact == (len(wanted.names) == 1)
