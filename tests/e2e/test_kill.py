"""Workers killed in mid-flow: nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from streamapp.model import event
from streamapp.rollups.levels import LEVELS
from streamapp.samples import generator
from streamapp.settings import Settings
from tests.support import foreign
from tests.support.offsets import committed, end_offsets
from tests.support.recount import recounted, stored
from tests.support.until import until
from tests.support.workers import Worker

EVENTS = 20_000
#: Each costs the time in which Kafka notices a dead member; test_survival.py kills at every step of a batch.
KILLS = 20 if os.environ.get("STREAMAPP_TEST_LONG") else 1


def wire_events(settings: Settings, count: int) -> Iterator[bytes]:
    """Yield the bytes of sample events, of V1 and V2."""
    ids = {version: foreign.register(settings, event.schema(version)) for version in (1, 2)}
    encode = {version: foreign.writer(event.schema(version), ids[version]) for version in (1, 2)}
    for number, sample in enumerate(islice(generator.samples(seed=1, v2_ratio=0.7), count)):
        yield encode[sample.version](sample.event(at=1_790_000_000_000 + number))


def offsets_stored(database: Database[Any]) -> list[tuple[int, int]]:
    """Return partition and offset of every document."""
    found = database.events.find({}, {"kafka.partition": 1, "kafka.offset": 1, "_id": 0})
    return sorted((document["kafka"]["partition"], document["kafka"]["offset"]) for document in found)


@pytest.mark.timeout(600 + 60 * KILLS)
def test_all_events_survive_kills_and_a_guest(settings: Settings, database: Database[Any], tmp_path: Path) -> None:
    """The ids stored are the offsets produced: none missing, none extra, and all of them committed in the end."""
    foreign.make_topic(settings)
    keep_all = {f"{level.collection}_retention_days": 0 for level in LEVELS}
    settings = settings.model_copy(update={"produce_interval_seconds": 0, "session_timeout_seconds": 6.0, **keep_all})
    source = random.Random(42)
    producer = foreign.ForeignProducer(settings, "lz4")
    values = wire_events(settings, EVENTS)
    with ExitStack() as stack:
        stable = stack.enter_context(Worker(settings, tmp_path))
        for kill in range(KILLS):
            producer.send_all(islice(values, EVENTS // KILLS))
            before = database.events.estimated_document_count()
            until(lambda b=before: database.events.estimated_document_count() > b, within=60, what="progress")
            if kill == 0:
                guest = stack.enter_context(Worker(settings, tmp_path)).wait_until_ready()
            if kill == KILLS - 1:
                assert guest.stop() == 0, guest.text
            # Somewhere within the batches of this round.
            aim = before + source.randrange(1, EVENTS // KILLS)
            until(
                lambda a=aim: database.events.estimated_document_count() >= min(a, _sent(settings)),
                within=60,
                what="mid-flow",
            )
            stable.kill()
            stable = stack.enter_context(Worker(settings, tmp_path))
        ends = end_offsets(settings)
        until(lambda: database.events.estimated_document_count() >= EVENTS, within=60, what="all events")
        until(lambda: committed(settings) == ends, what="committed ends")
        assert stable.wait_until_ready().stop() == 0, stable.text

    expected = sorted((partition, offset) for partition, end in ends.items() for offset in range(end))
    assert len(expected) == EVENTS
    assert expected == offsets_stored(database)
    assert recounted([*database.events.find()]) == stored(database)


def _sent(settings: Settings) -> int:
    return sum(end_offsets(settings).values())
