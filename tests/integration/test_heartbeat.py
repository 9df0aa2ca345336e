"""The heartbeat in a real MongoDB, and without a MongoDB."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from pymongo.database import Database

from streamapp.errors import RegistryUnavailable, StoreUnavailable
from streamapp.mongodb.client import Mongo
from streamapp.monitoring import heartbeat
from streamapp.monitoring.heartbeat import MAX_RECENT, Heartbeat
from streamapp.monitoring.latency import Latencies
from streamapp.monitoring.subject_level import SubjectLevel
from streamapp.settings import Settings
from streamapp.sink.ports import Fates
from streamapp.transport.offset_tracker import Progress


class FakeConsumer:
    """Has one partition with a lag of ten records; `enough` is set at the third call of `progress`."""

    in_flight = (1, 100)
    deleted_offsets = 0

    def __init__(self) -> None:
        self.enough = asyncio.Event()
        self._calls = 0

    def progress(self) -> Sequence[Progress]:
        """Return the partition, with another topic id at each call."""
        self._calls += 1
        if self._calls >= 3:
            self.enough.set()
        return [Progress(topic="t", partition=1, topic_id=f"topic-id-{self._calls}", settled=5, end=15, oldest_ms=None)]


class SteadyConsumer(FakeConsumer):
    """Has the same partition at each call."""

    def progress(self) -> Sequence[Progress]:
        """Return the partition."""
        return [Progress(topic="t", partition=1, topic_id="topic-id", settled=5, end=15, oldest_ms=None)]


def a_heartbeat(mongo: Mongo, consumer: FakeConsumer) -> Heartbeat:
    """Return a heartbeat of a worker that has stored nothing."""
    return Heartbeat(mongo, consumer=consumer, fates=Fates, latencies=Latencies())


def test_one_document_per_partition_and_worker(settings: Settings, database: Database[Any]) -> None:
    """Whatever the number of heartbeats; `recent` is bounded, and a TTL index deletes old documents after a week."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)

    async def write_often() -> None:
        worker_heartbeat = a_heartbeat(mongo, SteadyConsumer())
        for _ in range(MAX_RECENT + 2):
            await worker_heartbeat.write_once()

    asyncio.run(write_often())
    mongo.close()

    partition = database["pipeline_state"].find_one({"kind": "partition"}) or {}
    worker = database["pipeline_state"].find_one({"kind": "worker"}) or {}
    assert 2 == database["pipeline_state"].count_documents({})
    assert ("partition:topic-id:1", 5, 10, worker["_id"]) == tuple(
        partition[name] for name in ("_id", "settled", "lag", "worker")
    )
    assert MAX_RECENT == len(partition["recent"])
    assert partition["at"] == partition["recent"][-1]["at"]
    assert 7 * 86_400 == database["pipeline_state"].index_information()["at_1"]["expireAfterSeconds"]


def test_heartbeat_survives_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """While MongoDB is unreachable it keeps trying, one write at a time, until it is cancelled."""
    monkeypatch.setattr(heartbeat, "WRITE_TIMEOUT_SECONDS", 0.1)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        mongo = Mongo(f"mongodb://127.0.0.1:{unused.getsockname()[1]}", "any")

        async def scenario() -> None:
            consumer = FakeConsumer()
            worker_heartbeat = a_heartbeat(mongo, consumer)
            with pytest.raises(StoreUnavailable):
                await worker_heartbeat.write_once()
            running = asyncio.create_task(worker_heartbeat.run())
            await asyncio.wait_for(consumer.enough.wait(), timeout=240)
            assert not running.done()
            running.cancel()

        asyncio.run(scenario())
        mongo.close()


def test_the_level_of_the_subject_is_written(settings: Settings, database: Database[Any]) -> None:
    """While the registry does not answer, the last one stays."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    answers: list[str | Exception] = ["BACKWARD", "FULL", RegistryUnavailable("no answer")]

    async def read() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def scenario() -> None:
        level = SubjectLevel(mongo, subject="s", read=read)
        await level.write_once()
        await level.write_once()
        with pytest.raises(RegistryUnavailable):
            await level.write_once()

    asyncio.run(scenario())
    mongo.close()

    (found,) = database["pipeline_state"].find()
    assert ("subject:s", "subject", "s", "FULL") == tuple(found[name] for name in ("_id", "kind", "subject", "level"))
