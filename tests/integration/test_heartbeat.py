"""The heartbeat in a real MongoDB, and without one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from pymongo.database import Database

from streamapp.errors import StoreUnavailable
from streamapp.mongodb.client import Mongo
from streamapp.monitoring import heartbeat
from streamapp.monitoring.heartbeat import RECENT, Heartbeat
from streamapp.monitoring.latency import Latencies
from streamapp.settings import Settings
from streamapp.sink.ports import Fates
from streamapp.transport.offset_tracker import Progress


class FakeConsumer:
    """Holds one partition, which is behind by ten records; asking it three times is enough."""

    in_flight = (1, 100)
    deleted_offsets = 0

    def __init__(self) -> None:
        self.enough = asyncio.Event()
        self._asked = 0

    def progress(self) -> Sequence[Progress]:
        """Tell the partition's state, and give it a new life each time."""
        self._asked += 1
        if self._asked >= 3:
            self.enough.set()
        return [Progress(topic="t", partition=1, topic_id=f"life-{self._asked}", settled=5, end=15, oldest_ms=None)]


class SteadyConsumer(FakeConsumer):
    """Holds the same partition each time."""

    def progress(self) -> Sequence[Progress]:
        """Tell the partition's state."""
        return [Progress(topic="t", partition=1, topic_id="life", settled=5, end=15, oldest_ms=None)]


def beating(mongo: Mongo, consumer: FakeConsumer) -> Heartbeat:
    """Return a heartbeat of a worker that has stored nothing."""
    return Heartbeat(mongo, consumer=consumer, fates=Fates, latencies=Latencies())


def test_one_document_per_partition_and_worker(settings: Settings, database: Database[Any]) -> None:
    """However often it beats; the trend is bounded, and what nobody writes any more is deleted after a week."""
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)

    async def beat_often() -> None:
        ours = beating(mongo, SteadyConsumer())
        for _ in range(RECENT + 2):
            await ours.beat()

    asyncio.run(beat_often())
    mongo.close()

    partition = database["pipeline_state"].find_one({"kind": "partition"}) or {}
    worker = database["pipeline_state"].find_one({"kind": "worker"}) or {}
    assert 2 == database["pipeline_state"].count_documents({})
    assert ("partition:life:1", 5, 10, worker["_id"]) == tuple(
        partition[name] for name in ("_id", "settled", "lag", "worker")
    )
    assert RECENT == len(partition["recent"])
    assert partition["at"] == partition["recent"][-1]["at"]
    assert 7 * 86_400 == database["pipeline_state"].index_information()["at_1"]["expireAfterSeconds"]


def test_outage_stops_no_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MongoDB it goes on trying, one write at a time, and ends when it is told to."""
    monkeypatch.setattr(heartbeat, "WRITE_SECONDS", 0.1)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        mongo = Mongo(f"mongodb://127.0.0.1:{nobody.getsockname()[1]}", "any")

        async def beat_in_vain() -> None:
            consumer = FakeConsumer()
            ours = beating(mongo, consumer)
            with pytest.raises(StoreUnavailable):
                await ours.beat()
            running = asyncio.create_task(ours.run())
            await asyncio.wait_for(consumer.enough.wait(), timeout=10)
            assert not running.done()
            running.cancel()

        asyncio.run(beat_in_vain())
        mongo.close()
