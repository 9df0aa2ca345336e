"""The circuit breaker of a real worker."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pymongo.database import Database

from streamapp.model import event
from streamapp.settings import Settings
from tests.support import foreign
from tests.support.offsets import committed, end_offsets
from tests.support.until import until
from tests.support.workers import Worker

GOOD, FLOOD = 200, 2_000
TAB = {"name": "tab", "type": ["null", "int"], "default": None}
V3 = {**event.schema(2), "fields": [*event.schema(2)["fields"], TAB]}


def test_a_flood_of_poison_stops_the_worker_and_is_stored_once_it_is_mended(
    settings: Settings, database: Database[Any], tmp_path: Path
) -> None:
    """A producer is ahead of the registry: exit code 1, what is wrong, no dead letter, no offset committed past it."""
    settings = settings.model_copy(update={"produce_interval_seconds": 0})
    foreign.make_topic(settings)
    send_ahead_of_the_registry(settings, next_schema_id(settings))
    with Worker(settings, tmp_path) as worker:
        assert worker.process.wait(300) == 1, worker.text
        text = worker.text

    for words in ("The worker stops:", "unknown-schema-id", settings.topic, "STREAMAPP_BREAKER_FAILURE_RATIO=0"):
        assert words in text
    assert "Traceback" not in text
    assert [] == foreign.read_all(settings, settings.dead_letter_topic, 0)
    assert 0 == database.dead_letters.count_documents({})
    assert all(offset <= GOOD // 4 for offset in committed(settings).values())

    foreign.register(settings, V3)
    with Worker(settings, tmp_path) as worker:
        until(lambda: database.events.count_documents({}) == GOOD + FLOOD, within=90, what="all events")
        until(lambda: committed(settings) == end_offsets(settings), what="committed ends")
        assert worker.stop() == 0, worker.text
    assert [] == foreign.read_all(settings, settings.dead_letter_topic, 0)


def next_schema_id(settings: Settings) -> int:
    """Return the id that the registry will give to the next schema; registers the two that we have, and one more."""
    for version in (1, 2):
        foreign.register(settings, event.schema(version))
    name = settings.topic.replace("-", "_")
    return 1 + foreign.register(settings, {"type": "enum", "name": name, "symbols": ["A"]}, f"{settings.topic}-other")


def send_ahead_of_the_registry(settings: Settings, schema_id: int) -> None:
    """Send good events, then those of the schema to come, evenly to the four partitions."""
    good = foreign.writer(event.schema(1), foreign.register(settings, event.schema(1)))
    ahead = foreign.writer(V3, schema_id)
    producer = foreign.ForeignProducer(settings)
    values = {
        "user_id": "user-1",
        "event_type": "click",
        "event_timestamp": int(time.time() * 1000),
        "metadata": {"device": "mobile", "location": "DE"},
    }
    for number in range(GOOD + FLOOD):
        value = good(values) if number < GOOD else ahead({**values, "browser": "edge", "tab": number})
        producer.send(value, partition=number % 4)
    producer.flush()
