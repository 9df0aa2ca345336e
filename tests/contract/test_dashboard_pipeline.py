"""What the views expect of the pipeline's reader; the fake and MongoDB pass the same tests."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from dashboard.data.connection import Connection
from dashboard.data.pipeline import LATEST, MongoPipeline, Pipeline
from dashboard.model import time_window
from dashboard.model.snapshot import USUAL_NUMBERS, Filter
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
    assert document().keys() - {"metadata", "schema_id"} == latest[0].keys()


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
