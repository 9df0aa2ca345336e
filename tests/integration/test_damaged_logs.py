"""Logs of Kafka that lost their end, or have batches that cannot be read; and rights that come late."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from pymongo import MongoClient

from streamapp.connections.kafka import KafkaConnection
from streamapp.kafka.topic_reader import TopicReader
from streamapp.local.backend import Backend
from streamapp.model.record import TopicRecord, UnreadableRecords
from streamapp.mongodb.client import Mongo
from streamapp.reconcile.reconciliation import Reconciliation
from streamapp.settings import Settings
from streamapp.verify.checks.result import VerificationResult
from streamapp.verify.verification import Verification
from tests.conftest import SettingsFactory
from tests.faults.backend import fault_backend
from tests.support import events, foreign, kafka_log, offsets, raw_producer
from tests.support.until import until
from tests.support.workers import STREAMAPP, Worker, run


@pytest.fixture(scope="module")
def broken() -> Iterator[Backend]:
    """Return servers of the module's own."""
    with fault_backend() as backend:
        yield backend


@pytest.fixture
def settings(settings_for: SettingsFactory, broken: Backend) -> Settings:
    """Return settings of a topic with one partition, which exists."""
    settings = settings_for(broken, produce_interval_seconds=0, breaker_failure_ratio=0, partitions=1)
    foreign.make_topic(settings, partitions=1)
    return settings


@contextmanager
def sender(settings: Settings) -> Generator[Any]:
    """Yield a function that sends events with these numbers, in a batch of their own."""
    senders = events.Senders(settings)
    producer = foreign.ForeignProducer(settings, **{"linger.ms": 200, "compression.type": "zstd"})

    def send(*numbers: int) -> None:
        for number in numbers:
            producer.send(senders.event(number, 1)[0], partition=0)
        producer.flush()

    yield send


def wait_until_settled(settings: Settings) -> None:
    """Wait until the group has committed everything."""
    until(lambda: offsets.committed(settings) == offsets.end_offsets(settings), within=60, what="no lag")


def verified(settings: Settings) -> tuple[VerificationResult, dict[Any, Any]]:
    """What `streamapp verify` and `rollups check` find."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    with closing(mongo), closing(Verification(settings, mongo)) as verification:
        verification.prepare()
        result = verification.run(lambda _: None)
        rollups = Reconciliation(mongo, keep=settings.keep, now=lambda: datetime.now(UTC)).check()
    return result, dict(rollups.different)


def stored_users(settings: Settings) -> list[str]:
    """The users of the stored events."""
    with MongoClient[Any](settings.mongo_uri.get_secret_value()) as client:
        return sorted(found["user_id"] for found in client[settings.mongo_database]["events"].find())


def test_batches_that_cannot_be_read_are_named_and_the_others_are_compared(
    settings: Settings, broken: Backend, tmp_path: Path
) -> None:
    """One became a dead letter; the other one was stored before the disk lost it."""
    with sender(settings) as send:
        for first in (0, 10, 20):
            send(*range(first, first + 10))
    bad = kafka_log.corrupt(broken, settings.topic, 0, 12)
    with Worker(settings, tmp_path):
        wait_until_settled(settings)
    kafka_log.corrupt(broken, settings.topic, 0, 25)

    with TopicReader(KafkaConnection.of(settings), settings.topic) as reader:
        read = [*reader.read(0, 0, 30)]
        from_within = [*reader.read(0, 15, 18)]
    result, different = verified(settings)

    assert (10, 19) == (bad.first, bad.last)
    assert [(10, 20), (20, 30)] == [(each.offset, each.end) for each in read if isinstance(each, UnreadableRecords)]
    assert [*range(10)] == [each.offset for each in read if not isinstance(each, UnreadableRecords)]
    assert [(15, 18)] == [(each.offset, each.end) for each in from_within if isinstance(each, UnreadableRecords)]
    assert [] == result.problems()
    assert {} == different
    assert len(result.unreadable) == 2
    assert (20, 1) == (result.totals()["stored"], result.totals()["dead_lettered"])
    _assert_dead_letters_are_named(settings, broken)


def test_each_read_finds_the_same_batches_and_each_reader_can_be_closed(settings: Settings, broken: Backend) -> None:
    """After a wrong checksum, librdkafka fetches from an undefined offset, and its `close` may never return."""
    with sender(settings) as send:
        for first in (0, 10, 20):
            send(*range(first, first + 10))
    for offset in (12, 25):
        kafka_log.corrupt(broken, settings.topic, 0, offset)
    found = []
    for _ in range(5):
        with TopicReader(KafkaConnection.of(settings), settings.topic) as reader:
            found += [[(each.offset, type(each)) for each in reader.read(0, 0, 30)] for _ in range(5)]
    good = [(offset, TopicRecord) for offset in range(10)]
    assert [[*good, (10, UnreadableRecords), (20, UnreadableRecords)]] * 25 == found


def test_header_names_that_are_not_utf8_disturb_no_reader(settings: Settings) -> None:
    """However often: Python reports the error of the client at a later call, once the loop is optimized."""
    value = events.Senders(settings).event(1, 1)[0]
    batch = raw_producer.with_odd_header(b"k", value, events.STARTED)
    for _ in range(5):
        raw_producer.send(settings.kafka_bootstrap_servers, settings.topic, 0, batch)

    with TopicReader(KafkaConnection.of(settings), settings.topic) as reader:
        found = [[record.value for record in reader.read(0, 0, 5)] for _ in range(100)]
    assert [[value] * 5] * 100 == found


def _assert_dead_letters_are_named(settings: Settings, broken: Backend) -> None:
    kafka_log.corrupt(broken, settings.dead_letter_topic, 0, 0)
    listed = run(STREAMAPP, "dlq", "list", settings=settings)
    done = run(STREAMAPP, "verify", settings=settings)

    assert listed.returncode == 0, listed.stderr
    assert f"A batch cannot be read, and is left out: {settings.dead_letter_topic}, partition 0, offsets 0 to 0" in (
        listed.stderr
    )
    # The record's dead letter is unknown now.
    assert "missing: partition 0, offset 10" in done.stdout
    assert "A batch cannot be read" in done.stderr
    assert "Traceback" not in listed.stderr + done.stderr


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_other_records_at_lost_offsets_are_stored_beside_the_events_of_the_lost_ones(
    settings: Settings, broken: Backend, tmp_path: Path, is_running: bool
) -> None:
    """Whether the worker runs when the broker loses the end of its log, or starts afterwards."""
    with Worker(settings, tmp_path) as worker, sender(settings) as send:
        send(*range(30))
        send(*range(30, 50))
        wait_until_settled(settings)
        if not is_running:
            assert worker.stop() == 0
        assert {0: 30} == kafka_log.truncate(broken, settings.topic, ends={0: 30})
        # More than were lost: the committed offset is that of a record that was never read.
        with sender(settings) as send_again:
            send_again(*range(100, 140))
        if is_running:
            _assert_all_are_stored(settings, worker)
    if not is_running:
        with Worker(settings, tmp_path) as worker:
            _assert_all_are_stored(settings, worker)

    result, different = verified(settings)
    assert ([], {}) == (result.problems(), different)
    assert (70, 20) == (result.totals()["stored"], result.totals()["older"])


def _assert_all_are_stored(settings: Settings, worker: Worker) -> None:
    until(lambda: len(stored_users(settings)) == 90, within=60, what="all events")
    wait_until_settled(settings)
    assert "streamapp_reused_offsets_total 20.0" in worker.metrics
    until(lambda: worker.is_ready, what="a ready worker, a moment after the broker's outage")


@contextmanager
def rights(settings: Settings, *denied: tuple[ResourceType, str, AclOperation]) -> Generator[None]:
    """Deny everybody operations in this block."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers, "log_level": 0})
    rules = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, "User:*", "*", operation, permission)
        for kind, name, denied_operation in denied
        for operation, permission in (
            (AclOperation.ALL, AclPermissionType.ALLOW),
            (denied_operation, AclPermissionType.DENY),
        )
    ]
    for made in admin.create_acls(rules).values():
        made.result(60)
    try:
        yield
    finally:
        filters = [
            AclBindingFilter(
                kind, name, ResourcePatternType.LITERAL, None, None, AclOperation.ANY, AclPermissionType.ANY
            )
            for kind, name, _ in denied
        ]
        for deleted in admin.delete_acls(filters).values():
            deleted.result(60)


def test_a_worker_that_is_started_without_the_right_to_its_group_continues_once_it_has_it(
    settings: Settings, tmp_path: Path
) -> None:
    """And says once what is missing."""
    with sender(settings) as send:
        send(*range(10))
    denied = (ResourceType.GROUP, settings.app_id, AclOperation.READ)
    with rights(settings, denied):
        worker = Worker(settings, tmp_path)
        until(lambda: "STREAMAPP_APP_ID" in str(worker.page("/readyz")), within=60, what="the reason in /readyz")
        status, _ = worker.page("/readyz")
    with worker:
        wait_until_settled(settings)
        until(lambda: worker.is_ready, within=60, what="a ready worker")

        assert status == 503
        assert worker.text.count("refuses access") == 1
        assert worker.stop() == 0
