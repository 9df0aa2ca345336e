"""`streamapp verify` with real servers: no problem after a worker has run, one for each injected fault."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import DatetimeMS
from bson.raw_bson import RawBSONDocument
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from pymongo import MongoClient
from pymongo.database import Database

from streamapp import commands
from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka.topic_reader import TopicReader
from streamapp.local.backend import Backend
from streamapp.model.record import HEADER_PREFIX
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.dead_letter_counts import key_of
from streamapp.settings import Settings
from streamapp.verify import orphans
from streamapp.verify.checks.result import VerificationResult
from streamapp.verify.verification import Verification
from tests.conftest import SettingsFactory
from tests.integration.test_dlq import letter_at, send_dead_letters
from tests.support import events, foreign, groups, offsets
from tests.support.backends import plain_settings
from tests.support.factories import NOW
from tests.support.until import until
from tests.support.workers import STREAMAPP, Worker, environment, run

WITHIN = 30.0


@pytest.fixture(scope="module")
def settings(backend: Backend) -> Settings:
    """Return settings that all tests of this module share."""
    name = "verified"
    return plain_settings(
        kafka_bootstrap_servers=backend.addresses.kafka_bootstrap_servers,
        schema_registry_url=backend.addresses.schema_registry_url,
        mongo_uri=backend.addresses.mongo_uri,
        mongo_database=name,
        topic=name,
        app_id=name,
        produce_interval_seconds=0,
        breaker_failure_ratio=0,
    )


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a manifest file."""
    return tmp_path_factory.mktemp("manifest") / "sent.jsonl"


@pytest.fixture(scope="module")
def database(settings: Settings, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Database[Any]]:
    """Return the database after a worker has processed samples, poison records, transactions and replays."""
    foreign.make_topic(settings, partitions=2)
    sample = (
        "send-sample",
        "--count",
        "1500",
        "--faults",
        "corrupt=0.03,null=0.02,late=0.02",
        "--manifest",
        str(manifest),
    )
    done = run(STREAMAPP, *sample, settings=settings)
    assert done.returncode == 0, done.stderr
    senders = events.Senders(settings)
    _send_transactions(settings, senders)
    with Worker(settings, tmp_path_factory.mktemp("worker")) as worker:
        _await_the_end(settings)
        _replay_all(settings)
        _await_the_end(settings)
        assert worker.stop() == 0
    with MongoClient[Any](settings.mongo_uri.get_secret_value(), tz_aware=True) as client:
        yield client[settings.mongo_database]


def _send_transactions(settings: Settings, senders: events.Senders) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "transactional.id": settings.topic})
    producer.init_transactions(WITHIN)
    for number, end in enumerate((producer.commit_transaction, producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(settings.topic, senders.event(number, 3)[0], partition=0)
        producer.flush(WITHIN)
        end(WITHIN)


def _await_the_end(settings: Settings) -> None:
    two = settings.model_copy(update={"partitions": 2})
    until(lambda: offsets.committed(two) == offsets.end_offsets(two), within=90, what="no lag")


def _replay_all(settings: Settings) -> None:
    """Send five dead letters unchanged to their original partitions, where they fail again."""
    producer = foreign.ForeignProducer(settings)
    for letter in foreign.read_to_end(settings, settings.dead_letter_topic)[:5]:
        headers = dict(letter.headers() or ())
        partition = int(headers[f"{HEADER_PREFIX}partition"] or b"")
        producer.send(letter.value(), key=letter.key(), headers=letter.headers(), partition=partition)
    producer.flush()


@contextmanager
def comparison(settings: Settings) -> Generator[Verification]:
    """Yield a verification that has not read anything yet."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    with closing(mongo), closing(Verification(settings, mongo)) as verification:
        yield verification


def verify(settings: Settings) -> VerificationResult:
    """Return the result, without rollups."""
    with comparison(settings) as verification:
        verification.prepare()
        return verification.run(lambda _: None)


def problems_of(settings: Settings) -> list[str]:
    """Return the problems as text."""
    return [str(problem) for problem in verify(settings).problems()]


def test_a_worker_leaves_no_problem(settings: Settings, database: Database[Any], manifest: Path) -> None:
    """The input has poison records, replays and transactions; a manifest that is given twice counts once."""
    twice = manifest.with_name("twice.jsonl")
    twice.write_text(manifest.read_text() * 2)
    done = run(STREAMAPP, "verify", "--json", "--manifest", str(manifest), "--ledger", str(twice), settings=settings)

    facts = json.loads(done.stdout)
    assert (0, [], 0) == (done.returncode, facts["problems"], facts["problems_total"]), done.stdout
    assert not facts["wrong"]
    assert facts["records"] == facts["stored"] + facts["dead_lettered"] + facts["replays"] == 1_501 + 5
    assert (database["events"].estimated_document_count(), 5) == (facts["stored"], facts["replays"])
    assert facts["dead_lettered"] > 20
    assert (1_500, 0) == (facts["sent"], facts["sent_not_settled"])
    assert facts["rollups"] > 0


def test_faults_in_documents_and_counts_are_problems(settings: Settings, database: Database[Any]) -> None:
    """One document each is deleted, changed, duplicated and added; one dead letter is counted twice."""
    collection = database["events"]
    deleted, changed, doubled = collection.find({"kafka.partition": 1}).sort("kafka.offset").skip(50).limit(3)
    never = deleted["_id"].rsplit("-", 1)[0] + "-99999"
    collection.delete_one({"_id": deleted["_id"]})
    collection.update_one({"_id": changed["_id"]}, {"$set": {"metadata.device": "toaster"}})
    collection.insert_many([{**doubled, "_id": "copy"}, {**doubled, "_id": never}])
    counted = database["dead_letters"].find_one_and_update({}, {"$inc": {"n": 1}})
    assert counted
    found = problems_of(settings)
    collection.delete_many({"_id": {"$in": ["copy", never]}})
    collection.replace_one({"_id": changed["_id"]}, changed)
    collection.insert_one(deleted)
    database["dead_letters"].update_one({"_id": counted["_id"]}, {"$inc": {"n": -1}})

    places = [f"partition 1, offset {each['kafka']['offset']}" for each in (deleted, changed, doubled)]
    id_, n = counted["_id"], counted["n"]
    assert [
        f"missing: {places[0]}",
        f"double: {places[2]}: also stored as _id 'copy'",
        "extra: partition 1, offset 99999: a document without a record",
        f"differing: {places[1]}: metadata differs",
        f"count: dead_letters {id_} counts {n + 1} events, but the topic has {n}",
    ] == found


def test_malformed_documents_are_problems(settings: Settings, database: Database[Any]) -> None:
    """They have dates out of range, invalid UTF-8, infinite numbers, and an `_id` of another type."""
    collection, dead_lettered = database["events"], database["dead_letters"]
    timeless, unreadable, nowhere = collection.find({"kafka.partition": 1}).sort("kafka.offset").skip(60).limit(3)
    bare = bson.encode(unreadable).replace(unreadable["event_type"].encode(), b"\xff" * len(unreadable["event_type"]))
    ids = [DatetimeMS(2**60), timeless["_id"] + "9" * 5_000]
    endless = {**nowhere["kafka"], "offset": float("inf")}
    broken_id = bson.encode({"_id": "broken"}).replace(b"broken", b"\xff" * 6)
    count = dead_lettered.find_one({})
    assert count

    collection.update_one({"_id": timeless["_id"]}, {"$set": {"event_timestamp": DatetimeMS(2**60)}})
    collection.delete_one({"_id": unreadable["_id"]})
    collection.insert_many([RawBSONDocument(bare), RawBSONDocument(broken_id)])
    collection.insert_many([{"_id": each, "kafka": endless} for each in ids])
    dead_lettered.update_one({"_id": count["_id"]}, {"$set": {"n": None}})
    dead_lettered.insert_one({"_id": {"a": 1}})
    found = problems_of(settings)
    with_rollups = CliRunner().invoke(commands.load("verify"), ["--json"], env=environment(settings))
    collection.delete_many({"kafka.offset": float("inf")})
    collection.delete_many({"_id": {"$gt": "\ufffd"}})
    for document in (timeless, unreadable):
        collection.replace_one({"_id": document["_id"]}, document)
    dead_lettered.replace_one({"_id": count["_id"]}, count)
    dead_lettered.delete_one({"_id": {"a": 1}})

    places = [f"partition 1, offset {each['kafka']['offset']}" for each in (timeless, unreadable)]
    assert {
        f"differing: {places[0]}: event_timestamp differs",
        f"differing: {places[1]}: event_type differs",
        f"extra: _id {ids[1]!r:.100} has no coordinates in `kafka`",
        f"extra: _id {ids[0]!r} has no coordinates in `kafka`",
        "extra: _id '\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd' is not valid UTF-8",
        "count: dead_letters {'a': 1} was not written by streamapp: _id is not a string",
        f"count: dead_letters '{count['_id']}' was not written by streamapp: n is not a non-negative integer",
        f"count: dead_letters {count['_id']} counts 0 events, but the topic has {count['n']}",
    } == {*found}
    assert len(found) < json.loads(with_rollups.stdout)["problems_total"]
    assert [] == problems_of(settings)


class WithoutSchemas(BaseHTTPRequestHandler):
    """A registry that knows no schema id."""

    def do_GET(self) -> None:
        """Answer that the schema is not found."""
        body = b'{"error_code": 40403, "message": "Schema not found"}'
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_schemas_that_the_registry_has_lost_are_no_problems(settings: Settings, database: Database[Any]) -> None:
    """The past is judged by what is stored; coordinates and schema ids are still compared."""
    registry = ThreadingHTTPServer(("127.0.0.1", 0), WithoutSchemas)
    threading.Thread(target=registry.serve_forever, daemon=True).start()
    later = settings.model_copy(update={"schema_registry_url": f"http://127.0.0.1:{registry.server_port}"})
    changed = database.events.find_one_and_update({}, {"$inc": {"schema_id": 1000}})
    try:
        result = verify(later)
    finally:
        registry.shutdown()
        registry.server_close()
        database.events.update_one({"_id": changed["_id"]}, {"$set": {"schema_id": changed["schema_id"]}})

    assert ["differing"] == [problem.what for problem in result.problems()]
    assert sum(result.of_lost_schemas.values()) == database.events.estimated_document_count() - 1


def test_problems_beyond_the_limit_are_counted(settings: Settings, database: Database[Any]) -> None:
    """The text has the first 20 problems, the JSON the first 200."""
    topic_id = database["events"].find_one({}, {"_id": 1})["_id"].rsplit("-", 2)[0]  # pyright: ignore[reportOptionalSubscript]
    orphans = [f"{topic_id}-0-{offset}" for offset in range(100_000, 100_500, 2)]
    database["events"].insert_many([{"_id": each} for each in orphans])
    arguments, env = ["--no-rollups"], environment(settings)
    as_text = CliRunner().invoke(commands.load("verify"), arguments, env=env)
    as_json = CliRunner().invoke(commands.load("verify"), [*arguments, "--json"], env=env)
    database["events"].delete_many({"_id": {"$in": orphans}})

    facts = json.loads(as_json.stdout)
    assert (1, 1) == (as_text.exit_code, as_json.exit_code)
    assert (250, 250, 200) == (facts["extra"], facts["problems_total"], len(facts["problems"]))
    assert "… and 230 more" in as_text.stdout.splitlines()


def test_a_record_that_differs_from_the_manifest_is_a_problem(
    settings: Settings, database: Database[Any], manifest: Path
) -> None:
    """A rollup that differs is a problem too; the exit code is 1."""
    (document,) = database["events"].find({"schema_version": "v1"}).limit(1)
    database["events"].update_one({"_id": document["_id"]}, {"$set": {"user_id": "another"}})
    rollup = database["rollups_1d"].find_one_and_update({}, {"$inc": {"n": 7}})
    assert rollup
    done = run(STREAMAPP, "verify", "--manifest", str(manifest), settings=settings)
    database["rollups_1d"].replace_one({"_id": rollup["_id"]}, rollup)
    database["events"].replace_one({"_id": document["_id"]}, document)

    place = f"partition {document['kafka']['partition']}, offset"
    assert 1 == done.returncode, done.stderr
    assert f"differing: {place} {document['kafka']['offset']}: user_id differs" in done.stdout
    assert f"sent and differing: {place}" in done.stdout
    assert "have checksum" in done.stdout
    assert f"rollups_1d {rollup['_id']}: n is {rollup['n'] + 7}" in done.stdout


def test_a_running_worker_causes_no_false_alarm(
    settings_for: SettingsFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that it stores or dead-letters meanwhile, also in a new partition, are not checked."""
    settings = settings_for(produce_interval_seconds=0, breaker_failure_ratio=0)
    foreign.make_topic(settings, partitions=2)
    senders = events.Senders(settings)
    monkeypatch.setattr(orphans, "MAX_IDS_PER_QUERY", 10)
    with (
        Worker(settings, tmp_path),
        MongoClient[Any](settings.mongo_uri.get_secret_value()) as client,
        comparison(settings) as verification,
    ):
        collection = client[settings.mongo_database]["events"]

        def send(n: int, partition: int) -> None:
            wanted = n + collection.count_documents({})
            producer = foreign.ForeignProducer(settings)
            for number in range(n):
                producer.send(senders.event(number, 1)[0], partition=partition)
            producer.send(b"", partition=partition)
            producer.flush()
            until(lambda: collection.count_documents({}) == wanted, within=90, what="stored events")

        def send_more(_: int) -> None:
            calls.append(len(calls))
            if len(calls) == 3:  # after two partitions and some documents
                send(40, 1)
                admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
                admin.create_partitions([NewPartitions(settings.topic, 3)])[settings.topic].result(WITHIN)
                until(
                    lambda: len(TopicReader(KafkaConnection.of(settings), settings.topic).partitions()) == 3,
                    what="a third partition",
                )
                send(5, 2)

        calls: list[int] = []
        send(30, 0)
        send(30, 1)
        verification.prepare()
        send(20, 1)
        result = verification.run(send_more)

    assert ([], 62) == ([*map(str, result.problems())], result.totals()["records"])
    assert len(calls) > 3 + 2


def delete_before(settings: Settings, offset: int) -> None:
    """Delete the records of partition 0 below an offset."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    deleted = admin.delete_records([TopicPartition(settings.topic, 0, offset)])
    assert offset == max(each.result(WITHIN).low_watermark for each in deleted.values())


def test_records_that_are_deleted_meanwhile_are_older(settings_for: SettingsFactory) -> None:
    """They are neither missing nor extra, whether or not they have been read by then."""
    settings = settings_for()
    foreign.make_topic(settings, partitions=1)
    foreign.ForeignProducer(settings).send_all([b""] * 10)
    groups.commit(settings.kafka_bootstrap_servers, group=settings.app_id, topic=settings.topic, offsets={0: 10})
    with MongoClient[Any](settings.mongo_uri.get_secret_value()) as client, comparison(settings) as verification:
        verification.prepare()
        ids = [f"{verification.topic_id}-0-{offset}" for offset in range(10)]
        client[settings.mongo_database]["events"].insert_many([{"_id": each} for each in ids])
        delete_before(settings, 5)
        result = verification.run(lambda _: delete_before(settings, 8))

    totals = result.totals()
    assert (5, 5, 0, 0) == (totals["stored"], totals["older"], totals["missing"], totals["extra"])


def test_a_dead_letter_that_arrives_meanwhile_is_not_expected_in_the_counts(
    settings_for: SettingsFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker counts a dead letter after it sends it."""
    settings = settings_for()
    foreign.make_topic(settings, partitions=1)
    bounds = TopicReader.bounds

    def bounds_and_a_letter(reader: TopicReader, partition: int) -> tuple[int, int]:
        found = bounds(reader, partition)
        if reader.topic == settings.topic and found == (0, 0):
            foreign.ForeignProducer(settings).send_all([b""])
            send_dead_letters(settings, letter_at(settings, 0), partitions=1)
        return found

    monkeypatch.setattr(TopicReader, "bounds", bounds_and_a_letter)

    assert [] == problems_of(settings)


def test_a_dead_letter_of_a_committed_record_is_expected_in_the_counts(settings_for: SettingsFactory) -> None:
    """The commit may happen during the comparison."""
    settings = settings_for()
    foreign.make_topic(settings, partitions=1)
    foreign.ForeignProducer(settings).send_all([b""])
    send_dead_letters(settings, letter_at(settings, 0), partitions=1)
    waiting = problems_of(settings)
    with comparison(settings) as verification:
        verification.prepare()
        groups.commit(settings.kafka_bootstrap_servers, group=settings.app_id, topic=settings.topic, offsets={0: 1})
        problems = verification.run(lambda _: None).problems()

    assert [] == waiting
    assert [f"count: dead_letters {key_of('undecodable', NOW)} counts 0 events, but the topic has 1"] == [
        *map(str, problems)
    ]


def test_a_claim_of_a_place_that_becomes_a_dead_letter_stays_refused(
    settings_for: SettingsFactory, tmp_path: Path
) -> None:
    """In `verify`, and when the worker reads the record again: it was an event of its own before."""
    settings = settings_for(produce_interval_seconds=0, breaker_failure_ratio=0, partitions=2)
    foreign.make_topic(settings, partitions=2)
    with comparison(settings) as verification:
        verification.prepare()
        letter = {"topic": settings.topic, "partition": "1", "offset": "0", "timestamp": f"{NOW}", "attempt": "1"}
        forged = {**letter, "incarnation": verification.topic_id}
    headers = [(f"{HEADER_PREFIX}{name}", str(text).encode()) for name, text in forged.items()]
    producer = foreign.ForeignProducer(settings)
    with Worker(settings, tmp_path) as worker:
        producer.send(events.Senders(settings).event(0, 1)[0], headers=headers, partition=0)
        producer.flush()
        _await_the_end(settings)
        producer.send(b"broken", partition=1)
        producer.flush()
        _await_the_end(settings)
        assert worker.stop() == 0
    first = problems_of(settings)
    groups.commit(settings.kafka_bootstrap_servers, group=settings.app_id, topic=settings.topic, offsets={0: 0, 1: 0})
    with Worker(settings, tmp_path) as worker:
        _await_the_end(settings)
        assert worker.stop() == 0

    totals = verify(settings).totals()
    assert ([], []) == (first, problems_of(settings))
    assert (1, 1, 0) == (totals["stored"], totals["dead_lettered"], totals["replays"])


def test_lost_records_are_problems(settings: Settings, database: Database[Any]) -> None:
    """A commit skipped records, then the dead-letter topic is re-created; deleted records are not checked."""
    before = offsets.end_offsets(settings.model_copy(update={"partitions": 2}))
    foreign.ForeignProducer(settings).send(b"", partition=0)
    senders = events.Senders(settings)
    producer = foreign.ForeignProducer(settings)
    for number in range(3):
        producer.send(senders.event(number, 2)[0], partition=1)
    producer.flush()
    waiting = verify(settings)
    groups.commit(
        settings.kafka_bootstrap_servers, group=settings.app_id, topic=settings.topic, offsets={1: before[1] + 3}
    )
    skipped = problems_of(settings)
    groups.commit(settings.kafka_bootstrap_servers, group=settings.app_id, topic=settings.topic, offsets=before)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    admin.delete_topics([settings.dead_letter_topic])[settings.dead_letter_topic].result(WITHIN)
    without_dead_letters = verify(settings)
    admin.delete_records([TopicPartition(settings.topic, p, before[p]) for p in before])
    until(lambda: verify(settings).totals()["records"] <= 4, what="deleted records")
    truncated = verify(settings)

    assert (True, 4) == (waiting.is_good, waiting.totals()["not_settled"])
    assert [f"missing: partition 1, offset {before[1]}-{before[1] + 2}"] == skipped
    assert without_dead_letters.totals()["missing"] == waiting.totals()["dead_lettered"] + waiting.totals()["replays"]
    assert (True, 0) == (not truncated.totals()["missing"], truncated.totals()["stored"])
    assert truncated.totals()["older"] == database["events"].estimated_document_count()
