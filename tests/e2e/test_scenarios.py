"""Lessons on schema evolution over one running pipeline: a fault fails each of them; what they left is explained.

`tests/e2e/test_docs.py` plays each of them without a fault, by the commands of the tutorial.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from click.testing import CliRunner, Result
from pymongo import MongoClient
from pymongo.database import Database

from streamapp.commands import explain, scenario, schema
from streamapp.connections.kafka import KafkaConnection
from streamapp.dlq.index import parse_letter
from streamapp.kafka.topic_reader import TopicReader
from streamapp.local.backend import Backend
from streamapp.scenarios import player, scenario_file
from streamapp.settings import PREFIX, Settings
from tests.support.backends import plain_settings
from tests.support.foreign import ForeignProducer
from tests.support.offsets import end_offsets
from tests.support.until import until
from tests.support.workers import Worker, environment

FAST = ("--speed", "1000", "--yes", "--json")
FALSE = """title = "A false announcement"
summary = "No event has a planet."
[[steps]]
title = "one"
say = "V1 is sent."
look = "Nowhere."
see = "Nothing."
send = { events = 10, seconds = 1, mix = { v1 = 1.0 } }
expect.fields = { v1 = ["planet"] }
"""
ACCEPTED = """title = "A refusal that does not come"
summary = "An optional field is compatible."
[schemas.optional]
base = "v2"
add = ['{"name": "note", "type": ["null", "string"], "default": null}']
[[steps]]
title = "one"
say = "It is to be registered."
look = "Nowhere."
see = "Nothing."
register = "optional"
refused = true
[[steps]]
title = "two"
say = "It is not played."
look = "Nowhere."
see = "Nothing."
send = { events = 10, seconds = 1, mix = { v1 = 1.0 } }
"""
TRUE = FALSE.replace('["planet"]', '["user_id"]')


@pytest.fixture(scope="module")
def settings(backend: Backend) -> Settings:
    """Return settings with names of this module's own."""
    name, addresses = f"test-{uuid.uuid4().hex[:12]}", backend.addresses
    return plain_settings(
        kafka_bootstrap_servers=addresses.kafka_bootstrap_servers,
        schema_registry_url=addresses.schema_registry_url,
        mongo_uri=addresses.mongo_uri,
        mongo_database=name,
        topic=name,
        app_id=name,
        produce_interval_seconds=0,
    )


@pytest.fixture(scope="module")
def environ(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Generator[Mapping[str, str]]:
    """Return the environment of commands, beside a running worker."""
    with Worker(settings, tmp_path_factory.mktemp("worker")) as worker:
        worker.wait_until_ready()
        yield {name: value for name, value in environment(settings).items() if name.startswith(PREFIX)}


@pytest.fixture(scope="module")
def played(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the reports of two lessons, after which there are events of both versions, and dead letters."""

    def report(name: str) -> Mapping[str, Any]:
        done = play(name, environ)
        assert done.stdout, done.stderr
        return {"code": done.exit_code, **json.loads(done.stdout)}

    return {name: report(name) for name in ("rolling-upgrade", "breaking-change")}


@pytest.fixture
def database(settings: Settings) -> Generator[Database[Any]]:
    """Return the database of the worker."""
    client: MongoClient[Any] = MongoClient(settings.mongo_uri.get_secret_value(), tz_aware=True)
    with client:
        yield client[settings.mongo_database]


def play(name: str, environ: Mapping[str, str]) -> Result:
    """Play a scenario."""
    return CliRunner().invoke(scenario.command, ["run", name, *FAST], env=environ, catch_exceptions=False)


def explained(text: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what `explain --json` says."""
    done = CliRunner().invoke(explain.command, [text, "--json"], env=environ, catch_exceptions=False)
    assert 0 == done.exit_code, done.stderr
    return json.loads(done.stdout)


def shown(text: str, environ: Mapping[str, str]) -> str:
    """Return what `explain` prints."""
    done = CliRunner().invoke(explain.command, [text], env=environ, catch_exceptions=False)
    assert 0 == done.exit_code, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["rolling-upgrade", "breaking-change"])
def test_the_lesson_comes_true(played: Mapping[str, Any], name: str) -> None:
    """Each announcement of each step, and nothing is lost or double."""
    report, steps = played[name], scenario_file.load(name).steps

    assert [[] for _ in steps] == [step["problems"] for step in report["steps"]]
    assert ([], 0, True, 0) == (report["problems"], report["uncommitted"], report["verified"], report["code"])
    wanted = [step.send.events if step.send else 0 for step in steps]
    assert all(step["sent"] >= events for step, events in zip(report["steps"], wanted, strict=True))


def test_who_still_sends_the_old_version_is_stored(played: Mapping[str, Any], database: Database[Any]) -> None:
    """The last client that is upgraded has sent the last events of V1."""
    assert played
    by_client = {"$group": {"_id": "$kafka.headers", "last": {"$max": "$received_at"}}}
    last = {"$sort": {"last": -1}}
    found = [*database.events.aggregate([{"$match": {"schema_version": "v1"}}, by_client, last])]

    assert {"android", "ios", "web"} == {each["_id"]["client"] for each in found}
    assert {"client": "android", "client_version": "1.8"} == found[0]["_id"]


def test_a_breaking_change_ends_as_announced(played: Mapping[str, Any]) -> None:
    """Refused, then unregistered, then a dead letter."""
    _, refused, forced, other = played["breaking-change"]["steps"]

    assert "The registry refuses required-field: session: " in refused["registered"]
    assert {"schema": "required-field", "fate": "unregistered", "events": 10} in forced["fates"]
    assert {"schema": "other-type", "fate": "incompatible-schema", "events": 5} in other["fates"]


def test_the_versions_are_listed_with_their_events(
    played: Mapping[str, Any], environ: Mapping[str, str], database: Database[Any]
) -> None:
    """As many as are stored of each."""
    assert played
    counts = {
        each["_id"]: each["n"]
        for each in database.events.aggregate([{"$sortByCount": "$schema_version"}, {"$set": {"n": "$count"}}])
    }
    done = CliRunner().invoke(schema.command, ["list", "--json"], env=environ, catch_exceptions=False)
    found = json.loads(done.stdout)

    assert counts == {each["version"]: each["events"] for each in found["versions"]}
    assert "BACKWARD" == found["level"]
    assert 1.0 == pytest.approx(sum(each["share_24h"] for each in found["versions"]))
    first, second, *_, last = found["versions"]
    assert ("v1", "user_event_v1.avsc") == (first["version"], first["file"])
    assert ("v2", "user_event_v2.avsc") == (second["version"], second["file"])
    assert all(each["first_seen_at"] and each["id"] for each in found["versions"][:-1])
    assert ("unregistered", None, False) == (last["version"], last["id"], last["registered"])


def test_the_versions_are_listed_as_a_table(played: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """One line for each."""
    assert played
    done = CliRunner().invoke(schema.command, ["list"], env=environ, catch_exceptions=False)
    lines = done.stdout.splitlines()

    assert lines[0].endswith(", level BACKWARD")
    assert ["version", "id"] == lines[2].split()[:2]
    assert "v1" == lines[3].split()[0]


def test_a_stored_event_is_explained(
    played: Mapping[str, Any], environ: Mapping[str, str], database: Database[Any]
) -> None:
    """By its id and by its coordinates: bytes, schema, what the worker added, and the rollups that count it."""
    assert played
    document = database.events.find_one({"schema_version": "v1"})
    assert document is not None
    place = document["kafka"]
    found = explained(document["_id"], environ)

    assert found == explained(f"{place['topic']}:{place['partition']}:{place['offset']}", environ)
    assert ("stored", document["user_id"]) == (found["fate"], found["document"]["user_id"])
    assert "v1" == found["schema"]["version"]
    assert "browser" in [change["path"] for change in found["schema"]["to_latest"]["changes"]]
    assert {"action": "added", "path": "browser", "before": None, "value": None} in found["reader"]
    assert [True] * 4 == [bucket["counts_it"] for bucket in found["rollups"]]
    fields = {each["field"]: each["value"] for each in found["record"]["fields"]}
    assert repr(document["user_id"]) == fields["user_id"]
    text = shown(document["_id"], environ)
    assert all(part in text for part in (repr(document["user_id"]), "rollups_1m", "counts it", "added", "+ browser"))


def test_a_dead_letter_is_explained(
    played: Mapping[str, Any], environ: Mapping[str, str], settings: Settings, database: Database[Any]
) -> None:
    """Why it failed, where, and what would mend it: bytes of V1 under the id of V2, and a record that is cut."""
    assert played
    wire = explained(str(database.events.find_one({"schema_version": "v1"})["_id"]), environ)["record"]["value"]
    value = base64.b64decode(wire)
    v2 = database.schema_versions.find_one({"version": 2})
    assert v2 is not None
    wrong_id = value[:1] + v2["schema_id"].to_bytes(4, "big") + value[5:]
    before = {**letters(settings)}
    ForeignProducer(settings).send_all([wrong_id, value[:20]])
    new = until(lambda: {k: v for k, v in letters(settings).items() if k not in before}, what="dead letters")
    new = until(
        lambda: len(n := {k: v for k, v in letters(settings).items() if k not in before}) == 2 and n, what="two"
    )
    for place, reason in new.items():
        found = explained(f"{settings.dead_letter_topic}:{place}", environ)
        assert ("dead letter", reason) == (found["fate"], found["dead_letter"]["reason"])
        assert found["record"]["problem"]
        start, end = found["record"]["problem_at"]
        assert 5 <= start <= end <= len(value)
        assert found["dead_letter"]["remedy"]
        text = shown(found["id"], environ)
        assert "Why it failed" in text
        if found["dead_letter"]["now"]["fits"]:
            assert ["v1"] == found["dead_letter"]["now"]["fits"]
            assert "The bytes are a whole event of v1" in text


def test_a_dead_letter_that_is_stored_by_now_is_explained_as_both(
    played: Mapping[str, Any], environ: Mapping[str, str], settings: Settings, database: Database[Any]
) -> None:
    """As after a replay: the place in the dead-letter topic shows why it failed before."""
    assert played
    event_id = explained(f"{settings.dead_letter_topic}:0:0", environ)["id"]
    stored = database.events.find_one()
    assert stored is not None
    database.events.insert_one({**stored, "_id": event_id})
    try:
        found = explained(f"{settings.dead_letter_topic}:0:0", environ)
        text = shown(f"{settings.dead_letter_topic}:0:0", environ)
    finally:
        database.events.delete_one({"_id": event_id})

    assert ("stored", "incompatible-schema") == (found["fate"], found["dead_letter"]["reason"])
    assert "Why it failed, before it was replayed and stored" in text


def letters(settings: Settings) -> dict[str, str]:
    """Return the reason of each dead letter, by its place."""
    with TopicReader(KafkaConnection.of(settings), settings.dead_letter_topic, group=settings.app_id) as reader:
        found = [each for p in reader.partitions() for each in reader.read(p, *reader.bounds(p))]
    parsed = {f"{each.partition}:{each.offset}": parse_letter(each) for each in found}
    return {place: str(letter.reason) for place, letter in parsed.items() if letter}


def test_nothing_is_sent_without_a_yes(environ: Mapping[str, str], settings: Settings) -> None:
    """A script cannot be asked; what would be done is said."""
    before = end_offsets(settings)
    done = CliRunner().invoke(scenario.command, ["run", "surprise-v3"], env=environ)

    assert 2 == done.exit_code
    assert f"sends 210 sample events to {settings.topic}" in done.stderr
    assert "Give --yes if that is intended." in done.stderr
    assert before == end_offsets(settings)


@pytest.mark.parametrize("text", ["nothing", "other_topic:0:0", "{topic}:0:999999"])
def test_what_does_not_exist_is_not_explained(environ: Mapping[str, str], settings: Settings, text: str) -> None:
    """The message says where it was looked for."""
    done = CliRunner().invoke(explain.command, [text.format(topic=settings.topic)], env=environ)

    assert 1 == done.exit_code
    assert settings.topic in done.stderr


class Damage(NamedTuple):
    """What is done to one stored event of a lesson, and what the lesson must find."""

    match: Mapping[str, Any]
    #: None: the event is deleted.
    update: Mapping[str, Any] | list[Any] | None
    problem: str


#: A fault for each lesson, in what it teaches.
DAMAGES = {
    "rolling-upgrade": Damage({"schema_version": "v1"}, None, "missing: partition"),
    "rollback": Damage({"schema_version": "v1"}, {"$set": {"schema_version": "v2"}}, "schema_version differs"),
    "surprise-v3": Damage({"language": {"$type": "string"}}, {"$unset": {"language": 1}}, "language differs"),
    "nested-v4": Damage({"app.build": 1742}, {"$unset": {"app.build": 1}}, "app differs"),
    # By the name that its writer knows, which is the old one or the new one.
    "rename": Damage({"locale": {"$type": "string"}}, {"$unset": {"locale": 1}}, "differing: partition"),
    "late-and-duplicated": Damage(
        {"$expr": {"$lt": ["$event_timestamp", {"$subtract": [{"$toLong": "$kafka.timestamp"}, 3_600_000]}]}},
        [{"$set": {"event_timestamp": {"$toLong": "$kafka.timestamp"}}}],
        "event_timestamp differs",
    ),
}


@contextmanager
def damaging(database: Database[Any], damage: Damage) -> Generator[None]:
    """Damage the first new event that matches, as soon as it is stored; repair it at the end."""
    events, stop = database.events, threading.Event()
    match = {**damage.match, "received_at": {"$gt": datetime.now(UTC)}}
    before: list[Any] = []

    def watch() -> None:
        while not (before or stop.wait(0.01)):
            if damage.update is None:
                found = events.find_one_and_delete(match)
            else:
                found = events.find_one_and_update(match, damage.update)
            before.extend([found] if found else [])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        for each in before:
            events.replace_one({"_id": each["_id"]}, each, upsert=True)
    assert before


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_event_fails_the_lesson(
    played: Mapping[str, Any],
    environ: Mapping[str, str],
    database: Database[Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Exit code 1, and what is wrong."""
    assert played
    if DAMAGES[name].update is None:
        monkeypatch.setattr(player, "SETTLE_SECONDS", 10)  # a lost event is waited for
    with damaging(database, DAMAGES[name]):
        done = play(name, environ)
    report = json.loads(done.stdout)

    assert (1, False) == (done.exit_code, report["verified"])
    assert any(DAMAGES[name].problem in each for each in report["problems"]), report["problems"]
    assert "The verification found problems" in done.stderr


def test_a_registry_that_does_not_refuse_fails_the_lesson(
    played: Mapping[str, Any], environ: Mapping[str, str], settings: Settings
) -> None:
    """The breaking change would be accepted: the lesson ends at this step, and registers nothing."""
    assert played
    level, before = f"{settings.schema_registry_url}/config/{settings.subject}", versions(environ)
    httpx.put(level, json={"compatibility": "FORWARD"}).raise_for_status()
    try:
        done = play("breaking-change", environ)
    finally:
        httpx.put(level, json={"compatibility": "BACKWARD"}).raise_for_status()
    *_, refused = json.loads(done.stdout)["steps"]

    assert (1, "The registry refuses") == (done.exit_code, refused["title"])
    assert "required-field is compatible with" in refused["problems"][0]
    assert before == versions(environ)


def test_each_lesson_has_a_fault() -> None:
    """A new lesson needs one, too."""
    assert {*scenario_file.lessons()} == {*DAMAGES, "breaking-change"}


def test_a_false_announcement_fails(played: Mapping[str, Any], environ: Mapping[str, str], tmp_path: Path) -> None:
    """Exit code 1, and what is not so."""
    assert played
    (tmp_path / "false.toml").write_text(FALSE)
    done = play(str(tmp_path / "false.toml"), environ)
    report = json.loads(done.stdout)

    assert 1 == done.exit_code
    assert ["10 of 10 documents of v1 have no field planet"] == report["steps"][0]["problems"]
    assert not report["problems"]


def test_a_schema_that_would_not_be_refused_is_not_registered(
    played: Mapping[str, Any], environ: Mapping[str, str], tmp_path: Path
) -> None:
    """The scenario ends at this step, with exit code 1."""
    assert played
    (tmp_path / "accepted.toml").write_text(ACCEPTED)
    before = versions(environ)
    done = play(str(tmp_path / "accepted.toml"), environ)
    [step] = json.loads(done.stdout)["steps"]

    assert 1 == done.exit_code
    assert "optional is compatible with" in step["problems"][0]
    assert before == versions(environ)


def versions(environ: Mapping[str, str]) -> list[str]:
    """Return the versions of the subject."""
    done = CliRunner().invoke(schema.command, ["list", "--json"], env=environ, catch_exceptions=False)
    return [each["version"] for each in json.loads(done.stdout)["versions"]]


@pytest.mark.skipif("STREAMAPP_TEST_LONG" not in os.environ, reason="it waits for a worker that does not run")
def test_a_scenario_without_a_worker_says_so(environ: Mapping[str, str], tmp_path: Path) -> None:
    """After a minute, and the following steps are not played."""
    (tmp_path / "true.toml").write_text(TRUE)
    name = f"test-{uuid.uuid4().hex[:12]}"
    names = {"STREAMAPP_TOPIC": name, "STREAMAPP_APP_ID": name, "STREAMAPP_MONGO_DATABASE": name}
    done = play(str(tmp_path / "true.toml"), {**environ, **names})
    report = json.loads(done.stdout)

    assert 1 == done.exit_code
    assert "start a worker (`streamapp worker`)" in report["steps"][0]["problems"][0]
    assert 10 == report["uncommitted"]


def test_a_lost_event_fails(
    played: Mapping[str, Any], environ: Mapping[str, str], database: Database[Any], tmp_path: Path
) -> None:
    """The last test: it damages what is stored."""
    assert played
    lost = database.events.find_one_and_delete({"schema_version": "v2"})
    assert lost is not None
    (tmp_path / "true.toml").write_text(TRUE)
    done = play(str(tmp_path / "true.toml"), environ)
    report = json.loads(done.stdout)

    assert 1 == done.exit_code
    assert not report["steps"][0]["problems"]
    assert any(each.startswith("missing: partition") for each in report["problems"])
    assert "The verification found problems" in done.stderr
    assert "missing" == explained(lost["_id"], environ)["fate"]
