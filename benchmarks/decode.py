"""Measure how long it takes to make a document of a record: generic path, generated Python, compiled kernel."""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
from aiokafka.record.default_records import DefaultRecord

from benchmarks import report
from streamapp.decode import batch, wire_format
from streamapp.decode.document import EventTimes, LazyDocument
from streamapp.decode.kernel import KERNEL, Kernel
from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.model import event
from streamapp.model.record import PartitionBatch
from streamapp.model.stored_headers import header_fields
from streamapp.samples import generator

NAME = "decode"
_RECORDS, _BATCHES = 500, 20
_VERSION = 2
_AMOUNT = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
_LINE = {
    "type": "record",
    "name": "Line",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "price", "type": _AMOUNT},
    ],
}
_TRACE = (("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),)
_STORED = header_fields("client,client_version")
#: Together with those of a user event: ten fields, which generated Python does not support.
_MORE_FIELDS = [
    {"name": "amount", "type": _AMOUNT},
    {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["NEW", "PAID", "SENT"]}},
    {"name": "lines", "type": {"type": "array", "items": _LINE}},
    {"name": "session", "type": ["null", "string"]},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--rounds", type=int, default=20, help="rounds (default 20)")


def run(options: argparse.Namespace) -> None:
    """Convert the same records again and again; print nanoseconds of CPU time per record, and bytes."""
    rows: list[Sequence[str]] = []
    kinds: Sequence[tuple[str, list[Any], Sequence[tuple[str, bytes]]]] = (
        ("user events", [], ()),
        ("with a trace header", [], _TRACE),
        ("with stored headers", [], (*_TRACE, ("client", b"android"), ("client_version", b"2.0"))),
        ("events of ten fields", _MORE_FIELDS, ()),
    )
    for kind, more, headers in kinds:
        schema = {**event.schema(_VERSION), "fields": [*event.schema(_VERSION)["fields"], *more]}
        writer = writer_schema(schema, schema_id=1, version="v2")
        batches = list(_batches(schema, [*more], headers))
        without = "generated Python" if writer.transcode else "generic path"
        for name, kernel in ((without, None), ("compiled kernel", KERNEL)):
            if kernel or name == without:
                rows.append([kind, name, *_measured(batches, writer, kernel, options.rounds)])
    report.table(["records", "converted by", "ns per record", "bytes of a value", "bytes of a document"], rows)


def _batches(
    schema: dict[str, Any], more: Sequence[object], headers: Sequence[tuple[str, bytes]]
) -> Iterator[PartitionBatch]:
    parsed, rng, now = fastavro.parse_schema(schema, named_schemas={}), random.Random(1), int(time.time() * 1000)  # noqa: S311 - no secret
    samples = generator.samples(seed=1, v2_ratio=1)
    for number in range(_BATCHES):
        events = [_event(next(samples).event(at=now), rng, is_long=bool(more)) for _ in range(_RECORDS)]
        values = [wire_format.write(each, schema=parsed, schema_id=1) for each in events]
        records = [
            DefaultRecord(i, now, 0, None, value, [*headers]) for i, value in enumerate(values, _RECORDS * number)
        ]
        yield PartitionBatch(
            topic="events", partition=0, topic_id="A" * 22, assignment=0, begin=0, records=records, size=0
        )


def _event(sample: dict[str, Any], rng: random.Random, *, is_long: bool) -> dict[str, Any]:
    if not is_long:
        return sample
    lines = [
        {"sku": f"sku-{rng.randint(0, 9_999)}", "quantity": rng.randint(1, 9), "price": _price(rng)} for _ in range(3)
    ]
    more = {"amount": _price(rng), "status": "PAID", "lines": lines, "session": "s" * 16, "at": 1_790_000_000_000_000}
    return {**sample, **more}


def _price(rng: random.Random) -> Decimal:
    return Decimal(rng.randint(1, 1_000_000)) / 100


def _measured(
    batches: Sequence[PartitionBatch], writer: WriterSchema, kernel: Kernel | None, rounds: int
) -> Sequence[str]:
    decoding: dict[str, Any] = {
        "times": EventTimes(earliest=0, ahead=86_400_000),
        "received_at": datetime.now(UTC).replace(microsecond=0),
        "header_fields": _STORED,
    }
    took, values, sizes = list[float](), list[int](), list[int]()
    for number, each in itertools.product(range(rounds), batches):
        began = time.thread_time_ns()
        parts = [*batch.parts(each, {1: writer}, **decoding, kernel=kernel)]
        took.append((time.thread_time_ns() - began) / _RECORDS)
        if not number:
            documents = [document for part in parts for document in part.events.documents]
            sizes += [len(document.raw) for document in documents if isinstance(document, LazyDocument)]
            values += [len(record.value or b"") for record in each.records]
    return [
        f"{statistics.median(took):,.0f} ({min(took):,.0f})",
        *(f"{statistics.mean(n):.0f}" for n in (values, sizes)),
    ]
