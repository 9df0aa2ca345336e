"""What the views expect of the pipeline's reader; the fake and MongoDB pass the same tests."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from dashboard.data.connection import Connection
from dashboard.data.pipeline import LATEST, MongoPipeline, Pipeline
from tests.support.doubles.dashboard_pipeline import FakePipeline
from tests.support.doubles.dashboard_reader import document

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
            client[settings.mongo_database]["events"].insert_many(events)


def test_a_pipeline_that_has_written_nothing_has_an_empty_state(pipeline_of: Factory) -> None:
    """And no events."""
    pipeline = pipeline_of([])

    assert not any(asdict(pipeline.state()).values())
    assert [] == [*pipeline.latest()]


def test_the_latest_events_are_the_columns_of_the_newest_first(pipeline_of: Factory) -> None:
    """As many as the table shows, without what it does not show."""
    events = [document() for _ in range(LATEST + 2)]

    latest = pipeline_of(events).latest()

    assert [found["_id"] for found in events[:1:-1]] == [found["_id"] for found in latest]
    assert document().keys() - {"metadata", "schema_id"} == latest[0].keys()


def test_an_event_is_found_by_its_id_with_all_fields(pipeline_of: Factory) -> None:
    """None if it does not exist."""
    event = document()

    pipeline = pipeline_of([event])

    found = pipeline.document(event["_id"])
    assert found is not None
    assert event.keys() == found.keys()
    assert pipeline.document("other") is None
