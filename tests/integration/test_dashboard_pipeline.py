"""What the pipeline's reader finds in a real MongoDB."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from bson import Decimal128

from dashboard.data import newest, search
from dashboard.data.connection import Connection
from dashboard.data.pipeline import FRESH_FOR_SECONDS, LATEST, SLOW_USABLE_FOR_SECONDS, MongoPipeline
from dashboard.model import time_window
from dashboard.model.explorer import Search
from dashboard.model.health import Status, health
from dashboard.model.pipeline_trends import SPANS, Span, trends
from dashboard.model.snapshot import USUAL_NUMBERS, Filter
from dashboard.model.time_window import to_ms
from dashboard.model.user_activity import ActivityQuery
from tests.support.doubles.dashboard_pipeline import partition, worker
from tests.support.doubles.dashboard_reader import document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.database import Database

    from streamapp.settings import Settings

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


@pytest.fixture
def pipeline(settings: Settings) -> Iterator[MongoPipeline]:
    connection = Connection(uri=settings.mongo_uri.get_secret_value(), database=settings.mongo_database)
    yield MongoPipeline(connection, topic="user_events", subject="user_events-value")
    connection.close()


def test_nothing_written_is_nothing_known(pipeline: MongoPipeline, database: Database[Any]) -> None:
    """And reading makes no collection."""
    assert Status.WAITING == health(pipeline.state(), NOON).status
    assert [] == pipeline.latest()
    assert pipeline.document("any") is None
    assert [] == database.list_collection_names()


def test_what_was_written_is_read(pipeline: MongoPipeline, database: Database[Any]) -> None:
    """Of the page's topic and subject alone; dead letters by reason, with the last sample."""
    other = partition(topic="other", lag=9) | {"_id": "partition:other:0"}
    database["pipeline_state"].insert_many([partition(lag=4) | {"_id": "partition:a:0"}, other, worker(rate=2.0)])
    hours = [("empty:1", 2, 10, 5), ("empty:2", 3, 11, 6)]
    database["dead_letters"].insert_many(
        {
            "_id": name,
            "reason": "empty",
            "n": n,
            "last_at": NOON.replace(hour=at),
            "sample": {"offset": offset},
            "minutes": {"60000": n, str(at): 1},
        }
        for name, n, at, offset in hours
    )
    database["schema_versions"].insert_many([{"subject": "user_events-value", "version": v} for v in (2, 1)])
    database["events"].insert_one(document(NOON))

    written = pipeline.state()

    state = health(written, NOON)
    assert (4, 2.0, 5) == (state.lag, state.rate, state.dead_letters)
    assert NOON == written.last_received_at
    assert [{"_id": "empty", "n": 5, "last_at": NOON.replace(hour=11), "sample": {"offset": 6}}] == written.dead_letters
    assert {60_000: 5, 10: 1, 11: 1} == written.dead_letter_minutes
    assert [1, 2] == [found["version"] for found in written.schemas]


def test_latest_events_are_bounded_and_in_order(pipeline: MongoPipeline, database: Database[Any]) -> None:
    """The newest first, without what the table does not show; the document has it all."""
    events = [document(NOON) for _ in range(LATEST + 5)]
    database["events"].insert_many(events)

    latest = pipeline.latest()

    assert [found["_id"] for found in events[:4:-1]] == [found["_id"] for found in latest]
    assert "schema_id" not in latest[0]
    assert events[-1] == pipeline.document(latest[0]["_id"])


def test_what_is_known_of_the_schemas_is_read(pipeline: MongoPipeline, database: Database[Any]) -> None:
    """Of the page's subject alone; dead letters by reason and schema, also those without a schema."""
    database["schema_versions"].insert_many(
        {"subject": subject, "version": number, "schema_id": number}
        for subject, number in (("user_events-value", 2), ("other", 1), ("user_events-value", 1))
    )
    database["pipeline_state"].insert_one({"_id": "subject:user_events-value", "level": "FULL", "at": NOON})
    database["dead_letters"].insert_many(
        {"_id": f"{reason}:{hour}", "reason": reason, "n": n, **schemas}
        for reason, hour, n, schemas in (
            ("empty", 1, 4, {}),
            ("empty", 2, 2, {"schemas": {"none": 2}}),
            ("undecodable", 1, 3, {"schemas": {"1": 1, "2": 2}}),
            ("undecodable", 2, 1, {"schemas": {"2": 1}}),
        )
    )

    found = pipeline.schemas()

    assert [1, 2] == [each["version"] for each in found.versions]
    assert found.level is not None
    assert "FULL" == found.level["level"]
    assert [
        {"_id": "empty", "n": 6, "schemas": {"none": 2}},
        {"_id": "undecodable", "n": 4, "schemas": {"1": 1, "2": 3}},
    ] == found.dead_letters


def test_what_is_known_of_the_schemas_is_read_again_after_some_seconds(
    settings: Settings, database: Database[Any]
) -> None:
    """For many visitors it is read once; an error is not kept."""
    clock = [0.0]
    connection = Connection(uri=settings.mongo_uri.get_secret_value(), database=settings.mongo_database)
    pipeline = MongoPipeline(connection, topic="t", subject="s", monotonic=lambda: clock[0])
    assert [] == pipeline.schemas().versions
    database["schema_versions"].insert_one({"subject": "s", "version": 1})

    assert [] == pipeline.schemas().versions
    clock[0] = SLOW_USABLE_FOR_SECONDS
    assert 1 == len(pipeline.schemas().versions)
    connection.close()


@pytest.mark.parametrize("span", SPANS, ids=[span.key for span in SPANS])
def test_history_of_a_span_is_read(pipeline: MongoPipeline, database: Database[Any], span: Span) -> None:
    """Its field of each partition; dead letters of all documents by reason and step, and no older ones."""
    entry = {"at": NOON, "lag": 1, "lag_seconds_at_most": None, "rate": 0.0}
    histories = {"last_hour": [entry], "last_day": [entry]}
    other = partition(topic="other") | {"_id": "partition:other:0"}
    database["pipeline_state"].insert_many([partition(**histories) | {"_id": "partition:a:0"}, other, worker()])
    counted = Counter[tuple[str, int]]()
    for hour, reason in product(range(30), ("empty", "undecodable")):
        minutes = {to_ms(NOON.replace(second=0) - timedelta(minutes=17 * hour + 3 * i)): i for i in range(1, 4)}
        for minute, n in minutes.items():
            counted[reason, minute] += n
        named = {"_id": f"{reason}:{hour}", "reason": reason, "last_at": NOON - timedelta(minutes=17 * hour)}
        database["dead_letters"].insert_one(named | {"minutes": {str(at): n for at, n in minutes.items()}})

    found = pipeline.history(span, NOON)

    (kept,) = found.partitions
    assert {"_id", "partition", "incarnation", "at", "recent", span.field} == kept.keys()
    shown = trends(found, NOON).dead_letters
    since = span.counting.start_of(span.counting.number_of(NOON) - span.length // span.counting.step)
    expected = Counter[str]()
    for (reason, minute), n in counted.items():
        if minute >= to_ms(since):
            expected[reason] += n
    assert expected == {line.name: sum(int(n or 0) for _, n in line.points) for line in shown}
    assert "last_hour" not in pipeline.state().partitions[0]


def test_schemas_of_versions_are_not_read_with_the_state(pipeline: MongoPipeline, database: Database[Any]) -> None:
    """They can be large, and the state is read at each refresh."""
    database["schema_versions"].insert_one({"subject": "user_events-value", "version": 1, "sources": ["x" * 1_000]})

    assert {"_id", "subject", "version"} == pipeline.state().schemas[0].keys()


def test_a_search_says_how_far_it_went(
    pipeline: MongoPipeline, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads a limited number of events, the newest ones."""
    monkeypatch.setattr(search, "MOST_SEARCHED", 5)
    events = [document(NOON - timedelta(seconds=number), user_id=f"user-{number}") for number in range(8)]
    database["events"].insert_many(events)
    window = time_window.window(time_window.DEFAULT, NOON)

    new, old = (
        pipeline.search(Search(window=window, filter=Filter(), user=user), USUAL_NUMBERS)
        for user in ("user-4", "user-5")
    )

    assert [events[4]["_id"]] == [row["_id"] for row in new.rows]
    assert [] == old.rows
    assert [NOON - timedelta(seconds=5)] * 2 == [new.searched_back_to, old.searched_back_to]


def test_a_search_of_all_events_of_the_window_says_so(database: Database[Any]) -> None:
    """Also if, a moment before, the window began earlier and held more events than are searched."""
    database["events"].insert_one(document(NOON))
    window = time_window.window(time_window.DEFAULT, NOON)

    found = search.search(
        database, Search(window=window, filter=Filter()), USUAL_NUMBERS, window.start - timedelta(seconds=1)
    )

    assert (1, None) == (len(found.rows), found.searched_back_to)


def test_the_newest_events_are_read_once_for_all_that_is_asked(
    settings: Settings, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By all visitors, under any filter, in any view; again after two seconds."""
    clock, read, searched = [0.0], list[int](), list[int]()
    real_read, real_boundary = newest.read, search.first_not_searched
    monkeypatch.setattr(newest, "read", lambda *args: [real_read(*args), read.append(1)][0])
    monkeypatch.setattr(search, "first_not_searched", lambda *args: [real_boundary(*args), searched.append(1)][0])
    connection = Connection(uri=settings.mongo_uri.get_secret_value(), database=settings.mongo_database)
    pipeline = MongoPipeline(connection, topic="t", subject="s", monotonic=lambda: clock[0])
    database["events"].insert_many([document(NOON), document(NOON, browser="edge")])
    window, within = time_window.window(time_window.DEFAULT, NOON), timedelta(minutes=30)

    def ask(browser: str) -> list[int]:
        wanted = Filter(browsers=(browser,))
        query = ActivityQuery(window=window, filter=wanted, steps=("a",), within=within)
        return [
            pipeline.sample(window, wanted, USUAL_NUMBERS).counts.total,
            len(pipeline.clients(window, wanted, USUAL_NUMBERS)),
            pipeline.activity(query, USUAL_NUMBERS).counted,
            len(pipeline.search(Search(window=window, filter=wanted), USUAL_NUMBERS).rows),
        ]

    assert [1, 0, 1, 1] == ask("edge")
    assert [0, 0, 0, 0] == ask("opera")
    assert [1, 1] == [len(read), len(searched)]
    clock[0] = FRESH_FOR_SECONDS
    assert [0, 0, 0, 0] == ask("lynx")
    assert [2, 2] == [len(read), len(searched)]
    connection.close()


def test_events_of_other_programs_whose_time_is_no_number_do_not_count(
    pipeline: MongoPipeline, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither do they stop a view, nor hide that there are more events than are read."""
    monkeypatch.setattr(newest, "MOST_READ", 3)
    odd = [document(NOON, event_timestamp=time) for time in ([to_ms(NOON), "x"], Decimal128(str(to_ms(NOON))))]
    older = document(NOON - timedelta(seconds=1))
    database["events"].insert_many([document(NOON), *odd, older])
    window = time_window.window(time_window.DEFAULT, NOON)
    query = ActivityQuery(window=window, filter=Filter(), steps=("a",), within=timedelta(minutes=30))

    assert 1 == pipeline.sample(window, Filter(), USUAL_NUMBERS).counts.total
    activity = pipeline.activity(query, USUAL_NUMBERS)
    assert (1, NOON - timedelta(seconds=1)) == (activity.counted, activity.counted_back_to)
    assert [] == [*pipeline.clients(window, Filter(), USUAL_NUMBERS)]
