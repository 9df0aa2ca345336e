"""The kernel finds the records that aiokafka reads, whatever the bytes are; it never reads others.

STREAMAPP_FUZZ_SECONDS and STREAMAPP_FUZZ_SEED choose how long to search and where, as in the search of the generic
path.
"""

from __future__ import annotations

import logging
import math
import os
import random
import struct
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import codec
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from streamapp.decode import compiled_path, wire_format
from streamapp.decode.document import EventTimes
from streamapp.decode.kernel import KERNEL, Kernel
from streamapp.model import record_columns
from streamapp.model.record import BatchRecord, PartitionBatch
from streamapp.model.record_columns import ROW, RecordColumns
from streamapp.transport.batch_size import MAX_HEADERS, memory_sizes
from streamapp.transport.response_reader import ResponseReader
from tests.support.columns import nullable, varint
from tests.support.factories import NOW, TOPIC_ID, V1, V2, an_event, wire

pytestmark = pytest.mark.skipif(KERNEL is None, reason="the kernel is not built")

SECONDS = float(os.environ.get("STREAMAPP_FUZZ_SECONDS", "2"))
SEED = int(os.environ.get("STREAMAPP_FUZZ_SEED", "1"))
TP = TopicPartition("user_events", 0)
TIMES, RECEIVED_AT = EventTimes(earliest=0, ahead=86_400_000), datetime(2026, 9, 22, tzinfo=UTC)
EVENTS = [wire(an_event()), wire(an_event(browser="b", user_id="ü"))]
_PACK = [bytes, codec.gzip_encode, codec.snappy_encode, codec.lz4_encode, codec.zstd_encode]
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20
MEMORY = 300, 150, MAX_HEADERS


def record(
    offset: int,
    value: bytes | None = b"v",
    *,
    key: bytes | None = None,
    headers: Sequence[tuple[bytes, bytes | None]] = (),
    ms: int = 0,
) -> bytes:
    """Encode a record."""
    body = b"\0" + varint(ms) + varint(offset) + nullable(key) + nullable(value) + varint(len(headers))
    body += b"".join(nullable(name) + nullable(each) for name, each in headers)
    return varint(len(body)) + body


def batch(
    records: bytes, count: int, *, base: int = 0, last: int = 0, attributes: int = 0, producer: int = -1
) -> bytes:
    """Build a batch with these encoded records."""
    packed = _PACK[attributes & 7](records)
    after = struct.pack(">hiqqqhii", attributes, last, NOW, NOW + 7, producer, 0, -1, count) + packed
    return struct.pack(">qiibI", base, 9 + len(after), 0, 2, calc_crc32c(after)) + after


def read(
    data: bytes, position: int, limits: tuple[int, int], *, kernel: Kernel | None, aborted: Sequence[Any] = ()
) -> tuple[list[Any], list[Sequence[BatchRecord]]]:
    """Read a response; return the records of each turn with the next offset and the memory, and as they came."""
    stock = PartitionRecords(
        TP, MemoryRecords(data), [*aborted], position, None, None, check_crcs=True, isolation_level=1
    )
    reader = ResponseReader(stock, data, may_use_large_window=lambda: True, kernel=kernel)
    turns, taken = list[Any](), list[Sequence[BatchRecord]]()
    while not reader.has_ended:
        records, size = reader.take(max_records=limits[0], max_bytes=limits[1], deadline=math.inf)
        turns.append(([plain(each) for each in records], reader.next_fetch_offset, size))
        taken.append(records)
    return turns, taken


def plain(each: BatchRecord) -> tuple[Any, ...]:
    """Return the fields of a record."""
    return each.offset, each.timestamp, each.key, each.value, [*each.headers]


class Generator:
    """Draws responses, many of them with something wrong; the same ones for the same seed."""

    def __init__(self, seed: object) -> None:
        self.random = random.Random(str(seed))
        #: Whether the records of the batch may have what no client sends.
        self._is_odd = False

    def response(self) -> tuple[bytes, int]:
        """Return the bytes of some batches, and the position."""
        batches, base = list[bytes](), self.random.choice([0, 5, 2**31 - 2, 2**62])
        position = base + self.random.choice([0, 0, 0, 1, 3, 40])
        for _ in range(self.random.randint(1, 3)):
            count = self.random.choice([0, 1, 2, 5, 5, 60])
            batches.append(self._batch(base, count))
            base += count
        return b"".join(batches), position

    def _batch(self, base: int, count: int) -> bytes:
        rng = self.random
        records, at, self._is_odd = list[bytes](), 0, rng.random() < 0.3
        for _ in range(count):
            records.append(self._record(at))
            at += self._odd(1, [0, 2, -1, 2**31, -(2**63), 2**63 - 1])
        data = b"".join(records)
        if rng.random() < 0.4:
            data = self._broken(data)
        attributes = rng.choice([0, 0, 1, 2, 3, 3, 4]) | rng.choice([0, 0, 0, LOG_APPEND_TIME])
        attributes |= rng.choice([0, 0, TRANSACTIONAL]) | rng.choice([0] * 20 + [CONTROL])
        last = max(0, count - 1) if rng.random() < 0.9 else rng.choice([0, at, -1, 2**31 - 1])
        count += rng.choice([0] * 20 + [1, -1])
        made = batch(
            data,
            count,
            base=base,
            last=max(-(2**31), min(last, 2**31 - 1)),
            attributes=attributes,
            producer=rng.randint(4, 6),
        )
        if rng.random() < 0.03:
            return self._broken(made)  # its checksum is wrong, or its length
        return made

    def _odd(self, usual: Any, odd: Sequence[Any]) -> Any:
        return self.random.choice(odd) if self._is_odd and self.random.random() < 0.05 else usual

    def _record(self, offset: int) -> bytes:
        rng = self.random
        value = rng.choice([*EVENTS, *EVENTS, None, b"", b"\0", rng.randbytes(rng.randint(0, 90))])
        headers = [self._header() for _ in range(rng.choice([0] * 12 + [1, 3]))]
        key = rng.choice([None, b"", b"user-1", rng.randbytes(200)])
        ms = self._odd(rng.choice([0, 1, -1, 40_000]), [2**62, 2**63 - 1, -(2**63), -NOW - 1])
        return record(offset, value, key=key, headers=headers, ms=ms)

    def _header(self) -> tuple[bytes, bytes | None]:
        rng = self.random
        name = rng.choice([b"trace", "näme".encode(), b"", b"streamapp.topic"])
        return self._odd(name, [b"\xff", b"\xed\xa0\x80"]), rng.choice([None, b"", b"value", rng.randbytes(40)])

    def _broken(self, data: bytes) -> bytes:
        rng, found = self.random, bytearray(data)
        for _ in range(rng.randint(1, 3)):
            at = rng.randint(0, len(found))
            match rng.randint(0, 4):
                case 0:
                    found[at : at + 1] = bytes([rng.choice([0, 1, 0x7E, 0x7F, 0x80, 0xFF, rng.randrange(256)])])
                case 1:
                    del found[at : at + rng.choice([1, 1, 2, 30])]
                case 2:
                    found[at:at] = rng.choice([b"\xff" * 9 + b"\x01", b"\x80\0", b"\x80" * 11, rng.randbytes(3)])
                case 3:
                    del found[at:]
                case _:
                    found[at : at + 5] = varint(rng.choice([2**31 - 1, 2**31, -(2**31), 2**63 - 1, -(2**63), 64, -2]))
        return bytes(found)


def test_the_kernel_finds_what_aiokafka_reads(caplog: pytest.LogCaptureFixture) -> None:
    """The same records, offsets and memory in each turn, also of batches that are broken; and the same documents."""
    caplog.set_level(logging.ERROR, "streamapp.transport.response_reader")
    generator, ends, found = Generator(SEED), time.monotonic() + SECONDS, 0
    tried = 0
    while time.monotonic() < ends or tried < 100:
        tried += 1
        data, position = generator.response()
        limits = generator.random.choice([(4_000, 1 << 20), (7, 1 << 20), (4_000, 900), (1, 1)])
        aborted = [(5, 0)]
        without, _ = read(data, position, limits, kernel=None, aborted=aborted)
        with_kernel, taken = read(data, position, limits, kernel=KERNEL, aborted=aborted)
        assert without == with_kernel, (data.hex(), position, limits)
        found += sum(len(each) for each in taken if check_columns(each, data))
    assert found > 5 * tried


def test_offsets_beyond_64_bits_are_left_to_aiokafka() -> None:
    """No broker gives them; the header of a batch can say so."""
    data = batch(record(0) + record(1), 2, base=2**63 - 1, last=1)

    without, _ = read(data, 0, (9, 9_999), kernel=None)
    assert without == read(data, 0, (9, 9_999), kernel=KERNEL)[0]


def check_columns(records: Sequence[BatchRecord], data: bytes) -> bool:
    """Whether records are columns; checks that these answer all questions as a list of the records does."""
    if not isinstance(records, RecordColumns):
        return False
    assert KERNEL is not None
    objects = [*records]
    values = {record.value[:5] for record in objects if record.value and len(record.value) >= 5}
    assert KERNEL.value_starts(records.pieces, wire_format.HEADER.size) == values, data.hex()
    assert record_columns.offsets(records) == record_columns.offsets(objects)
    assert memory_sizes(records) == memory_sizes(objects)
    assert record_columns.with_headers(records) == record_columns.with_headers(objects)
    assert documents(records) == documents(objects), data.hex()
    return True


def documents(records: Sequence[BatchRecord]) -> list[Any]:
    """Return what the kernel makes of records."""
    assert KERNEL is not None
    of = PartitionBatch(topic="t", partition=0, topic_id=TOPIC_ID, assignment=0, begin=0, records=records, size=0)
    made = compiled_path.converted(KERNEL, of, {1: V1, 2: V2}, times=TIMES, received_at=RECEIVED_AT)
    assert made is not None
    return [each and (each.raw, each.row) for each in made.documents]


def test_any_bytes_are_no_records_or_records_within_them() -> None:
    """The kernel alone, without the checks before it: no place is outside of the data."""
    assert KERNEL is not None
    rng = random.Random(SEED)
    for _ in range(3_000):
        data = b"".join(record(at, rng.randbytes(rng.randint(0, 9)), key=b"k") for at in range(3))
        cut = bytearray(data[: rng.randint(0, len(data))] + rng.randbytes(rng.randint(0, 3)))
        if cut:
            cut[rng.randrange(len(cut))] = rng.randrange(256)
        count, extreme = rng.choice([1, 2, 3, 4, -1, 2**40]), rng.choice([0, 2**63 - 1, -(2**63)])
        found = KERNEL.records(bytes(cut), count, 0, (extreme, 2**63 - 1, -extreme - 1, None), MEMORY)
        for row in ROW.iter_unpack(found[0] if found else b""):
            assert all(0 <= row[i] and row[i] + max(0, row[i + 1]) <= len(cut) for i in (2, 4))


def declined() -> Iterator[Any]:
    """Yield records that are declined, with their number."""
    header = (b"n", b"v")
    yield "attributes of two bytes", bytes([8, 0x80]) + record(0)[2:], 1
    yield "too many headers", record(0, headers=[(b"", None)] * (MAX_HEADERS + 1)), 1
    yield "a header without a name", record(0, headers=[header]).replace(b"\x02n", b"\x01"), 1
    yield "a header name that is not UTF-8", record(0, headers=[(b"\xe4", b"v")]), 1
    yield "an offset beyond the batch", record(10), 1
    yield "an offset of more than 64 bits", record(2**63 - 1), 1
    yield "a timestamp of more than 64 bits", record(0, ms=2**63 - 1), 1
    yield "a varint of 65 bits", record(0).replace(b"\0\0\0", b"\0" + b"\xff" * 9 + b"\x02" + b"\0", 1), 1
    yield "bytes left over", record(0) + b"\0", 1
    yield "a record too few", record(0), 2
    yield "no length", b"\0" * 8, 1
    yield "more bytes that are left out than are counted", record(0, bytes(300)) + record(1), 2


@pytest.mark.parametrize(("data", "count"), [pytest.param(*each[1:], id=each[0]) for each in declined()])
def test_records_that_are_left_to_aiokafka(data: bytes, count: int) -> None:
    """The others of such a batch, too."""
    assert KERNEL is not None
    assert KERNEL.records(data, count, 2, (1, 9, NOW, None), MEMORY) is None


def test_bytes_of_records_that_are_left_out_stay_within_what_is_counted() -> None:
    """A producer could send large records that nobody reads, and keep them in the worker's memory."""
    assert KERNEL is not None
    found = KERNEL.records(record(0, bytes(280)) + record(1), 2, 2, (1, 9, NOW, None), MEMORY)

    assert found is not None
    assert [2] == [row[record_columns.OFFSET] for row in ROW.iter_unpack(found[0])]
    assert (b"", False) == KERNEL.records(record(0, bytes(280)), 1, 2, (1, 9, NOW, None), MEMORY)


def test_a_record_with_as_many_headers_as_allowed_is_found() -> None:
    """Each counts for the memory."""
    assert KERNEL is not None
    data = record(0, headers=[(b"", None)] * MAX_HEADERS)

    found = KERNEL.records(data, 1, 0, (0, 0, NOW, None), MEMORY)

    assert found is not None
    assert (1, 300 + 1 + 150 * MAX_HEADERS) == KERNEL.fitting(found[0], 0, 10, 1)
    assert found[1]


@pytest.mark.parametrize("begin", [-1, 2])
def test_rows_that_do_not_exist(begin: int) -> None:
    """The kernel reads no row beyond the last one."""
    assert KERNEL is not None
    with pytest.raises(ValueError, match="not a range"):
        KERNEL.fitting(bytes(ROW.size), begin, 1, 1)
    assert (0, 0) == KERNEL.fitting(bytes(ROW.size), 1, 9, 9)


@pytest.mark.parametrize(
    "pieces", [((b"", b"x", False),), ((b"", "", False),), ((1, b"", False),), ((b"",),), (7,), (None,)]
)
def test_what_is_no_piece(pieces: Any) -> None:
    """An error, and no crash."""
    assert KERNEL is not None
    with pytest.raises((ValueError, SystemError, IndexError)):
        KERNEL.value_starts(pieces, 5)
    constants = (b"", b"", 0, 0, 0)
    with pytest.raises((ValueError, SystemError, IndexError)):
        KERNEL.documents(pieces, {}, constants, object, tuple)


@pytest.mark.parametrize(("at", "size"), [(-1, 5), (0, 6), (1, 5), (6, 0), (2**31 - 1, 2**31 - 1), (0, -2)])
def test_a_row_that_points_out_of_its_data_has_no_value(at: int, size: int) -> None:
    """Only the kernel makes rows; still none is believed."""
    assert KERNEL is not None
    rows = ROW.pack(0, NOW, 0, -1, at, size, 0, 0, 0)

    assert set[bytes]() == KERNEL.value_starts(((b"\0\0\0\0\1", rows, False),), 5)  # pyright: ignore[reportArgumentType]
    assert [None] == documents(RecordColumns([record_columns.Piece(b"\0\0\0\0\1", rows, False)]))  # noqa: FBT003
