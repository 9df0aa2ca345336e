"""Measure how long it takes to find the records of a fetch response: aiokafka, compiled kernel."""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import struct
import time
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
    """Take the same records again and again, by turns; print nanoseconds of CPU time per record."""
    rows: list[Sequence[str]] = []
    for codec, records in itertools.product(_CODECS, _BATCH_RECORDS):
        data, finders = _response(_CODECS[codec], records), (None, KERNEL) if KERNEL else (None,)
        times = [[_measured(data, finder) for finder in finders] for _ in range(options.rounds)]
        figures = [f"{statistics.median(each):,.0f} ({min(each):,.0f})" for each in zip(*times, strict=True)]
        rows.append([codec, str(records), f"{len(data) / _RECORDS:.0f}", *figures, *(["-"] if not KERNEL else [])])
    report.table(["codec", "records of a batch", "bytes per record", "ns: aiokafka", "ns: compiled kernel"], rows)


def _response(codec: int, records: int) -> bytes:
    parsed, now = fastavro.parse_schema(event.schema(_VERSION), named_schemas={}), int(time.time() * 1000)
    samples, batches = generator.samples(seed=1, v2_ratio=1), list[bytes]()
    for base in range(0, _RECORDS, records):
        builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 30)
        for offset in range(records):
            sample = next(samples).event(at=now)
            value = wire_format.write(sample, schema=parsed, schema_id=1)
            builder.append(offset, now, sample["user_id"].encode(), value, [])
        # The base offset is no part of the checksum.
        batches.append(struct.pack(">q", base) + bytes(builder.build())[8:])
    return b"".join(batches)


def _measured(data: bytes, kernel: Kernel | None) -> float:
    tp = TopicPartition("events", 0)
    stock = PartitionRecords(tp, MemoryRecords(data), [], 0, None, None, check_crcs=True, isolation_level=1)
    reader, found = ResponseReader(stock, data, may_use_large_window=lambda: True, kernel=kernel), 0
    began = time.thread_time_ns()
    while not reader.has_ended:
        found += len(reader.take(max_records=_MOST_RECORDS, max_bytes=1 << 30, deadline=math.inf).records)
    took = time.thread_time_ns() - began
    if found != _RECORDS:
        raise AssertionError(found)
    return took / found
