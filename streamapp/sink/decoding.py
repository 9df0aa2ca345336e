"""Decode a batch in parts of bounded memory, and let the event loop run in between.

A record can decode to a hundred times its size. How much is not known beforehand, so the time measures it: the first
records are decoded alone, and the more the less time they take. A batch of normal events is one part.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from time import perf_counter

from streamapp.decode.batch import DecodedBatch, DecodedEvents, build
from streamapp.decode.document import EventTimes
from streamapp.decode.writer_schema import WriterSchema
from streamapp.model.record import PartitionBatch

#: Bytes of the values that are decoded first, and at most, before the time is looked at.
_FIRST_BYTES = 16 * 1024
_MAX_BYTES = 256 * 1024
_GROWTH = 16
#: What a record counts beside its value.
_RECORD_BYTES = 100
#: Seconds after which the event loop gets a turn.
_SLICE_SECONDS = 0.01
#: Records below this mean decoding time are normal events; only others count for a part.
_NORMAL_RECORD_SECONDS = 50e-6
#: Seconds of decoding in one part: some 20 MB of objects.
_PART_SECONDS = 0.05


async def decode_in_parts(
    batch: PartitionBatch,
    schemas: Mapping[int, WriterSchema],
    *,
    times: EventTimes,
    received_at: datetime,
    clock: Callable[[], float] = perf_counter,
) -> AsyncIterator[tuple[DecodedBatch, int]]:
    """Yield the decoded records of a batch in parts of bounded memory, each with its last offset, in offset order."""
    records = batch.records
    ends = list(accumulate([len(record.value or b"") + _RECORD_BYTES for record in records]))
    begin, limit, slices, slow_seconds, since_turn = 0, _FIRST_BYTES, list[DecodedBatch](), 0.0, 0.0
    while begin < len(records):
        done_bytes = ends[begin - 1] if begin else 0
        end = max(begin + 1, bisect_right(ends, done_bytes + limit))
        part = batch if end - begin == len(records) else replace(batch, records=records[begin:end])
        started = clock()
        slices.append(build(part, schemas, times=times, received_at=received_at))
        seconds = clock() - started
        begin = end
        since_turn += seconds
        if seconds > _NORMAL_RECORD_SECONDS * len(part.records):
            slow_seconds += seconds
            limit = max(1, int((ends[end - 1] - done_bytes) * min(1.0, _SLICE_SECONDS / seconds)))
        else:
            limit = min(_MAX_BYTES, limit * _GROWTH)
        if slow_seconds >= _PART_SECONDS:
            yield _joined(slices), part.records[-1].offset
            slices, slow_seconds = [], 0.0
        if since_turn >= _SLICE_SECONDS and begin < len(records):
            await asyncio.sleep(0)
            since_turn = 0.0
    if slices:
        yield _joined(slices), records[-1].offset


def _joined(slices: list[DecodedBatch]) -> DecodedBatch:
    if len(slices) == 1:
        return slices[0]
    out_of_order = set[int]()
    start = 0
    for each in slices:
        out_of_order |= {start + index for index in each.out_of_order}
        start += len(each.events.documents)
    dead = [letter for each in slices for letter in each.dead]
    return DecodedBatch(DecodedEvents.joined([each.events for each in slices]), dead, out_of_order)
