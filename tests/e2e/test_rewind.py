"""Records are read again, after events were deleted because of their age: nothing is lost or counted twice."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from streamapp.model import event
from streamapp.rollups.levels import LEVELS
from streamapp.settings import Settings
from tests.e2e.test_breaker import next_schema_id
from tests.e2e.test_dlq import late_schema
from tests.support import foreign
from tests.support.events import V3, an_event
from tests.support.offsets import committed, end_offsets
from tests.support.recount import recounted, stored
from tests.support.until import until
from tests.support.workers import STREAMAPP, Worker, environment, run

OLD, NEW, UNKNOWN, RETENTION_DAYS = 40, 60, 7, 7
DAY_MS = 86_400_000


def command(settings: Settings, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command with `--json`; return what it reports."""
    done = run(STREAMAPP, *arguments, "--json", settings=settings)
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def send(settings: Settings, unknown_id: int) -> None:
    """Send old events, new events, and records whose schema nobody has registered yet."""
    v1_id, now = foreign.register(settings, event.schema(1)), int(time.time() * 1000)
    write = foreign.writer(event.schema(1), v1_id)
    producer = foreign.ForeignProducer(settings)
    for number in range(OLD):
        at = now - 30 * DAY_MS + number
        producer.send(write(an_event(number, event_timestamp=at)), timestamp=at, partition=number % 2)
    for number in range(NEW):
        producer.send(write(an_event(number, event_timestamp=now)), partition=number % 2)
    for number in range(UNKNOWN):
        values = an_event(number, browser=None, basket_value=None, seen_at=datetime.now(UTC))
        producer.send(foreign.wire(values, V3, unknown_id), partition=0)
    producer.flush()


def work(settings: Settings, folder: Path) -> None:
    """Let a worker read to the end, and stop it."""
    with Worker(settings, folder) as worker:
        until(lambda: committed(settings) == end_offsets(settings), within=120, what="no lag")
        assert worker.stop() == 0, worker.text


def counts(database: Database[Any]) -> set[int]:
    """Return the number of events that the rollups count; one number if all levels agree."""
    return {sum(each["n"] for each in database[level.collection].find()) for level in LEVELS}


def delete_aged_out(database: Database[Any]) -> None:
    """Delete what MongoDB deletes within a minute once the events are old enough."""
    old = {"event_timestamp": {"$lt": (time.time_ns() // 10**6) - 10 * DAY_MS}}
    assert database["events"].delete_many(old).deleted_count == OLD


@pytest.mark.timeout(900)
def test_records_are_read_again(settings: Settings, database: Database[Any], tmp_path: Path) -> None:
    """Deleted events come back, a repaired dead letter is stored, and each event is counted once."""
    keep_all = {f"{level.collection}_retention_days": 0 for level in LEVELS}
    changes = {"produce_interval_seconds": 0, "partitions": 2, "breaker_failure_ratio": 0, **keep_all}
    settings = settings.model_copy(update={**changes, "events_retention_days": RETENTION_DAYS})
    foreign.make_topic(settings, 2, **{"retention.ms": "-1"})
    send(settings, unknown_id := next_schema_id(settings))
    work(settings, tmp_path)
    assert (OLD + NEW, {OLD + NEW}) == (database["events"].count_documents({}), counts(database))
    ends = end_offsets(settings)

    delete_aged_out(database)
    _expect_no_problem(settings, aged_out=OLD)
    assert (0, 0) == _rebuilt(settings)
    assert {OLD + NEW} == counts(database)
    (kept,) = (each for each in command(settings, "doctor")["checks"] if each["check"] == "mongodb.kept")
    assert "ok" == kept["verdict"]
    assert f"keeps events for {RETENTION_DAYS} days" in kept["seen"]

    _expect_plans(settings)
    assert ends == committed(settings)
    with Worker(settings, tmp_path) as worker:
        worker.wait_until_ready()
        until(lambda: "has 1 members" in _refused(settings), what="the member")
        assert worker.stop() == 0
    assert ends == committed(settings)
    assert unknown_id == foreign.register(settings, late_schema(settings))

    _rewind_and_wait(settings, tmp_path)

    assert {OLD + NEW + UNKNOWN} == counts(database) == {database["events"].count_documents({})}
    _expect_no_problem(settings, aged_out=0)
    assert (0, 0) == _rebuilt(settings)


def _expect_no_problem(settings: Settings, *, aged_out: int) -> None:
    verified = command(settings, "verify")
    assert (aged_out, 0, 0) == (verified["aged_out"], verified["missing"], verified["not_settled"])
    assert verified["rollups"] > 0
    checked = command(settings, "rollups", "check")
    assert bool(aged_out) <= bool(checked["aged_out"] + checked["older_than_events"])


def _rebuilt(settings: Settings) -> tuple[int, int]:
    found = command(settings, "rollups", "rebuild")
    return found["rebuilt"], found["not_repairable"]


def _refused(settings: Settings) -> str:
    done = run(STREAMAPP, "rewind", "--to-earliest", "--yes", settings=settings)
    return done.stderr if done.returncode == 1 else ""


def _expect_plans(settings: Settings) -> None:
    """Nothing is changed without `--yes`, and never forward."""
    everything = command(settings, "rewind", "--to-earliest")
    since = command(settings, "rewind", "--to", (datetime.now(UTC) - timedelta(hours=1)).isoformat())
    future = command(settings, "rewind", "--to", "2100-01-01T00:00Z", "--yes")
    one = command(settings, "rewind", "--to-offset", "1:45")
    beyond = run(STREAMAPP, "rewind", "--to-offset", "1:45,0:9000", "--yes", settings=settings)
    wrong = run(STREAMAPP, "rewind", "--to-offset", "1=45", settings=settings)

    assert [OLD + NEW + UNKNOWN, NEW + UNKNOWN, 0, 5] == [each["offsets"] for each in (everything, since, future, one)]
    assert [None, 45] == [each["to"] for each in one["partitions"]]
    assert (1, 2) == (beyond.returncode, wrong.returncode)
    assert "Offset 9000 of partition 0 cannot be a target" in beyond.stderr


def _rewind_and_wait(settings: Settings, folder: Path) -> None:
    """Rewind, and wait by the command until a worker has read everything again."""
    arguments = [STREAMAPP, "rewind", "--to-earliest", "--yes", "--wait"]
    rewinding = subprocess.Popen(arguments, env=environment(settings), stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: not any(committed(settings).values()), within=60, what="the earlier offsets")
        assert rewinding.poll() is None
        with Worker(settings, folder) as worker:
            table, _ = rewinding.communicate(timeout=300)
            until(lambda: committed(settings) == end_offsets(settings), within=60, what="no lag")
            assert worker.stop() == 0, worker.text
    finally:
        rewinding.kill()
    assert rewinding.returncode == 0
    assert f"offsets  {OLD + NEW + UNKNOWN}" in table


@pytest.mark.timeout(900)
def test_a_backup_is_restored(settings: Settings, database: Database[Any], tmp_path: Path) -> None:
    """The group goes back to before the backup: what the backup lacks is stored and counted, the rest stays."""
    settings = settings.model_copy(update={"produce_interval_seconds": 0, "partitions": 2})
    foreign.make_topic(settings, 2)
    run(STREAMAPP, "send-sample", "--count", "300", settings=settings)
    work(settings, tmp_path)
    backup = {name: [*database[name].find()] for name in database.list_collection_names()}
    began = datetime.now(UTC)
    run(STREAMAPP, "send-sample", "--count", "200", settings=settings)
    work(settings, tmp_path)
    after = recounted([*database["events"].find()])

    database.client.drop_database(database.name)
    for name, documents in backup.items():
        if documents:
            database[name].insert_many(documents)
    since = (began - timedelta(hours=1)).isoformat()
    assert command(settings, "rewind", "--to", since, "--yes")["offsets"] == 500
    work(settings, tmp_path)

    assert database["events"].count_documents({}) == 500
    assert after == recounted([*database["events"].find()]) == stored(database)
    assert (500, 0) == (command(settings, "verify")["stored"], command(settings, "rollups", "check")["different"])
