"""Dead letters are listed, their cause is fixed, and they are replayed."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from streamapp.model import event
from streamapp.rollups.levels import LEVELS
from streamapp.settings import Settings
from tests.e2e.test_breaker import next_schema_id
from tests.e2e.test_foreign_events import counted
from tests.support import foreign
from tests.support.events import V3, an_event
from tests.support.offsets import end_offsets
from tests.support.recount import recounted, stored
from tests.support.until import until
from tests.support.workers import STREAMAPP, Worker, environment, run

GOOD, POISON, HOPELESS = 250, 25, 3


def late_schema(settings: Settings) -> event.Schema:
    """Return V3 with a unique `doc`: the registry gives a schema that another test has registered its old id."""
    return {**V3, "doc": f"Registered for {settings.topic}."}


def dlq(settings: Settings, *arguments: str) -> dict[str, Any]:
    """Run `streamapp dlq …`; return what it reports."""
    done = run(STREAMAPP, "dlq", *arguments, "--json", settings=settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def signal_during_replay(settings: Settings, number: int) -> tuple[int, str]:
    """Send a signal to a slow replay once it has delivered something; return exit code and stdout."""
    before = sum(end_offsets(settings).values())
    command = [STREAMAPP, "dlq", "replay", "--reason", "unknown-schema-id", "--rate", "3", "--json"]
    replaying = subprocess.Popen(command, env=environment(settings), stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: sum(end_offsets(settings).values()) > before + 2, within=120, what="replayed records")
        replaying.send_signal(number)
        report, _ = replaying.communicate(timeout=240)
    finally:
        replaying.kill()
    return replaying.returncode, report


@pytest.mark.timeout(900)
def test_dead_letters_are_replayed_once_the_cause_is_fixed(
    settings: Settings, database: Database[Any], tmp_path: Path
) -> None:
    """Each event is stored once, through an interrupted replay, a killed one, and two in a row."""
    keep_all = {f"{level.collection}_retention_days": 0 for level in LEVELS}
    settings = settings.model_copy(update={"produce_interval_seconds": 0, **keep_all})
    foreign.make_topic(settings)
    coming = next_schema_id(settings)
    schema_id = foreign.register(settings, event.schema(1))
    with Worker(settings, tmp_path) as worker:
        worker.wait_until_ready()
        _send(settings, schema_id, coming)
        until(lambda: counted(database).total() >= POISON + HOPELESS, within=120, what="counted dead letters")
        assert worker.stop() == 0, worker.text
    bad = _attempts(settings, POISON + HOPELESS)[1]
    assert coming == foreign.register(settings, late_schema(settings))

    would = dlq(settings, "replay", "--dry-run")
    code, report = signal_during_replay(settings, signal.SIGINT)
    killed, _ = signal_during_replay(settings, signal.SIGKILL)
    rest = dlq(settings, "replay", "--reason", "unknown-schema-id")
    again = dlq(settings, "replay", "--reason", "unknown-schema-id")

    assert (POISON + HOPELESS, 130, -signal.SIGKILL) == (would["would_replay"], code, killed)
    assert 0 < json.loads(report)["replayed"] < POISON
    assert POISON == rest["replayed"] + rest["skipped"]["in topic"]
    assert (0, {"in topic": POISON}) == (again["replayed"], again["skipped"])
    assert GOOD + POISON + HOPELESS + POISON == sum(end_offsets(settings).values())

    with Worker(settings, tmp_path) as worker:
        count = database.events.estimated_document_count
        until(lambda: count() >= GOOD + POISON, within=120, what="all events")
        second = dlq(settings, "replay")
        attempts = _attempts(settings, POISON + 2 * HOPELESS)
        third = dlq(settings, "replay", "--max-replays", "1")
        assert worker.wait_until_ready().stop() == 0, worker.text

    assert (HOPELESS, {"stored": POISON}) == (second["replayed"], second["skipped"])
    skipped = {"stored": POISON, "superseded": HOPELESS, "replayed too often": HOPELESS}
    assert (0, skipped) == (third["replayed"], third["skipped"])
    assert {1: bad, 2: {origin for origin in bad if origin[2] == "empty"}} == attempts
    assert POISON + 2 * HOPELESS == len(foreign.read_all(settings, settings.dead_letter_topic, 1))
    assert {"unknown-schema-id": POISON, "empty": HOPELESS} == counted(database)
    assert GOOD + POISON == count()
    by_place = {(each["kafka"]["partition"], each["kafka"]["offset"]): each for each in database.events.find()}
    for partition, offset, reason in bad:
        if reason != "empty":
            found = by_place[partition, offset]
            assert found["_id"].endswith(f"-{partition}-{offset}")
            assert (coming, settings.topic) == (found["schema_id"], found["kafka"]["topic"])
    assert recounted([*database.events.find()]) == stored(database)


def _send(settings: Settings, schema_id: int, coming: int) -> None:
    producer = foreign.ForeignProducer(settings)
    good, late = foreign.writer(event.schema(1), schema_id), foreign.writer(late_schema(settings), coming)
    for number in range(GOOD):
        producer.send(good(an_event(number)), key=f"user-{number % 97}")
        if number % (GOOD // POISON) == 0:
            values = an_event(number, browser="edge", basket_value=None, seen_at=None)
            producer.send(late(values), key=f"late-{number}")
    for number in range(HOPELESS):
        producer.send(b"", key=f"hopeless-{number}")
    producer.flush()


def _attempts(settings: Settings, expected: int) -> dict[int, set[tuple[int, int, str]]]:
    """Return partition, offset and reason of the dead letters of each attempt; there are no duplicates."""
    letters = foreign.read_all(settings, settings.dead_letter_topic, expected, within=120)
    headers = [{name.removeprefix("streamapp."): value.decode() for name, value in each.headers()} for each in letters]
    found = [(int(each["attempt"]), (int(each["partition"]), int(each["offset"]), each["reason"])) for each in headers]
    assert [] == [each for each, n in Counter(found).items() if n > 1]
    return {attempt: {place for at, place in found if at == attempt} for attempt in (1, 2)}
