"""The transport on a real Kafka: the records and commits of the stock driver, through rebalances, outages and stops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from tests.support import groups
from tests.support.batch_worker import Plan
from tests.support.until import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamapp.local.backend import Backend

ROOT = Path(__file__).parents[2]


@dataclass
class Kafka:
    """One topic and one group, as a test sees them."""

    servers: str
    topic: str
    partitions: int = 2
    admin: AdminClient = field(init=False)

    def __post_init__(self) -> None:
        """Create the topic."""
        self.connect()
        self.create()

    def connect(self) -> None:
        """Connect again: after a broker restart, an old client does not find the group coordinator for some time."""
        self.admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})

    def create(self) -> None:
        """Create the topic; a worker that asks for the deleted topic may have created it, if the broker allows that."""
        try:
            self.admin.create_topics([NewTopic(self.topic, self.partitions, 1)])[self.topic].result(60)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def delete(self) -> None:
        """Delete the topic."""
        self.admin.delete_topics([self.topic])[self.topic].result(60)

    def send(self, values: list[str], **settings: Any) -> None:
        """Send values to the partitions in rotation."""
        producer = Producer({"bootstrap.servers": self.servers, "linger.ms": 5, "log_level": 0, **settings})
        for index, value in enumerate(values):
            producer.produce(self.topic, value.encode(), partition=index % self.partitions)
        assert producer.flush(30) == 0

    def ends(self) -> list[int]:
        """Return the end of every partition's log."""
        asked = self.admin.list_offsets(
            {TopicPartition(self.topic, partition): OffsetSpec.latest() for partition in range(self.partitions)}
        )
        return [end.result(60).offset for _, end in sorted(asked.items(), key=lambda item: item[0].partition)]

    def committed(self, group: str) -> list[int]:
        """Return the committed offsets of the group, -1001 for none."""
        return groups.committed(self.servers, group=group, topic=self.topic, partitions=self.partitions)

    def is_drained(self, group: str) -> bool:
        """Whether the group has committed the end of every partition; False while Kafka does not answer."""
        with suppress(KafkaException, TimeoutError):
            return self.committed(group) == self.ends()
        return False

    def members(self, group: str) -> list[str]:
        """Return the ids of the group's members."""
        return [member.member_id for member in self.admin.describe_consumer_groups([group])[group].result(60).members]

    async def expel(self, group: str) -> None:
        """Remove the members of a group on the broker; they are not notified."""
        client = AIOKafkaClient(bootstrap_servers=self.servers)
        await client.bootstrap()
        node = await client.coordinator_lookup(CoordinationType.GROUP, group)
        for member in self.members(group):
            await client.send(node, LeaveGroupRequest(group, member))
        await client.close()


class Worker:
    """A worker as a subprocess, with its report."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.report = Path(plan.report)
        self.log = self.report.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.batch_worker"],
                cwd=ROOT,
                env=os.environ | plan.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def facts(self) -> list[dict[str, Any]]:
        """Return its report so far."""
        assert self.process.poll() in {None, 0, -signal.SIGTERM}, self.output()[-5_000:]
        lines = self.report.read_text(encoding="utf-8").splitlines(keepends=True) if self.report.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def output(self) -> str:
        """Return its log."""
        return self.log.read_text(encoding="utf-8")

    def settled(self) -> list[dict[str, Any]]:
        """Return its acknowledged batches."""
        return [fact for fact in self.facts() if "values" in fact]

    def values(self) -> list[str]:
        """Return the values that it acknowledged."""
        return [value for fact in self.settled() for value in fact["values"]]

    def assignments(self) -> list[list[int]]:
        """Return the partitions of each assignment."""
        return [fact["partitions"] for fact in self.facts() if fact.get("rebalance") == "assigned"]

    def stop(self, within: float = 10.0) -> None:
        """Send SIGTERM, and wait for its end."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(within) == 0, self.output()[-5_000:]


@pytest.fixture
def kafka(backend: Backend, unique_name: str) -> Kafka:
    """Return this test's topic on the shared Kafka."""
    return Kafka(backend.addresses.kafka_bootstrap_servers, unique_name)


@pytest.fixture
def run(tmp_path: Path, unique_name: str) -> Iterator[Callable[..., Worker]]:
    """Return a function that starts workers; they are killed at the end."""
    workers: list[Worker] = []

    def start(kafka: Kafka, *, group: str = unique_name, **changes: Any) -> Worker:
        report = tmp_path / f"worker-{len(workers)}.jsonl"
        values = {"servers": kafka.servers, "group": group, "topic": kafka.topic, "report": str(report)}
        workers.append(Worker(Plan(**(values | changes))))
        return workers[-1]

    yield start
    for worker in workers:
        worker.process.kill()
        worker.process.wait()


def numbers(count: int, first: int = 0) -> list[str]:
    """Return distinct values."""
    return [f"{number}" for number in range(first, first + count)]


def test_same_records_and_commits_as_the_stock_driver(kafka: Kafka, run: Callable[..., Worker]) -> None:
    """A group on batches and a group on the stock driver read the same, with any compression."""
    for index, codec in enumerate(("none", "gzip", "lz4", "zstd", "snappy")):
        kafka.send(numbers(400, 400 * index), **{"compression.type": codec})
    batched, stock = run(kafka, group="batched-" + kafka.topic), run(kafka, group="stock-" + kafka.topic, batched=False)

    for worker in (batched, stock):
        until(lambda group=worker.plan.group: kafka.is_drained(group), what="the end, committed")

    def records(worker: Worker) -> list[tuple[int, int, str]]:
        return sorted(
            (fact["partition"], offset, value)
            for fact in worker.settled()
            for offset, value in zip(fact["offsets"], fact["values"], strict=True)
        )

    assert records(batched) == records(stock)
    assert len(records(batched)) == 2_000
    assert kafka.committed(batched.plan.group) == kafka.committed(stock.plan.group)
    batched.stop()


def test_batches_keep_their_limits(kafka: Kafka, run: Callable[..., Worker]) -> None:
    """A batch is limited in records and in bytes; in memory each of these records takes 1,300."""
    kafka.send(["x" * 1_000] * 400, **{"compression.type": "zstd"})

    worker = run(kafka, transport={"max_batch_records": 50, "max_batch_bytes": 10_000})
    until(lambda: kafka.is_drained(worker.plan.group), what="the end, committed")

    assert {len(fact["values"]) for fact in worker.settled()} == {8}


def test_other_topics_are_read_by_the_stock_driver(kafka: Kafka, run: Callable[..., Worker], tmp_path: Path) -> None:
    """A typed topic in the same app is decoded and acknowledged, also while all batches wait."""
    others, hold = Kafka(kafka.servers, f"{kafka.topic}.others"), tmp_path / "hold"
    hold.write_text("*")
    kafka.send(numbers(100))
    others.send([f'{{"number": {number}}}' for number in range(100)])

    worker = run(kafka, json_topic=others.topic, hold=str(hold))
    until(lambda: others.is_drained(worker.plan.group), what="the end of the other topic, committed")
    assert {fact["number"] for fact in worker.facts() if "number" in fact} == set(range(100))
    assert not worker.values()
    hold.unlink()
    until(lambda: kafka.is_drained(worker.plan.group), what="the end of the batch topic, committed")


def test_every_record_is_read_while_workers_join_and_leave(kafka: Kafka, run: Callable[..., Worker]) -> None:
    """Every record is acknowledged and the end is committed."""
    first = run(kafka)
    until(first.assignments, what="the first worker's partitions")
    sent = 0

    def send_until(fact: Callable[[], Any], what: str) -> None:
        nonlocal sent

        def send_and_check() -> Any:
            nonlocal sent
            kafka.send(numbers(500, sent))
            sent += 500
            return fact()

        until(send_and_check, what=what)

    send_until(first.values, "the first records")
    second = run(kafka)
    send_until(lambda: [0] in second.assignments() or [1] in second.assignments(), "a shared group")
    send_until(second.values, "records of the second worker")
    first.stop()
    send_until(lambda: [0, 1] in second.assignments(), "the second worker alone")
    third = run(kafka)
    send_until(third.values, "records of the third worker")
    second.stop()
    until(lambda: kafka.is_drained(third.plan.group), what="the end, committed")

    seen = Counter(first.values() + second.values() + third.values())
    assert set(seen) == set(numbers(sent))
    third.stop()


def test_outage_of_five_poll_intervals_costs_no_rebalance(
    kafka: Kafka, run: Callable[..., Worker], tmp_path: Path
) -> None:
    """A worker that acknowledges nothing for long stays a member, its memory stays bounded, and it catches up."""
    hold = tmp_path / "hold"
    hold.write_text("*")
    kafka.send(numbers(4_000))
    worker = run(
        kafka,
        hold=str(hold),
        transport={"max_in_flight_bytes": 20_000, "max_batch_records": 20},
        settings={"broker_max_poll_interval": 1.0},
    )
    until(worker.assignments, what="an assignment")
    members = until(lambda: kafka.members(worker.plan.group), what="a member")

    ends_at = time.monotonic() + 5.5
    until(lambda: time.monotonic() > ends_at, what="five poll intervals")
    assert not worker.values()
    assert kafka.members(worker.plan.group) == members
    hold.unlink()
    until(lambda: kafka.is_drained(worker.plan.group), what="the end, committed")

    assert sorted(worker.values(), key=int) == numbers(4_000)
    assert len(worker.assignments()) == 1


def test_released_records_free_memory_before_the_ack(kafka: Kafka, run: Callable[..., Worker], tmp_path: Path) -> None:
    """Ten times the bytes that may be in flight are read while no batch is acknowledged."""
    hold = tmp_path / "hold"
    hold.write_text("*")
    kafka.send(["x" * 10_000] * 400)
    worker = run(kafka, hold=str(hold), release=True, transport={"max_in_flight_bytes": 400_000})

    until(lambda: len(worker.values()) == 400, what="all records")
    assert not any(offset > 0 for offset in kafka.committed(worker.plan.group))
    hold.unlink()
    until(lambda: kafka.is_drained(worker.plan.group), what="the end, committed")


def test_a_stuck_batch_delays_its_partition_only_and_a_stop_commits_the_prefix(
    kafka: Kafka, run: Callable[..., Worker], tmp_path: Path
) -> None:
    """A commit never passes a batch that is not acknowledged; a stop is bounded, and commits up to that batch.

    It tells those who settle the batches how long it waits for them.
    """
    hold = tmp_path / "hold"
    hold.write_text("0 250")
    kafka.send(numbers(2_000))
    worker = run(kafka, hold=str(hold), transport={"max_batch_records": 100, "stop_seconds": 1.0})

    until(lambda: kafka.committed(worker.plan.group) == [200, 1_000], what="a commit of all but the stuck batch")
    until(lambda: len(worker.values()) == 1_900, what="acks after the stuck batch")
    worker.stop(within=60)

    assert kafka.committed(worker.plan.group) == [200, 1_000]
    first, *_ = [fact["hurry"] for fact in worker.facts() if "hurry" in fact]
    assert 0 < first <= 1.0


def test_a_trailing_control_record_is_not_lag(kafka: Kafka, run: Callable[..., Worker]) -> None:
    """The marker that ends a transaction is committed, too, although no batch contains it."""
    worker = run(kafka)
    for count in (10, 1):
        producer = Producer({"bootstrap.servers": kafka.servers, "transactional.id": kafka.topic})
        producer.init_transactions(20)
        producer.begin_transaction()
        for index in range(count):
            producer.produce(kafka.topic, b"value", partition=index % 2)
        producer.commit_transaction(20)

        until(lambda: kafka.is_drained(worker.plan.group), what="the end, committed")

    assert kafka.ends() == [8, 6]
    assert len(worker.values()) == 11


def test_only_committed_records_of_transactions_are_read(kafka: Kafka, run: Callable[..., Worker]) -> None:
    """Aborted records are not read, an open transaction stops the position, and the end is committed after it."""
    producer = Producer({"bootstrap.servers": kafka.servers, "transactional.id": kafka.topic})
    producer.init_transactions(20)

    def begin(name: str) -> None:
        producer.begin_transaction()
        for index in range(10):
            producer.produce(kafka.topic, f"{name} {index}".encode(), partition=index % 2)
        assert producer.flush(20) == 0

    begin("aborted")
    producer.abort_transaction(20)
    begin("committed")
    producer.commit_transaction(20)
    before = until(lambda: [12, 12] == kafka.ends() and kafka.ends(), what="the markers of both transactions")
    begin("open")
    worker = run(kafka)

    committed = {f"committed {index}" for index in range(10)}
    until(lambda: kafka.committed(worker.plan.group) == before, what="what is before the open transaction, committed")
    time.sleep(3)  # Some commits later …
    assert kafka.committed(worker.plan.group) == before
    assert set(worker.values()) == committed

    producer.abort_transaction(20)
    until(lambda: kafka.committed(worker.plan.group) == [18, 18], what="the end, committed")
    assert kafka.ends() == [18, 18]
    assert sorted(worker.values()) == sorted(committed)
    # Aborted records are not deleted ones, which are reported as an error.
    assert "Kafka has deleted" not in worker.output()


def test_an_expelled_member_joins_again(kafka: Kafka, run: Callable[..., Worker]) -> None:
    """A commit that is refused because the member was removed does not end the worker."""
    worker = run(kafka)
    kafka.send(numbers(100))
    until(lambda: kafka.is_drained(worker.plan.group), what="the end, committed")

    asyncio.run(kafka.expel(worker.plan.group))
    kafka.send(numbers(100, 100))
    until(lambda: kafka.is_drained(worker.plan.group), what="the end, committed again")

    until(lambda: len(worker.assignments()) > 1, what="a second assignment")
    assert set(worker.values()) == set(numbers(200))


def test_a_re_created_topic_is_read_from_its_first_offset(
    backend: Backend, unique_name: str, run: Callable[..., Worker]
) -> None:
    """Every record of the re-created topic is read, under its new topic id."""
    kafka = Kafka(backend.addresses.kafka_bootstrap_servers, unique_name, partitions=1)
    worker = run(kafka)
    kafka.send(numbers(200))
    until(lambda: kafka.is_drained(worker.plan.group), what="the end, committed")
    first_topic_ids = {fact["topic_id"] for fact in worker.settled()}

    kafka.delete()
    kafka.create()
    kafka.send(numbers(100, 1_000))
    until(lambda: set(numbers(100, 1_000)) <= set(worker.values()), what="the records of the re-created topic")
    until(lambda: kafka.is_drained(worker.plan.group), what="the new end, committed")

    second_topic_ids = {fact["topic_id"] for fact in worker.settled() if int(fact["values"][0]) >= 1_000}
    assert len(first_topic_ids) == len(second_topic_ids) == 1
    assert first_topic_ids != second_topic_ids


def test_a_topic_re_created_while_the_worker_is_suspended_is_read_from_its_first_offset(
    backend: Backend, unique_name: str, run: Callable[..., Worker]
) -> None:
    """The new topic has more records than the deleted one: a fetch at the old offset succeeds."""
    kafka = Kafka(backend.addresses.kafka_bootstrap_servers, unique_name, partitions=1)
    worker = run(kafka)
    kafka.send(numbers(50))
    until(lambda: kafka.is_drained(worker.plan.group), what="the end, committed")
    topic_id = worker.settled()[0]["topic_id"]

    worker.process.send_signal(signal.SIGSTOP)
    kafka.delete()
    kafka.create()
    kafka.send(numbers(500, 1_000))
    worker.process.send_signal(signal.SIGCONT)
    until(lambda: set(numbers(500, 1_000)) <= set(worker.values()), what="the records of the re-created topic")
    until(lambda: kafka.is_drained(worker.plan.group), what="the new end, committed")

    of_deleted_topic = [fact["values"] for fact in worker.settled() if fact["topic_id"] == topic_id]
    assert {value for values in of_deleted_topic for value in values} == set(numbers(50))


def test_no_record_is_lost_when_the_broker_is_killed_and_restarted(
    private_backend: Backend, unique_name: str, run: Callable[..., Worker]
) -> None:
    """The worker survives, continues after the restart, and stops in time while the broker hangs."""
    kafka = Kafka(private_backend.addresses.kafka_bootstrap_servers, unique_name)
    worker = run(kafka, transport={"stop_seconds": 1.0})
    kafka.send(numbers(1_000))
    until(lambda: kafka.is_drained(worker.plan.group), what="the end, committed")

    private_backend.kafka.kill()
    until(lambda: "Unable connect" in worker.output(), what="a worker without its broker")
    private_backend.kafka.restart()
    kafka.connect()
    kafka.send(numbers(1_000, 1_000))
    until(lambda: kafka.is_drained(worker.plan.group), what="the new end, committed")
    assert set(worker.values()) == set(numbers(2_000))

    private_backend.kafka.pause()
    try:
        worker.stop()
    finally:
        private_backend.kafka.resume()
