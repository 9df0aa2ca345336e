"""What the pipeline's reader finds in a real MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from dashboard.data.connection import Connection
from dashboard.data.pipeline import LATEST, MongoPipeline
from dashboard.model.health import Status, health
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
    assert "metadata" not in latest[0]
    assert events[-1] == pipeline.document(latest[0]["_id"])
