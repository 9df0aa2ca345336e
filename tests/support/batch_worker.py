"""A small Faust worker for the transport's tests: reports what it reads, and delays acks on request.

Run as `python -m tests.support.batch_worker`, with its Plan as JSON in BATCH_WORKER_PLAN.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import faust

from streamapp.connections.kafka import KafkaConnection
from streamapp.decode.kernel import KERNEL
from streamapp.kafka.admin import KafkaAdmin
from streamapp.model.record import PartitionBatch
from streamapp.retry import OutageRetrier
from streamapp.transport.prefix_commits import BatchOptions
from streamapp.transport.transport import BatchTransport
from streamapp.worker.no_tables import NoTables


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The task of a worker."""

    servers: str
    group: str
    topic: str
    #: The file to which it writes one JSON document per acknowledged batch or record, and per rebalance.
    report: str
    #: While this file exists, batches with a record in one of its lines, "partition offset", wait; "*" means all.
    hold: str = ""
    #: Whether batches are reported and release their records first, and wait with the ack only.
    release: bool = False
    #: A topic of single, typed records beside the batch topic.
    json_topic: str = ""
    batched: bool = True
    transport: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """Return the environment that hands this plan to a worker."""
        return {"BATCH_WORKER_PLAN": json.dumps(asdict(self))}


class Reading(faust.Record):
    """The value of the stock topic."""

    number: int


def make_app(plan: Plan) -> faust.App:
    """Return the worker's app."""

    def report_hurry(seconds: float) -> None:
        with Path(plan.report).open("a", encoding="utf-8") as report:
            print(json.dumps({"hurry": seconds}), file=report)

    settings = {
        "broker": f"kafka://{plan.servers}",
        "TableManager": NoTables,
        "store": "memory://",
        "topic_disable_leader": True,
        "broker_commit_interval": 0.2,
        "broker_session_timeout": 10.0,
        "broker_heartbeat_interval": 0.3,
        "consumer_metadata_max_age_ms": 1_000,
        "stream_recovery_delay": 0.0,
        "stream_wait_empty": True,
        "datadir": str(Path(plan.report).parent / "faust"),
    }
    app = faust.App(plan.group, **(settings | plan.settings))
    if plan.batched:
        app.transport = BatchTransport(
            app.conf.broker_consumer,
            app,
            options=BatchOptions(
                stop_worker=print,
                topics=frozenset({plan.topic}),
                topic_id_of=KafkaAdmin(KafkaConnection(servers=plan.servers)).topic_id_of,
                outages=OutageRetrier("Kafka"),
                hurry=report_hurry,
                kernel=lambda: KERNEL,
                **plan.transport,
            ),
        )
    return app


class Settler:
    """Reports and acknowledges batches, each in a task of its own, in any order."""

    def __init__(self, plan: Plan, app: faust.App) -> None:
        self._app = app
        self._hold = Path(plan.hold) if plan.hold else None
        self._releases = plan.release
        self._report = Path(plan.report).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 - until the process ends
        self._tasks: set[asyncio.Task[None]] = set()

    def write(self, **facts: Any) -> None:
        """Report facts."""
        print(json.dumps(facts), file=self._report)

    def begin(self, event: Any) -> None:
        """Settle the batch of an event in the background."""
        task = asyncio.create_task(self._settle(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def give_up(self) -> None:
        """Cancel all batches in flight, without an ack."""
        for task in self._tasks:
            task.cancel()

    async def _settle(self, event: Any) -> None:
        batch: PartitionBatch = event.value
        offsets = [record.offset for record in batch.records]
        if not self._releases:
            await self._wait(batch.partition, offsets)
        values = [(record.value or b"").decode() for record in batch.records]
        consumer: Any = self._app.consumer
        self.write(
            partition=batch.partition,
            offsets=offsets,
            values=values,
            topic_id=batch.topic_id,
            rewinds=consumer.rewinds,
        )
        if self._releases:
            batch.release_records(remaining_bytes=len(offsets))
            await self._wait(batch.partition, offsets)
        event.ack()

    async def _wait(self, partition: int, offsets: list[int]) -> None:
        while self._is_held(partition, offsets):  # noqa: ASYNC110 - the test removes a file
            await asyncio.sleep(0.02)

    def _is_held(self, partition: int, offsets: list[int]) -> bool:
        try:
            lines = self._hold.read_text(encoding="utf-8").splitlines() if self._hold else []
        except FileNotFoundError:
            return False
        return "*" in lines or any(f"{partition} {offset}" in lines for offset in offsets)


def main() -> None:
    """Run the worker."""
    plan = Plan(**json.loads(os.environ["BATCH_WORKER_PLAN"]))
    app = make_app(plan)
    settler = Settler(plan, app)
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}

    @app.agent(app.topic(plan.topic, **raw), concurrency=1, name="batches" if plan.batched else "records")
    async def read(stream: Any) -> None:
        async for event in stream.noack().events():
            if plan.batched:
                settler.begin(event)
            else:
                value = event.value.decode()
                settler.write(partition=event.message.partition, offsets=[event.message.offset], values=[value])
                event.ack()

    if plan.json_topic:

        @app.agent(app.topic(plan.json_topic, value_type=Reading), concurrency=1)
        async def read_others(stream: Any) -> None:
            async for reading in stream:
                settler.write(number=reading.number)

    @app.on_partitions_revoked.connect
    async def revoked(*_: Any, **__: Any) -> None:
        settler.give_up()
        settler.write(rebalance="revoked")

    @app.on_partitions_assigned.connect
    async def assigned(_: Any, assigned: Any = (), **__: Any) -> None:
        settler.write(
            rebalance="assigned", partitions=sorted(tp.partition for tp in assigned if tp.topic == plan.topic)
        )

    sys.argv = ["faust", "worker", "--loglevel", "info", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
