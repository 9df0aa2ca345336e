"""What other programs send is stored as the contract says, or dead-lettered as it came."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message
from pymongo.database import Database

from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka.admin import KafkaAdmin
from streamapp.model import event
from streamapp.settings import Settings
from streamapp.transport.batch_size import MAX_HEADERS
from tests.support import events, foreign, forked
from tests.support.forked import ForkedWorker
from tests.support.offsets import committed, end_offsets
from tests.support.until import until
from tests.support.workers import Worker

GOOD = 3000


def test_every_good_event_is_stored_and_every_poison_kept(
    settings: Settings, database: Database[Any], tmp_path: Path
) -> None:
    """3,000 events of V1, V2 and an unannounced V3, by four compressions, with 25 poisons among them."""
    foreign.make_topic(settings)
    with Worker(settings.model_copy(update={"produce_interval_seconds": 0}), tmp_path) as worker:
        worker.wait_until_ready()
        senders = events.Senders(settings)  # V3 is registered while the worker runs
        bad = events.poisons(senders.ids[1], foreign.register(settings, events.ORDER, f"{settings.topic}-orders"))
        expected: dict[str, dict[str, Any]] = {}
        sent = _send(settings, senders, bad, expected)
        collection = database.events
        until(lambda: collection.estimated_document_count() >= GOOD, what=f"{GOOD} documents")
        letters = foreign.read_all(settings, settings.dead_letter_topic, len(bad))
        until(lambda: counted(database).total() >= len(bad), what="counted dead letters")
        until(lambda: told_of_workers(database) == [(GOOD, len(bad))], what="the worker's fates in pipeline_state")
        until(lambda: settled_to_the_end(database) == end_offsets(settings), what="settled ends in pipeline_state")
        assert worker.stop() == 0, worker.text

    _check_documents(settings, database, expected)
    _check_letters(settings, sent, letters)
    assert Counter(map(letter_reason, letters)) == counted(database)


def test_a_subject_of_another_team_is_left_alone(settings: Settings, database: Database[Any], tmp_path: Path) -> None:
    """The default worker consumes its events, says once that it does not produce, and registers nothing."""
    field = {"name": "session_id", "type": "string"}
    own = {**event.schema(1), "name": "PageEvent", "fields": [*event.schema(1)["fields"], field]}
    foreign.make_topic(settings)
    writer = foreign.writer(own, foreign.register(settings, own))
    with Worker(settings, tmp_path) as worker:
        until(lambda: "does not produce sample events" in worker.text, what="a line about the producer")
        worker.wait_until_ready()
        foreign.ForeignProducer(settings).send_all([writer(events.an_event(1, session_id="s"))])
        until(lambda: database.events.count_documents({"session_id": "s", "schema_version": "v1"}), what="the event")
        assert worker.stop() == 0, worker.text

    assert worker.text.count("does not produce sample events") == 1
    assert [1] == httpx.get(f"{settings.schema_registry_url}/subjects/{settings.subject}/versions").json()
    assert database.events.count_documents({}) == 1


def test_verify_compares_the_dead_letter_of_a_record_with_too_many_headers(settings: Settings, tmp_path: Path) -> None:
    """It has a part of the record only, and `verify` says so."""
    settings = settings.model_copy(update={"produce_interval_seconds": 0})
    foreign.make_topic(settings)
    producer = foreign.ForeignProducer(settings)
    producer.send(b"\x00value", key=b"k", partition=0, headers=[("a-header", b"")] * (MAX_HEADERS + 1))
    producer.flush()
    with ForkedWorker(settings, tmp_path) as worker:
        until(lambda: committed(settings) == end_offsets(settings), what="no lag")
        assert worker.stop() == 0, worker.text

    code, said = forked.run("streamapp", "verify", settings=settings, folder=tmp_path, log=tmp_path / "verify.log")

    assert code == 0, said
    assert "1 dead letters were compared in part only" in said


def told_of_workers(database: Database[Any]) -> list[tuple[int, int]]:
    """Return what each worker says that it stored and dead-lettered, of those that know how long it took."""
    workers = database.pipeline_state.find({"kind": "worker", "latency.p50_ms": {"$gt": 0}})
    return [(worker["fates"]["stored"], worker["fates"]["dead_lettered"]) for worker in workers]


def settled_to_the_end(database: Database[Any]) -> dict[int, int]:
    """Return the settled offset of each partition that has no lag."""
    partitions = database.pipeline_state.find({"kind": "partition", "lag": 0, "lag_seconds": 0})
    return {found["partition"]: found["settled"] for found in partitions if found["settled"] == found["end"]}


def _send(
    settings: Settings,
    senders: events.Senders,
    bad: list[tuple[bytes | None, str]],
    expected: dict[str, dict[str, Any]],
) -> dict[bytes, tuple[bytes | None, str]]:
    """Send everything, the poisons spread out; return poison by its key, and note what events must become."""
    producers = [foreign.ForeignProducer(settings, compression) for compression in ("lz4", "zstd", "gzip", "none")]
    by_key: dict[bytes, tuple[bytes | None, str]] = {}
    for number in range(GOOD):
        value, document = senders.event(number, number % 3 + 1)
        expected[_name(document)] = document
        producers[number % 4].send(value, key=None if number % 50 == 0 else f"k{number}")
        if number % (GOOD // len(bad)) == 0:
            key = f"poison-{number}".encode()
            by_key[key] = bad[len(by_key)]
            producers[0].send(
                by_key[key][0], key=key, timestamp=1_790_000_000_000 + number, headers=[("trace", key), ("empty", None)]
            )
    for producer in producers:
        producer.flush()
    assert len(bad) == len(by_key)
    return by_key


def _name(document: dict[str, Any]) -> str:
    return f"{document['user_id']} {document['event_timestamp']}"


def _check_documents(settings: Settings, database: Database[Any], expected: dict[str, dict[str, Any]]) -> None:
    documents = list(database.events.find())
    topic_id = _topic_id(settings)
    assert GOOD == len(documents)
    for document in documents:
        kafka = document.pop("kafka")
        assert document.pop("_id") == f"{topic_id}-{kafka['partition']}-{kafka['offset']}"
        assert settings.topic == kafka["topic"]
        assert abs(kafka["timestamp"].timestamp() - time.time()) < 300
        assert abs(document.pop("received_at").timestamp() - time.time()) < 300
        assert expected.pop(_name(document)) == events.as_written(document)
    assert {} == expected


def _topic_id(settings: Settings) -> str | None:
    return asyncio.run(KafkaAdmin(KafkaConnection.of(settings)).topic_id_of(settings.topic))


def _check_letters(settings: Settings, sent: dict[bytes, tuple[bytes | None, str]], letters: list[Message]) -> None:
    assert len(sent) == len(letters)
    for letter in letters:
        value, reason = sent.pop(letter.key())
        headers = dict(letter.headers())
        number = int(letter.key().removeprefix(b"poison-"))
        assert value == letter.value()
        assert (TIMESTAMP_CREATE_TIME, 1_790_000_000_000 + number) == letter.timestamp()
        assert (letter.key(), None) == (headers["trace"], headers["empty"])
        assert reason == headers["streamapp.reason"].decode(), (value, headers)
        assert settings.topic == headers["streamapp.topic"].decode()
        assert headers["streamapp.timestamp"].decode() == str(letter.timestamp()[1])
        assert {"partition", "offset", "error", "schema_id", "failed_at", "attempt", "incarnation"} <= {
            name.removeprefix("streamapp.") for name in headers
        }


def counted(database: Database[Any]) -> Counter[str]:
    """Return what MongoDB counts of dead letters, by reason."""
    counts = Counter[str]()
    for document in database.dead_letters.find():
        counts[document["reason"]] += document["n"]
    return counts


def letter_reason(letter: Message) -> str:
    """Return the reason in a dead letter's headers."""
    return dict(letter.headers())["streamapp.reason"].decode()
