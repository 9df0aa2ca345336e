"""What other programs send is stored as the contract says, or dead-lettered as it came."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import TIMESTAMP_CREATE_TIME, Message
from pymongo.database import Database

from streamapp import event
from streamapp.broker import Broker
from streamapp.settings import Settings
from tests import foreign
from tests.e2e.test_kill import end_offsets
from tests.e2e.workers import Worker
from tests.until import until

GOOD = 3000
STARTED = int(time.time() * 1000)
V3 = {
    **event.schema(2),
    "doc": "Nobody announced it.",
    "fields": [
        *event.schema(2)["fields"],
        {
            "name": "basket_value",
            "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}],
            "default": None,
        },
        {"name": "seen_at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
    ],
}
ORDER = {"type": "record", "name": "Order", "fields": [{"name": "total", "type": "double"}]}


def an_event(number: int, **more: Any) -> dict[str, Any]:
    """Return event number `number`."""
    return {
        "user_id": f"user-{number % 97}",
        "event_type": ("click", "search", "purchase")[number % 3],
        "event_timestamp": STARTED - number,
        "metadata": {"device": ("mobile", "desktop")[number % 2], "location": "DE"},
        **more,
    }


class Senders:
    """Three versions, and what each event must become."""

    def __init__(self, settings: Settings) -> None:
        self.schemas = {1: event.schema(1), 2: event.schema(2), 3: V3}
        self.ids = {version: foreign.register(settings, schema) for version, schema in self.schemas.items()}
        self.expected: dict[str, dict[str, Any]] = {}

    def record(self, number: int, version: int) -> bytes:
        """Return wire bytes, and remember the document they must become, by its event_timestamp and user."""
        values = an_event(number)
        if version >= 2:
            values["browser"] = ("firefox", None)[number % 2]
        if version == 3:
            values |= {"basket_value": None, "seen_at": datetime(2026, 1, 1, 0, 0, 0, number, UTC)}
        document = {"browser": None, **values, "schema_version": f"v{version}", "schema_id": self.ids[version]}
        if version == 3:
            document["seen_at"] = datetime(2026, 1, 1, 0, 0, 0, number // 1000 * 1000, UTC)
        self.expected[f"{values['user_id']} {values['event_timestamp']}"] = document
        return foreign.wire(values, self.schemas[version], self.ids[version])


def poisons(senders: Senders, unrelated_id: int) -> list[tuple[bytes | None, str]]:
    """Return 25 records that can never be stored, each with the reason that it must get."""
    good = foreign.wire(an_event(1), event.schema(1), senders.ids[1])
    v2_as_v1 = foreign.wire(an_event(1, browser="x"), event.schema(2), senders.ids[1])

    def at(timestamp: int) -> bytes:
        return foreign.wire(an_event(1, event_timestamp=timestamp), event.schema(1), senders.ids[1])

    now = int(time.time() * 1000)
    return [
        (b"", "empty"),
        (None, "tombstone"),
        (None, "tombstone"),
        (b'{"user_id": "u"}', "bad-magic-byte"),
        (b"\x01" + good[1:], "bad-magic-byte"),
        (b"\x7f", "bad-magic-byte"),
        (b"\x00", "truncated"),
        (b"\x00\x00\x00\x00", "truncated"),
        (good[:5], "truncated"),
        (good[:-1], "truncated"),
        (good[: len(good) // 2], "truncated"),
        (b"\x00\x7f\xff\xff\xf0" + good[5:], "unknown-schema-id"),
        (b"\x00\x00\x0f\x42\x40" + good[5:], "unknown-schema-id"),
        (b"\x00\xff\xff\xff\xff" + good[5:], "unknown-schema-id"),
        (b"\x00\x00\x00\x00\x00" + good[5:], "unknown-schema-id"),
        (good + b"\x00", "undecodable"),
        (v2_as_v1, "undecodable"),
        (good[:5] + b"\x04\xff\xfe" + good[5:], "undecodable"),
        (foreign.wire({"total": 9.5}, ORDER, unrelated_id), "incompatible-schema"),
        (foreign.wire({"total": -1.0}, ORDER, unrelated_id), "incompatible-schema"),
        (at(0), "timestamp-out-of-range"),
        (at(946_684_799_999), "timestamp-out-of-range"),
        (at(-1), "timestamp-out-of-range"),
        (at(now + 25 * 3_600_000), "timestamp-out-of-range"),
        (at(2**62), "timestamp-out-of-range"),
    ]


def test_every_good_event_is_stored_and_every_poison_kept(
    settings: Settings, database: Database[Any], tmp_path: Path
) -> None:
    """3,000 events of V1, V2 and an unannounced V3, by four compressions, with 25 poisons among them."""
    foreign.make_topic(settings)
    with Worker(settings.model_copy(update={"produce_interval_seconds": 0}), tmp_path) as worker:
        worker.wait_until_ready()
        senders = Senders(settings)  # V3 is registered while the worker runs
        bad = poisons(senders, foreign.register(settings, ORDER, f"{settings.topic}-orders"))
        sent = _send(settings, senders, bad)
        collection = database.events
        until(lambda: collection.estimated_document_count() >= GOOD, what=f"{GOOD} documents")
        letters = foreign.read_all(settings, settings.dead_letter_topic, len(bad))
        until(lambda: counted(database).total() >= len(bad), what="counted dead letters")
        until(lambda: told_of_workers(database) == [(GOOD, len(bad))], what="the worker's fates in pipeline_state")
        until(lambda: settled_to_the_end(database) == end_offsets(settings), what="settled ends in pipeline_state")
        assert worker.stop() == 0, worker.text

    _check_documents(settings, database, senders)
    _check_letters(settings, sent, letters)
    assert Counter(map(letter_reason, letters)) == counted(database)


def told_of_workers(database: Database[Any]) -> list[tuple[int, int]]:
    """Return what each worker says that it stored and dead-lettered, of those that know how long it took."""
    workers = database.pipeline_state.find({"kind": "worker", "latency.p50_ms": {"$gt": 0}})
    return [(worker["fates"]["stored"], worker["fates"]["dead_lettered"]) for worker in workers]


def settled_to_the_end(database: Database[Any]) -> dict[int, int]:
    """Return the settled offset of each partition that has no lag."""
    partitions = database.pipeline_state.find({"kind": "partition", "lag": 0, "lag_seconds": 0})
    return {found["partition"]: found["settled"] for found in partitions if found["settled"] == found["end"]}


def _send(
    settings: Settings, senders: Senders, bad: list[tuple[bytes | None, str]]
) -> dict[bytes, tuple[bytes | None, str]]:
    """Send everything, the poisons spread out; return poison by its key."""
    producers = [foreign.ForeignProducer(settings, compression) for compression in ("lz4", "zstd", "gzip", "none")]
    by_key: dict[bytes, tuple[bytes | None, str]] = {}
    for number in range(GOOD):
        producers[number % 4].send(
            senders.record(number, number % 3 + 1), key=None if number % 50 == 0 else f"k{number}"
        )
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


def _check_documents(settings: Settings, database: Database[Any], senders: Senders) -> None:
    documents = list(database.events.find())
    incarnation = _incarnation(settings)
    assert GOOD == len(documents)
    for document in documents:
        kafka = document.pop("kafka")
        assert document.pop("_id") == f"{incarnation}-{kafka['partition']}-{kafka['offset']}"
        assert settings.topic == kafka["topic"]
        assert abs(kafka["timestamp"].timestamp() - time.time()) < 300
        assert abs(document.pop("received_at").timestamp() - time.time()) < 300
        key = f"{document['user_id']} {document['event_timestamp']}"
        assert senders.expected.pop(key) == document
    assert {} == senders.expected


def _incarnation(settings: Settings) -> str | None:
    return asyncio.run(Broker(settings.kafka_bootstrap_servers).incarnation_of(settings.topic))


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
