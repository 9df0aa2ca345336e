"""The pages and the log of a worker with a fault: /readyz, /metrics, JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from pymongo.database import Database

from streamapp.settings import Settings
from tests.conftest import SettingsFactory
from tests.e2e.test_kill import committed, end_offsets, wire_events
from tests.support import events, foreign
from tests.support.until import until
from tests.support.workers import Worker

#: Seconds until /readyz must report a fault: 15 on an idle machine.
SOON = 60
MARKER = b"MARKED-PAYLOAD"


def metrics(worker: Worker) -> dict[str, float]:
    """Return each sample by its name and the values of its labels."""
    with urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=30) as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        families = text_string_to_metric_families(response.read().decode())
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


def is_red(worker: Worker, part: str) -> bool:
    """Return whether /readyz reports that this check fails."""
    status, body = worker.page("/readyz")
    return status == 503 and body[part] != "ok"


@contextmanager
def injected(file: Path, fault: str) -> Iterator[None]:
    """Switch a fault of the worker on; see `faulty_worker`."""
    file.write_text(fault)
    yield
    file.unlink()


@contextmanager
def locked(database: Database[Any]) -> Iterator[None]:
    """Make MongoDB refuse writes; it still answers reads."""
    database.client.admin.command("fsync", lock=True)
    try:
        yield
    finally:
        database.client.admin.command("fsyncUnlock")


def faulty_worker(settings: Settings, folder: Path, file: Path) -> Worker:
    """Return a worker with the fault that the file contains."""
    command = (sys.executable, "-m", "tests.support.faulty_worker", "worker", "--loglevel", "info")
    environ = {"FAULT_FILE": str(file), "PYTHONPATH": str(Path.cwd())}
    return Worker(settings, folder, command=command, environ=environ)


def check_metrics(worker: Worker, database: Database[Any]) -> None:
    """Compare the metrics with the documents in MongoDB."""
    found = metrics(worker)
    versions = {f"streamapp_events_total {each['_id']}": each["n"] for each in count_by_version(database)}
    expected = {
        "streamapp_records_total stored": 500,
        "streamapp_records_total duplicates": 0,
        "streamapp_records_total dead_lettered": 3,
        "streamapp_dead_letters_total bad-magic-byte": 2,
        "streamapp_dead_letters_total tombstone": 1,
        "streamapp_slice_records_sum": 503,
        "streamapp_end_to_end_latency_seconds_count": 500,
        "streamapp_deleted_offsets_total": 0,
        "streamapp_ready commits": 1,
        **versions,
    }
    assert len(versions) == 2
    assert expected == {name: found[name] for name in expected}
    assert [0] * 4 == [value for name, value in found.items() if name.startswith("streamapp_lag_records")]


def count_by_version(database: Database[Any]) -> list[dict[str, Any]]:
    """Return the number of documents of each schema version."""
    return list(database.events.aggregate([{"$group": {"_id": "$schema_version", "n": {"$sum": 1}}}]))


def test_readyz_reports_each_fault_and_its_end(
    settings_for: SettingsFactory, database: Database[Any], tmp_path: Path
) -> None:
    """The metrics equal what is stored, and the log is JSON without any payload."""
    settings = settings_for(produce_interval_seconds=0, log_format="json")
    foreign.make_topic(settings)
    file = tmp_path / "fault"
    with faulty_worker(settings, tmp_path, file) as worker:
        worker.wait_until_ready()
        producer = foreign.ForeignProducer(settings)
        values = list(wire_events(settings, 503))
        producer.send_all([MARKER, *values[:500], None, MARKER])
        until(lambda: sum(committed(settings).values()) == 503, what="committed ends", within=60)
        until(lambda: worker.is_ready, what="a green /readyz")
        check_metrics(worker, database)

        with locked(database):
            until(lambda: is_red(worker, "mongodb_writes"), within=SOON, what="that writes are refused")
        until(lambda: worker.is_ready, what="a green /readyz")
        with injected(file, "commit"):
            producer.send_all(values[500:502])
            until(lambda: is_red(worker, "commits"), within=SOON, what="that commits are stuck")
            assert sum(end_offsets(settings).values()) == 505
        until(lambda: worker.is_ready, what="a green /readyz")
        with injected(file, "agent"):
            producer.send_all(values[502:503])
            until(lambda: is_red(worker, "agent"), within=SOON, what="that the agent has ended")
            assert worker.page("/healthz")[0] == 200

    lines = [json.loads(line) for line in worker.text.splitlines()]
    assert all({"at", "level", "logger", "message"} <= line.keys() for line in lines)
    assert MARKER.decode() not in worker.text


def test_error_in_the_agent_ends_the_worker(settings_for: SettingsFactory, tmp_path: Path) -> None:
    """A restarted agent would skip the batch in which it failed; the exit code is 1, and nothing is committed."""
    settings = settings_for(produce_interval_seconds=0)
    foreign.make_topic(settings)
    file = tmp_path / "fault"
    with faulty_worker(settings, tmp_path, file) as worker, injected(file, "crash"):
        worker.wait_until_ready()
        foreign.ForeignProducer(settings).send_all(list(wire_events(settings, 1)))

        assert 1 == worker.process.wait(240)
    assert 0 == sum(committed(settings).values())
    assert "injected fault" in worker.text


def test_no_content_is_logged_at_any_level(
    settings_for: SettingsFactory, database: Database[Any], tmp_path: Path
) -> None:
    """The libraries log requests, answers and commands at DEBUG, with all events, dead letters and documents."""
    settings = settings_for(produce_interval_seconds=0.2)
    foreign.make_topic(settings)
    command = (sys.executable, "-m", "streamapp", "worker", "--loglevel", "debug")
    with Worker(settings, tmp_path, command=command) as worker:
        worker.wait_until_ready()
        senders = events.Senders(settings)
        value, _ = senders.event(1, 1, user_id=MARKER.decode())
        foreign.ForeignProducer(settings).send_all([value, MARKER])
        until(lambda: database.events.count_documents({}) >= 5, what="events of both producers")
        until(lambda: database.dead_letters.count_documents({}), what="a counted dead letter")
        assert worker.stop() == 0
    users = database.events.distinct("user_id")
    assert len(users) > 1
    assert [] == [user for user in users if user in worker.text]
    assert MARKER.decode() not in worker.text


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_logged(settings_for: SettingsFactory, tmp_path: Path, form: str) -> None:
    """However the driver complains."""
    settings = settings_for(log_format=form, produce_interval_seconds=0)
    address = settings.mongo_uri.get_secret_value().replace("mongodb://", "mongodb://someone:hush-hush@")
    with_password: Settings = settings.model_copy(update={"mongo_uri": SecretStr(address)})
    command = (sys.executable, "-m", "streamapp", "worker", "--loglevel", "debug")
    with Worker(with_password, tmp_path, command=command) as worker:
        until(lambda: "MongoDB refuses access" in worker.text, what="a line about MongoDB")
        until(lambda: "mongodb" in worker.page("/readyz")[1], what="a red /readyz")
        pages = [worker.page("/readyz")[1], metrics(worker)]
        worker.stop()
    assert "hush-hush" not in worker.text + str(pages)
