"""Batches that aiokafka cannot read: each record gets a fate of its own."""

from __future__ import annotations

import math
import random
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from aiokafka import codec
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from streamapp.decode import wire_format
from streamapp.decode.kernel import KERNEL, Kernel
from streamapp.errors import Undecodable
from streamapp.model.record import UNKNOWN_TIMESTAMP, UNREADABLE, Reason
from streamapp.transport import batch_pieces, unpacking
from streamapp.transport.batch_pieces import MAX_RECORD_BYTES
from streamapp.transport.batch_size import MAX_HEADERS
from streamapp.transport.record_batch import record_batches
from streamapp.transport.response_reader import ResponseReader
from tests.support.columns import varint
from tests.support.factories import NOW

TP = TopicPartition("user_events", 0)
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
Header = tuple[str, bytes | None]


def batch(values: list[bytes], *, base: int = 0, compression: int = NONE, headers: list[Header] | None = None) -> bytes:
    """Build a batch whose second record has the headers."""
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1 << 20)
    for offset, value in enumerate(values):
        builder.append(offset, NOW + offset, b"key", value, headers or [] if offset == 1 else [])
    return sealed(bytearray(builder.build()), base)


def sealed(data: bytearray, base: int = 0) -> bytes:
    """Set the base offset and the checksum."""
    data[:8] = struct.pack(">q", base)
    data[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
    return bytes(data)


def stock(data: bytes, position: int = 0) -> PartitionRecords:
    """Return aiokafka's reader."""
    return PartitionRecords(TP, MemoryRecords(data), [], position, None, None, check_crcs=True, isolation_level=1)


@pytest.fixture(
    autouse=True,
    params=["aiokafka", pytest.param("kernel", marks=pytest.mark.skipif(KERNEL is None, reason="it is not built"))],
)
def finder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds the records: aiokafka, and the kernel."""
    monkeypatch.setitem(_FINDER, "kernel", KERNEL if request.param == "kernel" else None)


_FINDER: dict[str, Kernel | None] = {}


def reader_of(records: PartitionRecords, data: bytes) -> ResponseReader:
    """Return the reader of a response; no other has a large window."""
    return ResponseReader(records, data, may_use_large_window=lambda: True, kernel=_FINDER["kernel"])


def read(data: bytes, position: int = 0) -> tuple[list[Any], int]:
    """Read leniently; return the records and the next offset to fetch."""
    reader, records = reader_of(stock(data, position), data), list[Any]()
    while not reader.has_ended:
        records += reader.take(max_records=3, max_bytes=1 << 20, deadline=math.inf).records
    return records, reader.next_fetch_offset


def odd(name: str, *others: Header, compression: int = NONE) -> bytes:
    """Build a batch of three records, the second with a header whose name is not UTF-8."""
    data = bytearray(batch([b"a", b"b", b"c"], headers=[*others, (name, b"v")]))
    data[data.index(name.encode()) + 1] = 0xE4
    if compression:
        packed = zlib.compressobj(wbits=31)
        data[61:] = packed.compress(bytes(data[61:])) + packed.flush()
        data[8:12] = struct.pack(">i", len(data) - 12)
        data[21:23] = struct.pack(">h", GZIP)
    return sealed(data)


@pytest.mark.parametrize("compression", [NONE, GZIP])
def test_a_header_name_that_is_not_utf8_costs_nothing(compression: int) -> None:
    """aiokafka raises an error for the whole batch; the name stays readable."""
    data = odd("trace", compression=compression)
    with pytest.raises(Exception, match="utf-8"):
        list(stock(data))

    records, after = read(data)

    assert [(each.offset, each.timestamp, each.key, each.value) for each in records] == [
        (offset, NOW + offset, b"key", value) for offset, value in enumerate([b"a", b"b", b"c"])
    ]
    assert (records[1].headers, after) == ([("t\\xe4ace", b"v")], 3)


def test_beside_such_a_name_no_header_counts_as_written_by_streamapp() -> None:
    """librdkafka returns no header at all of such a record, so that `verify` would expect the other origin."""
    records, _ = read(odd("trace", ("streamapp.topic", b"forged"), ("other", None)))

    assert records[1].headers == [("other", None), ("t\\xe4ace", b"v")]


def test_batches_before_and_after_are_read_by_aiokafka() -> None:
    """Records below the position are skipped."""
    odd_batch = bytearray(batch([b"a", b"b"], headers=[("trace", b"v")]))
    odd_batch[odd_batch.index(b"trace")] = 0xE4
    data = batch([b"x", b"y"], compression=LZ4) + sealed(odd_batch, 2)
    after = batch([b"z"], base=10, compression=ZSTD)

    records, end = read(data + after, position=1)

    assert ([each.offset for each in records], end) == ([1, 2, 3, 10], 11)
    assert [each.value for each in records] == [b"y", b"a", b"b", b"z"]


def test_a_batch_that_does_not_unpack_becomes_one_dead_letter() -> None:
    """It holds the bytes of the batch; the offsets behind it are read."""
    data = bytearray(batch([b"a" * 100, b"b" * 100], compression=GZIP))
    data[65:] = bytes(len(data) - 65)
    broken = sealed(data)

    records, after = read(broken + batch([b"c"], base=2))

    assert ([each.offset for each in records], after) == ([0, 2], 3)
    assert records[0].value == UNREADABLE + broken
    with pytest.raises(Undecodable) as error:
        wire_format.decode(records[0].value, {})
    assert error.value.reason == Reason.BAD_MAGIC_BYTE


def test_a_record_that_breaks_off_becomes_a_dead_letter() -> None:
    """The records before it are events."""
    data = bytearray(batch([b"a", b"b", b"c"]))
    at = data.index(b"b", 61) - 1
    data[at] = 0x7E  # the length of its value, larger than the record
    records, after = read(sealed(data))

    assert ([each.offset for each in records], after) == ([0, 1, 2], 3)
    assert [each.value[:1] for each in records] == [b"a", UNREADABLE, b"c"]


@pytest.mark.parametrize("magic", [0, 1])
def test_old_message_formats_are_read(magic: int) -> None:
    """The first has no timestamp."""
    builder = LegacyRecordBatchBuilder(magic, 0, 1 << 16)
    builder.append(0, NOW, b"key", b"value")
    data = bytes(builder.build())

    records, after = read(data)

    timestamp = NOW if magic else UNKNOWN_TIMESTAMP
    assert [(each.offset, each.timestamp, each.key, each.value) for each in records] == [
        (0, timestamp, b"key", b"value")
    ]
    assert after == 1


def test_a_broken_batch_of_an_old_format_is_one_unreadable_record() -> None:
    """It has a checksum for each record."""
    builder = LegacyRecordBatchBuilder(1, 0, 1 << 16)
    builder.append(0, NOW, b"key", b"value")
    data = bytes(builder.build()).replace(b"value", b"VALUE")

    records, after = read(data)

    assert ([(0, UNREADABLE + data)], 1) == ([(each.offset, each.value) for each in records], after)


def test_a_control_batch_that_cannot_be_read_has_no_records() -> None:
    """No producer sends one."""
    data = bytearray(packed(b"\xff" * 20, 1, compression=NONE))
    data[21:23] = struct.pack(">h", 0x20)

    records, after = read(sealed(data) + batch([b"after"], base=1))

    assert ([(1, b"after")], 2) == ([(each.offset, each.value) for each in records], after)


def test_any_bytes_are_read_without_an_error() -> None:
    """One byte after another is changed; the next offset always grows."""
    good = batch([b"a", b"b"], headers=[("n", b"v")])
    for at in range(16, len(good)):
        for value in (0, 0x7F, 0x80, 0xFF):
            data = bytearray(good)
            data[at] = value
            _, after = read(bytes(data))
            assert after >= 1


def test_an_incomplete_batch_is_left() -> None:
    """The broker may cut the last one; it is fetched again."""
    data = batch([b"a"])

    assert [len(each.data) for each in record_batches(data + data[:-1])] == [len(data)]


def test_a_batch_with_a_wrong_checksum_is_one_unreadable_record() -> None:
    """None of its values can be trusted."""
    data = bytearray(batch([b"a" * 20, b"b" * 20]))
    data[data.index(b"b" * 20)] = ord("X")

    records, _ = read(bytes(data))

    assert [UNREADABLE + bytes(data)] == [record.value for record in records]


# -- large batches


def packed(records: bytes, count: int, *, base: int = 0, compression: int = ZSTD) -> bytes:
    """Build a batch with these encoded records."""
    data = bytearray(batch([b"a"], base=base))
    data[61:] = {NONE: bytes, ZSTD: codec.zstd_encode}[compression](records)
    data[8:12] = struct.pack(">i", len(data) - 12)
    data[21:27] = struct.pack(">hi", compression, count - 1)
    data[57:61] = struct.pack(">i", count)
    return sealed(data, base)


def encoded(offset: int, value: bytes = b"v", headers: int = 0) -> bytes:
    """Encode a record without a key; its headers are empty."""
    body = b"\0\0" + varint(offset) + b"\x01" + varint(len(value)) + value + varint(headers) + b"\0\x01" * headers
    return varint(len(body)) + body


@pytest.mark.parametrize("compression", [NONE, GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("position", [0, 8_999])
def test_a_large_batch_is_read_in_pieces(compression: int, position: int) -> None:
    """All of its records, from the position on, none twice."""
    values = [b"%d " % number * 100 for number in range(9_000)]
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1 << 30)
    for offset, value in enumerate(values):
        builder.append(offset, NOW + offset, b"key", value, [("n", b"h")])
    data = sealed(builder.build(), 7) + batch([b"after"], base=9_007)

    records, after = read(data, position=7 + position)

    assert [(7 + at, NOW + at, values[at]) for at in range(position, 9_000)] == [
        (each.offset, each.timestamp, each.value) for each in records[:-1]
    ]
    assert (9_007, b"after", 9_008) == (records[-1].offset, records[-1].value, after)


def test_a_turn_takes_a_bounded_part_of_a_large_batch() -> None:
    """Also while it passes over records before the position."""
    data = packed(b"".join(encoded(offset, bytes(1000)) for offset in range(10_000)), 10_000)
    reader, turns = reader_of(stock(data, 9_999), data), 0
    tracemalloc.start()
    while not (records := reader.take(max_records=10, max_bytes=100, deadline=-math.inf).records):
        assert reader.next_fetch_offset == 9_999
        turns += 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert [9_999] == [each.offset for each in records]
    assert turns > 30
    assert peak < 6 * 1024 * 1024


def test_records_are_taken_up_to_the_limit_in_bytes() -> None:
    """The one that reaches the limit is the last; headers count."""
    data = packed(b"".join(encoded(offset, headers=offset * 10) for offset in range(5)), 5)
    reader = reader_of(stock(data), data)

    records, size = reader.take(max_records=10, max_bytes=2_000, deadline=math.inf)

    assert ([0, 1], 2 * 301 + 10 * 150) == ([each.offset for each in records], size)
    assert reader.next_fetch_offset == 2
    assert [2, 3, 4] == [each.offset for each in reader.take(max_records=9, max_bytes=9_999, deadline=math.inf).records]


@pytest.mark.parametrize(
    "large", [encoded(1, bytes(MAX_RECORD_BYTES + 1)), encoded(1, headers=50_000)], ids=["bytes", "headers"]
)
def test_a_record_that_takes_too_much_memory_becomes_a_dead_letter(large: bytes) -> None:
    """Its dead letter has its first bytes; the records beside it are events."""
    before = [encoded(0, bytes(1 << 21))]
    data = packed(b"".join([*before, large, encoded(2)]), 3)

    records, after = read(data)

    assert ([0, 1, 2], 3) == ([each.offset for each in records], after)
    assert UNREADABLE == records[1].value[:1]
    assert len(records[1].value) < 2_000
    assert b"v" == records[2].value


def test_a_small_batch_with_too_many_headers_becomes_a_dead_letter() -> None:
    """It is read in one piece, and its headers do not reach the sink; its dead letter has the value."""
    many, allowed = encoded(0, headers=MAX_HEADERS + 1), encoded(1, headers=MAX_HEADERS)

    records, after = read(packed(many + allowed, 2))

    assert [(0, UNREADABLE + b"v", 0), (1, b"v", MAX_HEADERS)] == [
        (each.offset, each.value, len(each.headers)) for each in records
    ]
    assert after == 2


@pytest.mark.parametrize("position", [0, 6_001])
def test_malformed_records_of_a_large_batch_have_their_offsets(position: int) -> None:
    """Also where a piece begins with one, and where the batch is read from the middle on."""
    malformed = varint(300) + b"\xff" * 300
    data = packed(b"".join(malformed if at % 7 < 3 else encoded(at, bytes(300)) for at in range(9_000)), 9_000)

    records, after = read(data, position=position)

    assert ([*range(position, 9_000)], 9_000) == ([each.offset for each in records], after)
    assert {at for at in range(position, 9_000) if at % 7 < 3} == {
        each.offset for each in records if each.value.startswith(UNREADABLE)
    }


def test_a_malformed_record_at_the_end_of_a_large_batch_becomes_a_dead_letter() -> None:
    """Its offset is that after the record before it."""
    malformed = b"\xff" * 100_000
    data = packed(encoded(0, bytes(1 << 21)) + varint(len(malformed)) + malformed, 2)

    records, after = read(data)

    assert ([0, 1], 2) == ([each.offset for each in records], after)
    assert UNREADABLE + malformed == records[1].value


@pytest.mark.parametrize("tail", [b"\0", b"\x01" + bytes(9), b"\xff" * 20, b"", varint(100) + b"short"])
def test_a_large_batch_that_breaks_off_has_one_dead_letter_for_the_rest(tail: bytes) -> None:
    """It holds the bytes of the batch; the records before it are events."""
    records_before = b"".join(encoded(offset, bytes(1000)) for offset in range(5_000))
    data = packed(records_before + tail, 6_000)

    records, after = read(data + batch([b"after"], base=6_000))

    assert [*range(5_001), 6_000] == [each.offset for each in records]
    assert (UNREADABLE + data, 6_001) == (records[5_000].value, after)


def test_a_batch_beyond_the_limit_has_one_dead_letter_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says how many bytes are allowed."""
    monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", 5_000_000)
    data = packed(b"".join(encoded(offset, bytes(1000)) for offset in range(8_000)), 8_000)

    records, after = read(data)

    assert (UNREADABLE + data, 8_000) == (records[-1].value, after)
    assert 4_000 < len(records) < 5_000
    assert "more than 5000000 bytes" in caplog.text


def test_records_with_the_same_offset_are_one() -> None:
    """The broker does not compare the offsets within a batch that is not compressed."""
    records, after = read(packed(encoded(0) + encoded(0) + encoded(1), 3, compression=NONE))

    assert ([0, 1], 3) == ([each.offset for each in records], after)


@pytest.mark.parametrize("attributes", [0, 0x10])
def test_an_offset_beyond_its_batch_hides_no_record_that_follows(attributes: int) -> None:
    """The record becomes a dead letter at the offset that it should have."""
    data = bytearray(packed(encoded(0) + encoded(500) + encoded(2), 3, compression=NONE))
    data[21:23] = struct.pack(">h", attributes)
    data[43:51] = struct.pack(">q", 5)  # the producer

    records, after = read(sealed(data) + batch([b"after"], base=3))

    assert [(0, b"v"), (1, UNREADABLE), (2, b"v"), (3, b"after")] == [
        (each.offset, each.value if each.offset != 1 else each.value[:1]) for each in records
    ]
    assert after == 4


@pytest.mark.parametrize("size", [10, 10_000])
def test_aborted_records_are_not_read(size: int) -> None:
    """Neither of a batch in one piece, nor of one in several."""
    builder = DefaultRecordBatchBuilder(2, LZ4, 1, 5, 0, 0, 1 << 30)
    for offset in range(size):
        builder.append(offset, NOW, None, b"value", [])
    data = sealed(builder.build()) + batch([b"after"], base=size)
    aborted = PartitionRecords(TP, MemoryRecords(data), [(5, 0)], 0, None, None, check_crcs=True, isolation_level=1)
    reader = reader_of(aborted, data)

    records = reader.take(max_records=size, max_bytes=1 << 30, deadline=math.inf).records

    assert ([size], size + 1) == ([each.offset for each in records], reader.next_fetch_offset)


def test_aborted_records_are_not_read_where_a_batch_cannot_be_unpacked() -> None:
    """They are no dead letters: no consumer of committed records sees them."""
    builder = DefaultRecordBatchBuilder(2, LZ4, 1, 5, 0, 0, 1 << 30)
    builder.append(0, NOW, None, b"value", [])
    whole = bytearray(builder.build())
    whole[61:] = b"?" * len(whole[61:])
    data = sealed(whole) + batch([b"after"], base=1)
    aborted = PartitionRecords(TP, MemoryRecords(data), [(5, 0)], 0, None, None, check_crcs=True, isolation_level=1)

    records = reader_of(aborted, data).take(max_records=9, max_bytes=1 << 30, deadline=math.inf).records

    assert [1] == [each.offset for each in records]


PACK = {
    NONE: bytes,
    GZIP: codec.gzip_encode,
    SNAPPY: codec.snappy_encode,
    LZ4: codec.lz4_encode,
    ZSTD: codec.zstd_encode,
}


def broken(rng: random.Random, data: bytes) -> bytes:
    """Change, leave out or add bytes, or none."""
    found = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 3])):
        at = rng.randrange(len(found) + 1)
        odd = [b"\0", b"\x7f", b"\xff", b"\xff" * 9 + b"\x01", rng.randbytes(10), bytes(50), b""]
        found[at : at + rng.choice([0, 1, 20])] = rng.choice(odd)
    return bytes(found)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_batch_holds_the_next_one_is_read(seed: int, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets grow, each turn does something, and no record that follows is lost; small limits stand for large data."""
    if large:
        monkeypatch.setattr(unpacking, "CHUNK_BYTES", 64)
        for name, limit in {"MAX_PIECE_RECORDS": 7, "MAX_RECORD_BYTES": 3_000, "MAX_HEADERS": 20}.items():
            monkeypatch.setattr(batch_pieces, name, limit)
        monkeypatch.setattr(batch_pieces, "_LARGE_RECORD_BYTES", 200)
        monkeypatch.setattr(batch_pieces, "_KEPT_BYTES", 32)
    rng = random.Random(seed)
    for _ in range(60):
        count, compression = rng.randint(1, 60), rng.choice([*PACK])
        sizes, headers = rng.choices([0, 3, 50, 400, 5_000], k=count), rng.choices([0, 0, 1, 30, 200], k=count)
        good = b"".join(encoded(offset, bytes(sizes[offset]), headers[offset]) for offset in range(count))
        data = bytearray(packed(b"", count, base=100, compression=NONE))
        data[61:] = PACK[compression](broken(rng, good)) if rng.random() < 0.8 else broken(rng, PACK[compression](good))
        data[8:12] = struct.pack(">i", len(data) - 12)
        data[21:23] = struct.pack(">h", rng.choice([compression] * 9 + [7]))
        data[57:61] = struct.pack(">i", rng.choice([count] * 9 + [0, -1, 1, count + 5, 2**31 - 1]))
        follows = batch([b"after"], base=100 + count)

        records, after = read(sealed(data, 100) + follows, position=rng.choice([100, 99 + count]))

        offsets = [each.offset for each in records]
        assert (offsets, 101 + count) == (sorted(set(offsets)), after)
        assert (b"after", 100 + count) == (records[-1].value, offsets[-1])
