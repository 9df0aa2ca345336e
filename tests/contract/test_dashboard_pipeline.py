"""What the views expect of the pipeline's reader; the fake and MongoDB pass the same tests."""

from __future__ import annotations

import random
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from dashboard.data.connection import Connection
from dashboard.data.pipeline import LATEST, MongoPipeline, Pipeline
from dashboard.data.search import MOST_FOUND
from dashboard.model import time_window
from dashboard.model.clients import Client
from dashboard.model.explorer import Search
from dashboard.model.snapshot import USUAL_NUMBERS, Filter
from dashboard.model.user_activity import ActivityQuery
from tests.support import rollup_factory
from tests.support.doubles.dashboard_pipeline import FakePipeline
from tests.support.doubles.dashboard_reader import NOON, document, v1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from streamapp.settings import Settings
    from tests.conftest import SettingsFactory

    Documents = Sequence[dict[str, Any]]
    Factory = Callable[[Documents], Pipeline]


@pytest.fixture(params=["fake", "mongodb"])
def pipeline_of(request: pytest.FixtureRequest, settings_for: SettingsFactory) -> Iterator[Factory]:
    """Return what makes each of them in turn, with stored events."""
    if request.param == "fake":
        yield lambda events: FakePipeline(events=events)
        return
    settings = settings_for()
    connection = Connection(uri=settings.mongo_uri.get_secret_value(), database=settings.mongo_database)

    def of(events: Documents) -> Pipeline:
        _insert(settings, events)
        return MongoPipeline(connection, topic="user_events", subject="user_events-value")

    yield of
    connection.close()


def _insert(settings: Settings, events: Documents) -> None:
    with MongoClient[dict[str, Any]](settings.mongo_uri.get_secret_value()) as client:
        if events:
            rollup_factory.insert(client[settings.mongo_database], events)


def test_a_pipeline_that_has_written_nothing_has_an_empty_state(pipeline_of: Factory) -> None:
    """And no events."""
    pipeline = pipeline_of([])

    assert not any(asdict(pipeline.state()).values())
    assert not any(asdict(pipeline.schemas()).values())
    assert [] == [*pipeline.latest()]


def test_the_latest_events_are_the_columns_of_the_newest_first(pipeline_of: Factory) -> None:
    """As many as the table shows, without what it does not show."""
    events = [document() for _ in range(LATEST + 2)]

    latest = pipeline_of(events).latest()

    assert [found["_id"] for found in events[:1:-1]] == [found["_id"] for found in latest]
    assert document().keys() - {"schema_id"} == latest[0].keys()


def test_an_event_is_found_by_its_id_with_all_fields(pipeline_of: Factory) -> None:
    """None if it does not exist."""
    event = document()

    pipeline = pipeline_of([event])

    found = pipeline.document(event["_id"])
    assert found is not None
    assert event.keys() == found.keys()
    assert pipeline.document("other") is None


def test_the_events_of_all_time_are_counted_by_version(pipeline_of: Factory) -> None:
    """Those without a registered version together."""
    old = [v1(NOON - timedelta(days=days)) for days in (0, 1, 400)]
    odd = [document(schema_version=name) for name in ("unregistered", "odd.name")]

    assert {"v1": 3, "v2": 1, "unregistered": 2} == pipeline_of([*old, *odd, document()]).schemas().stored


def test_a_sample_is_counted_by_value(pipeline_of: Factory) -> None:
    """Only the events of the window that pass the filter."""
    events = [v1(metadata={"device": "tablet", "location": place}) for place in ("DE", "FR", "DE", "not given", "")]
    events += [document(), v1(NOON - timedelta(days=1))]
    window = time_window.window(time_window.DEFAULT, NOON)

    sample = pipeline_of(events).sample(window, Filter(versions=("v1",)), USUAL_NUMBERS)

    assert {"DE": 2, "FR": 1, '"not given"': 1, '""': 1} == dict(sample.counts.by_value["locations"])
    assert (6, False) == (sample.read, sample.is_cut)


def test_clients_are_counted_by_their_headers(pipeline_of: Factory) -> None:
    """Only those of the window and the filter, the last one first; other programs may have stored anything there."""
    place, window = document()["kafka"], time_window.window(time_window.DEFAULT, NOON)
    minutes = [NOON - timedelta(minutes=ago) for ago in (3, 1, 2, 2)]
    headers = [{"client": "web"}, {"client": "web"}, {"client": "ios", "client%2Eversion": "1"}, {"client": 7}]
    sent = [v1(at, kafka={**place, "headers": each}) for at, each in zip(minutes, headers, strict=True)]
    odd = [v1(kafka={**place, "headers": each}) for each in (None, {}, "text", ["web"])]
    other = [
        document(kafka={**place, "headers": {"client": "tv"}}),
        v1(NOON - timedelta(days=1), kafka=sent[0]["kafka"]),
    ]

    found = pipeline_of([*sent, *odd, *other, v1()]).clients(window, Filter(versions=("v1",)), USUAL_NUMBERS)

    assert [
        Client({"client": "web"}, 2, minutes[1]),
        Client({"client": "7"}, 1, minutes[3]),
        Client({"client": "ios", "client.version": "1"}, 1, minutes[2]),
    ] == [*found]


EVENTS = [
    document(NOON - timedelta(seconds=30 * number), user_id=f"user-{number % 3}", **changes)
    for number, changes in enumerate(
        (
            {"browser": "edge"},
            {"browser": None},
            {"browser": "not given"},
            {"schema_version": "v1", "browser": None},
            {"metadata": {"device": "tablet", "location": "FR"}},
            {"metadata": {"device": "mobile", "location": None}},
            {},
            {"schema_version": "unregistered"},
            {"event_type": "x" * 200},
        )
    )
]
EVENTS.append(document(NOON - timedelta(days=1), user_id="user-1"))


@pytest.mark.parametrize(
    ("wanted", "user", "expected"),
    [
        (Filter(), None, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (Filter(), "user-1", [1, 4, 7]),
        (Filter(), "nobody", []),
        (Filter(browsers=("edge", "not given")), None, [0, 1]),
        (Filter(browsers=('"not given"', "n/a (v1)")), None, [2, 3]),
        (Filter(locations=("FR",), devices=("tablet",)), "user-1", [4]),
        (Filter(locations=("not given",)), None, [5]),
        (Filter(versions=("unregistered",)), None, [7]),
        (Filter(types=("x" * 99 + "…",)), None, [8]),
    ],
)
def test_events_are_found_by_value_and_user(
    wanted: Filter, user: str | None, expected: list[int], pipeline_of: Factory
) -> None:
    """The newest first, of the window only."""
    search = Search(window=time_window.window(time_window.DEFAULT, NOON), filter=wanted, user=user)

    found = pipeline_of([*map(dict, EVENTS)]).search(search, USUAL_NUMBERS)

    assert [EVENTS[number]["_id"] for number in expected] == [row["_id"] for row in found.rows]
    assert (False, None) == (found.is_cut, found.searched_back_to)


def test_as_many_events_are_found_as_the_table_shows(pipeline_of: Factory) -> None:
    """There can be more."""
    events = [document(NOON - timedelta(seconds=number)) for number in range(MOST_FOUND + 1)]
    search = Search(window=time_window.window(time_window.DEFAULT, NOON), filter=Filter())

    found = pipeline_of(events).search(search, USUAL_NUMBERS)

    assert (MOST_FOUND, True, None) == (len(found.rows), found.is_cut, found.searched_back_to)


@pytest.mark.parametrize("wanted", [Filter(), Filter(types=("a", "b")), Filter(browsers=("not given", "n/a (v1)"))])
@pytest.mark.parametrize("within", [timedelta(seconds=40), timedelta(hours=1)])
def test_what_users_did_is_counted(wanted: Filter, within: timedelta, pipeline_of: Factory) -> None:
    """Equal to a trial of all ways through the steps; of the window only."""
    chance = random.Random(4)
    events = [
        document(
            NOON - timedelta(seconds=7 * number),
            user_id=f"user-{chance.randrange(6)}",
            event_type=chance.choice("abc"),
            browser=chance.choice([None, "edge"]),
        )
        for number in range(60)
    ]
    events.append(document(NOON - timedelta(days=1), event_type="a"))
    window = time_window.window(time_window.DEFAULT, NOON)
    query = ActivityQuery(window=window, filter=wanted, steps=("a", "b", "a"), within=within)

    found = pipeline_of(events).activity(query, USUAL_NUMBERS)

    assert FakePipeline(events=events).activity(query, USUAL_NUMBERS) == found
    assert found.counted


def test_users_of_each_day_are_counted(pipeline_of: Factory) -> None:
    """And how many there were up to each day."""
    chance = random.Random(4)
    events = [
        document(NOON - timedelta(days=number % 5), user_id=f"user-{chance.randrange(40)}") for number in range(100)
    ]

    days = pipeline_of(events).days()

    counted = [(day.start, round(day.users), round(day.so_far)) for day in days]
    assert [*FakePipeline(events=events).days()] == counted
