"""Measure CPU and memory of finding the records of a fetch response: aiokafka, compiled kernel."""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import struct
import time
import tracemalloc
from collections.abc import Sequence

import fastavro
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from benchmarks import report
from streamapp.decode import wire_format
from streamapp.decode.kernel import KERNEL, Kernel
from streamapp.model import event
from streamapp.model.record import BatchRecord
from streamapp.samples import generator
from streamapp.transport.response_reader import ResponseReader

NAME = "take"
_RECORDS = 20_000
#: Records of one partition batch.
_MOST_RECORDS = 4_000
_VERSION = 2
_CODECS = {"none": 0, "lz4": 3, "zstd": 4}
#: Records that a producer sends together: at a low rate, and in a burst.
_BATCH_RECORDS = (5, 200)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--rounds", type=int, default=20, help="rounds (default 20)")


def run(options: argparse.Namespace) -> None:
    """Take the same records again and again, by turns; print nanoseconds of CPU time and bytes of memory per record."""
    rows: list[Sequence[str]] = []
    for codec, records in itertools.product(_CODECS, _BATCH_RECORDS):
        data, finders = _response(_CODECS[codec], records), (None, KERNEL) if KERNEL else (None,)
        times = [[_measured(data, finder) for finder in finders] for _ in range(options.rounds)]
        for name, finder, each in zip(("aiokafka", "compiled kernel"), finders, zip(*times, strict=True), strict=False):
            took = f"{statistics.median(each):,.0f} ({min(each):,.0f})"
            rows.append([codec, str(records), name, took, f"{_memory(data, finder):.0f}"])
    report.table(["codec", "records of a batch", "found by", "ns per record", "bytes of memory per record"], rows)


def _response(codec: int, records: int) -> bytes:
    parsed, now = fastavro.parse_schema(event.schema(_VERSION), named_schemas={}), int(time.time() * 1000)
    samples, batches = generator.samples(seed=1, v2_ratio=1), list[bytes]()
    for base in range(0, _RECORDS, records):
        builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 30)
        for offset in range(records):
            sample = next(samples).event(at=now)
            value = wire_format.write(sample, schema=parsed, schema_id=1)
            builder.append(offset, now, sample["user_id"].encode(), value, [])
        # The checksum does not cover the base offset.
        batches.append(struct.pack(">q", base) + bytes(builder.build())[8:])
    return b"".join(batches)


def _measured(data: bytes, kernel: Kernel | None) -> float:
    began = time.thread_time_ns()
    _taken(data, kernel)
    return (time.thread_time_ns() - began) / _RECORDS


def _memory(data: bytes, kernel: Kernel | None) -> float:
    tracemalloc.start()
    taken = _taken(data, kernel)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / sum(map(len, taken))


def _taken(data: bytes, kernel: Kernel | None) -> Sequence[Sequence[BatchRecord]]:
    """The records of the partition batches that a response gives."""
    tp, taken = TopicPartition("events", 0), list[Sequence[BatchRecord]]()
    stock = PartitionRecords(tp, MemoryRecords(data), [], 0, None, None, check_crcs=True, isolation_level=1)
    reader = ResponseReader(stock, data, may_use_large_window=lambda: True, kernel=kernel)
    while not reader.has_ended:
        taken.append(reader.take(max_records=_MOST_RECORDS, max_bytes=1 << 30, deadline=math.inf).records)
    return taken
