"""Records that take up many times their size once they are unpacked or decoded."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from pymongo.database import Database

from streamapp.model import event
from tests.conftest import SettingsFactory
from tests.support import events, foreign
from tests.support.offsets import committed, end_offsets
from tests.support.until import until
from tests.support.workers import Worker

#: 250 MB in batches of one kind of record, and a record of 30 kB that takes 7 MB as Python objects.
NOTES, NOTE = 25_000, "x" * 10_000
LISTS, LIST = 80, [{"a": 1}] * 30_000
ROOT = Path(__file__).parents[2]
MOST_MEMORY_MIB = 400
#: CPU time of the event loop without a turn for others; typical are 5 ms.
MOST_SECONDS = 0.1
ITEM = {"type": "record", "name": "Item", "fields": [{"name": "a", "type": "int"}]}
SCHEMA = {
    **event.schema(1),
    "fields": [
        *event.schema(1)["fields"],
        {"name": "note", "type": "string", "default": ""},
        {"name": "items", "type": {"type": "array", "items": ITEM}, "default": []},
    ],
}


def test_all_are_stored_within_bounded_memory(
    settings_for: SettingsFactory, database: Database[Any], tmp_path: Path
) -> None:
    """One small batch that unpacks to 250 MB, and a backlog of records that expand; no rebalance, no long turn."""
    settings = settings_for(produce_interval_seconds=0, session_timeout_seconds=6, max_poll_interval_seconds=5)
    foreign.make_topic(settings)
    write = foreign.writer(SCHEMA, foreign.register(settings, SCHEMA))
    one_batch = {"batch.size": 2**30, "message.max.bytes": 10**9, "linger.ms": 60_000, "batch.num.messages": 10**6}
    packed = foreign.ForeignProducer(settings, "zstd", **one_batch, **{"queue.buffering.max.kbytes": 2**20})
    note, items = (write(events.an_event(1, note=note, items=items)) for note, items in ((NOTE, []), ("", LIST)))
    for _ in range(NOTES):
        packed.send(note, partition=0)
    packed.flush()
    plain = foreign.ForeignProducer(settings)
    for _ in range(LISTS):
        plain.send(items, partition=1)
    plain.flush()

    watch = tmp_path / "longest"
    command = (sys.executable, "-m", "tests.support.watched_worker", "worker")
    with Worker(
        settings, tmp_path, command=command, environ={"WATCH_FILE": str(watch), "PYTHONPATH": str(ROOT)}
    ) as worker:
        members = until(lambda: _members(settings.kafka_bootstrap_servers, settings.app_id), what="a member")
        ends = end_offsets(settings)
        until(lambda: committed(settings) == ends, within=90, what="committed ends")
        assert members == _members(settings.kafka_bootstrap_servers, settings.app_id)
        peak = _peak_mib(worker.process.pid)
        assert worker.stop() == 0, worker.text

    lengths = database.events.aggregate(
        [{"$group": {"_id": [{"$strLenBytes": "$note"}, {"$size": "$items"}], "n": {"$sum": 1}}}]
    )
    assert {(len(NOTE), 0): NOTES, (0, len(LIST)): LISTS} == {tuple(each["_id"]): each["n"] for each in lengths}
    assert peak <= MOST_MEMORY_MIB
    assert float(watch.read_text(encoding="utf-8")) <= MOST_SECONDS


def _members(servers: str, group: str) -> list[str]:
    """Return the ids of the group's members; none while it has no coordinator."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    with suppress(KafkaException):
        return [member.member_id for member in admin.describe_consumer_groups([group])[group].result(60).members]
    return []


def _peak_mib(pid: int) -> int:
    """Return a process's peak memory so far."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024
