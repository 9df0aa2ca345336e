"""The compiled kernel: what it takes, what it declines, and a worker without it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from itertools import islice
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import bson
import pytest

from streamapp.decode import batch, compiled_path, document, kernel, kernel_program, wire_format
from streamapp.decode.avro_schema import AvroType, ParsedSchema
from streamapp.decode.document import EventTimes, LazyDocument
from streamapp.decode.kernel import KERNEL
from streamapp.decode.writer_schema import WriterSchema, in_shape_of, writer_schema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.record import PartitionBatch
from tests.support.factories import NOW, V1, V2, FakeRecord, a_batch, a_record, an_event, wire

RECEIVED_AT = datetime(2026, 9, 22, 15, 4, 5, 678_000, UTC)
TIMES = EventTimes(earliest=0, ahead=86_400_000)
NODE = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "value", "type": "int"}, {"name": "next", "type": ["null", "Node"]}],
}

needs_kernel = pytest.mark.skipif(KERNEL is None, reason="the kernel is not built")


def with_field(type_: Any, name: str = "x", **changes: Any) -> WriterSchema:
    """Return V2 with another field, and with the types of the changes in place of its own."""
    fields = [{**field, "type": changes.get(field["name"], field["type"])} for field in event.schema(2)["fields"]]
    schema = {**event.schema(2), "fields": [*fields, {"name": name, "type": type_}]}
    return writer_schema(schema, schema_id=2, version="v3")


def converted(
    of: PartitionBatch, schemas: dict[int, WriterSchema] | None = None, times: EventTimes = TIMES
) -> list[LazyDocument | None] | None:
    """Return what the kernel makes of a batch."""
    assert KERNEL is not None
    found = compiled_path.converted(KERNEL, of, schemas or {1: V1, 2: V2}, times=times, received_at=RECEIVED_AT)
    return found and [*found.documents]


def body(x: bytes) -> bytes:
    """Return the value of an event of V2 with a field `x`."""
    return wire(an_event(browser="b")) + x


def is_taken(x: bytes, writer: WriterSchema) -> bool:
    """Return whether the kernel takes a record; then it has made the same as the generic path."""
    documents = converted(a_batch(FakeRecord(value=body(x))), {2: writer})
    assert documents is not None
    if documents[0] is None:
        return False
    assert bson.encode(wire_format.read(body(x), writer))[4:-1] in documents[0].raw
    return True


@needs_kernel
def test_a_batch_is_converted_at_once() -> None:
    """With the schema version of each event."""
    events = a_batch(*(a_record(an_event(user_id=f"u{i}"), offset=i) for i in range(300)))

    (part,) = batch.parts(events, {1: V1}, times=TIMES, received_at=RECEIVED_AT, kernel=KERNEL)

    assert part.events.records is events.records
    assert {"v1"} == {*part.events.versions}
    assert [*range(300)] == [each["kafka"]["offset"] for each in part.events.documents]
    assert 299 == part.last_offset


@needs_kernel
def test_declined_records_take_the_generic_path() -> None:
    """The others do not; the order is that of the offsets."""
    headers = (("streamapp.note", b"7"),)
    records = [a_record(offset=0), a_record(offset=1, headers=headers), a_record(offset=2, value=b"\1")]
    events = a_batch(*records, a_record(an_event(browser=None), offset=3))

    (part,) = batch.parts(events, {1: V1, 2: V2}, times=TIMES, received_at=RECEIVED_AT, kernel=KERNEL)

    assert [0, 1, 3] == [each["kafka"]["offset"] for each in part.events.documents]
    assert ["v1", "v1", "v2"] == part.events.versions
    assert [2] == [letter.record.offset for letter in part.dead]


@needs_kernel
def test_records_with_headers_are_converted() -> None:
    """Without their headers at first; the kernel still declines what it cannot convert."""
    client = (("client", b"shop"), ("trace", b"7"))
    records = [a_record(offset=0), a_record(offset=1, headers=client), a_record(offset=2, headers=client, value=b"\1")]
    v2 = a_record(an_event(browser="b"), offset=3, headers=(("trace", b"7"),))
    assert KERNEL is not None

    found = compiled_path.converted(
        KERNEL,
        a_batch(*records, v2),
        {1: V1, 2: V2},
        times=TIMES,
        received_at=RECEIVED_AT,
        header_fields={"client": "client"},
    )

    assert found is not None
    assert (["v1", "v1", None, "v2"], 1) == (found.versions, found.declined)
    assert [None, {"client": "shop"}, None] == [each["kafka"].get("headers") for each in found.documents if each]


@needs_kernel
def test_events_with_the_same_values_share_them() -> None:
    """Also with those of another schema between them, and with users of their own; null is not the empty text."""
    browsers = [None, "", "b", None, "", "b"]
    v1 = a_record(offset=9)
    records = [a_record(an_event(browser=each, user_id=str(i)), offset=i) for i, each in enumerate(browsers)]
    documents = converted(a_batch(*records, v1))
    assert documents is not None

    values = [each.dimensions for each in documents if each]

    assert browsers == [each.browser for each in values[:-1]]
    assert [True] * 3 == [one is other for one, other in zip(values[:3], values[3:-1], strict=True)]
    assert "v1" == values[-1].schema_version
    assert values[-1].browser is None


@needs_kernel
def test_offsets_of_both_sizes_in_one_batch() -> None:
    """BSON has int32 up to 2³¹ - 1 and int64 beyond."""
    offsets = [2**31 - 1, 2**31]
    documents = converted(a_batch(*(a_record(offset=offset) for offset in offsets)))
    assert documents is not None

    assert offsets == [each["kafka"]["offset"] for each in documents if each]
    sizes = [len(each.raw) for each in documents if each]
    assert sizes[1] == sizes[0] + 4


@needs_kernel
def test_a_batch_with_more_writers_than_the_kernel_knows() -> None:
    """The records of the others are declined."""
    schemas = {number: writer_schema(event.schema(1), schema_id=number, version="v1") for number in range(1, 71)}
    records = [a_record(value=wire(an_event(), schema_id=number), offset=number) for number in schemas]
    documents = converted(a_batch(*records, *records), schemas)
    assert documents is not None

    assert ([True] * 64 + [False] * 6) * 2 == [each is not None for each in documents]


@needs_kernel
def test_a_batch_that_is_declined() -> None:
    """An old broker has no topic ids."""
    assert converted(a_batch(a_record(), topic_id=None)) is None
    assert converted(a_batch(a_record()), times=EventTimes(earliest=0, ahead=-1)) is None


def test_a_kernel_that_fails() -> None:
    """The generic path decodes the batch, or reports the error."""
    out_of_memory: Any = SimpleNamespace(documents=Mock(side_effect=MemoryError))

    (part,) = batch.parts(a_batch(a_record()), {1: V1}, times=TIMES, received_at=RECEIVED_AT, kernel=out_of_memory)

    assert ["v1"] == part.events.versions


@needs_kernel
def test_odd_records_are_declined() -> None:
    """The generic path reports what is wrong with them."""
    events = a_batch(*(a_record(offset=i) for i in range(6)))
    ours = {"key": None, "value": wire(an_event()), "offset": 1, "timestamp": NOW, "headers": []}
    changes: list[dict[str, Any]] = [
        {"value": "text"},
        {"offset": "1"},
        {"offset": -1},
        {"offset": 2**70},
        {"headers": None},
    ]
    events.records = [
        SimpleNamespace(**ours),
        *(SimpleNamespace(**{**ours, **each}) for each in changes),
        SimpleNamespace(),
    ]

    documents = converted(events)

    assert documents is not None
    assert [True, *[False] * 6] == [each is not None for each in documents]


@needs_kernel
@pytest.mark.parametrize(("depth", "expected"), [(3, True), (99, True), (100, False), (5_000, False)])
def test_documents_within_each_other(depth: int, *, expected: bool) -> None:
    """As many as the generic path takes."""
    writer, nodes = with_field(NODE), b"\x02\x02" * (depth - 1) + b"\x02\0"

    assert is_taken(nodes, writer) == expected
    if not expected:
        with pytest.raises(Undecodable):
            wire_format.read(body(nodes), writer)


@needs_kernel
def test_texts_are_utf_8_as_python_has_it() -> None:
    """All characters at the limits of an encoded size, and bytes that are no characters."""
    writer, rng, seen = with_field("string"), random.Random(7), set[bool]()
    limits = [0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF]
    texts = [chr(each).encode() for each in limits]
    leads = [0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF, 0x80, 0xBF, 0x41]
    texts += [
        bytes([lead, *(rng.choice([0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0]) for _ in range(3))])
        for lead in leads * 60
    ]
    for text in texts:
        for cut in range(1, len(text) + 1):
            part = b"a" * rng.randint(0, 9) + text[:cut]
            try:
                expected = bool(part.decode())
            except UnicodeDecodeError:
                expected = False
            assert is_taken(bytes([2 * len(part)]) + part, writer) == expected, part
            seen.add(expected)
    assert {True, False} == seen


@needs_kernel
def test_a_document_that_is_much_larger_than_its_value_is_declined() -> None:
    """Or many of them would take more memory than the worker has."""
    flags = {"type": "array", "items": "boolean"}
    few, many = (bytes([*_varint(n), *[1] * n, 0]) for n in (1_000, 10_000))

    assert is_taken(few, with_field(flags))
    assert not is_taken(
        many,
        with_field(
            {
                "type": "array",
                "items": {"type": "record", "name": "R", "fields": [{"name": "long_name" * 9, "type": "boolean"}]},
            }
        ),
    )


@needs_kernel
def test_a_batch_whose_documents_are_large_is_converted_in_part() -> None:
    """The rest is left to the generic path, which makes it part by part."""
    fields = [*event.schema(2)["fields"], *({"name": f"field{i}", "type": "null"} for i in range(1_000))]
    writer = writer_schema({**event.schema(2), "fields": fields}, schema_id=2, version="v3")
    documents = converted(a_batch(*(a_record(an_event(browser=None), offset=i) for i in range(1_500))), {2: writer})
    assert documents is not None
    size = sum(len(each.raw) for each in documents if each)

    assert 8 << 20 < size < 9 << 20
    assert documents[-1] is None


@needs_kernel
def test_values_of_one_hash() -> None:
    """Producers can choose them; they stay different, and cost no more than others."""
    values = [*islice(of_one_hash(), 100)]
    records = [a_record(an_event(event_type=value), offset=i) for i, value in enumerate([*values, *values])]
    documents = converted(a_batch(*records))
    assert documents is not None

    assert [*values, *values] == [each.dimensions.event_type for each in documents if each]


def of_one_hash() -> Iterator[str]:
    """Yield texts that the kernel's hash does not tell apart; see `hashed` in kernel/event.h."""

    def step(so_far: int, eight: bytes) -> int:
        mixed = ((so_far ^ int.from_bytes(eight, "little")) * 0x9E3779B97F4A7C15) % 2**64
        return mixed ^ mixed >> 32

    rng, start = random.Random(1), b"aaaa"
    before = step(0xCBF29CE484222325, (len(start) + 17).to_bytes(4, "little") + start)
    target = step(before, b"aaaaaaaa") ^ int.from_bytes(b"zzzzzzzz", "little")
    while True:
        eight = bytes(rng.randrange(32, 127) for _ in range(8))
        last = (step(before, eight) ^ target).to_bytes(8, "little")
        if last.isascii():
            yield (start + eight + last).decode()


@needs_kernel
def test_a_field_named_id_that_a_later_version_adds_within_the_event_keeps_its_place() -> None:
    """PyMongo moves only that of a document itself."""
    (metadata,) = (field for field in event.schema(2)["fields"] if field["name"] == "metadata")
    added = [{"name": name, "type": "int", "default": 1} for name in ("more", "_id")]
    later = {**metadata, "type": {**metadata["type"], "fields": [*metadata["type"]["fields"], *added]}}
    fields = [later if field is metadata else field for field in event.schema(2)["fields"]]
    shaped = in_shape_of(V2, writer_schema({**event.schema(2), "fields": fields}, schema_id=3, version="v3"))
    made = [
        documents_of(a_batch(a_record(an_event(browser="b"))), writer, with_kernel)
        for writer, with_kernel in ((shaped, KERNEL), (shaped, None), (replace(shaped, transcode=None), None))
    ]

    assert ["more", "_id"] == [*bson.decode(made[0])["metadata"]][-2:]
    assert made[0] == made[1] == made[2]


def documents_of(of: PartitionBatch, writer: WriterSchema, with_kernel: kernel.Kernel | None) -> bytes:
    """Return the documents of a batch of one writer."""
    found = batch.parts(of, {2: writer}, times=TIMES, received_at=RECEIVED_AT, kernel=with_kernel)
    return b"".join(cast("LazyDocument", each).raw for part in found for each in part.events.documents)


@needs_kernel
def test_keys_of_a_map_that_the_generic_path_must_see() -> None:
    """The same key twice, very many keys, and a key that BSON cannot hold."""
    writer = with_field({"type": "map", "values": "int"})
    assert is_taken(b"\x04\x02a\x02\x02b\x02\0", writer)

    assert not is_taken(b"\x04\x02a\x02\x02a\x02\0", writer)
    assert not is_taken(bytes([2 * 33, *(byte for i in range(33) for byte in (2, 64 + i, 2)), 0]), writer)
    assert converted(a_batch(FakeRecord(value=body(b"\x02\x02\0\x02\0"))), {2: writer}) == [None]


@needs_kernel
@pytest.mark.parametrize("scale", [0, 2, 34])
def test_decimals(scale: int) -> None:
    """Up to the 34 digits of Decimal128; a number of more bytes is declined."""
    kind = {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": scale}
    most = 10**34 - 1
    numbers = [0, 1, -1, 127, -128, 255, 2**63, -(2**63), 2**64, most, -most]
    for number in numbers:
        data = number.to_bytes(16, "big", signed=True)
        for cut in range(16):
            if int.from_bytes(data[cut:], "big", signed=True) == number:
                assert is_taken(bytes([2 * (16 - cut)]) + data[cut:], with_field(kind))
    assert is_taken(b"\0", with_field(kind))
    assert not is_taken(b"\x20" + (most + 1).to_bytes(16, "big"), with_field(kind))
    assert not is_taken(b"\x22" + bytes(17), with_field(kind))


@pytest.mark.parametrize(
    "writer",
    [
        with_field({"type": "array", "items": "null"}),
        with_field({"type": "array", "items": {"type": "record", "name": "E", "fields": []}}),
        with_field({"type": "record", "name": "E", "fields": []}),
        with_field(["null", ["int", "string"]]),
        with_field({"type": "enum", "name": "E", "symbols": ["\ud800"]}),
        with_field("int", user_id="bytes"),
        with_field("int", user_id=["null", "string"]),
        with_field("int", browser="long"),
        with_field("int", name="kafka"),
        with_field({"type": "bytes", "logicalType": "decimal", "precision": 50, "scale": 40}),
        with_field({"type": "enum", "name": "E", "symbols": [f"s{i}" for i in range(500_000)]}),
    ],
    ids=range(11),
)
def test_schemas_without_a_program(writer: WriterSchema) -> None:
    """Their records take the generic path."""
    assert writer.problem is None
    assert writer.parsed is not None
    assert kernel_program.program_of(writer.parsed) is None
    assert writer.program is None


def test_only_the_event_itself_has_fields_that_repeat_others() -> None:
    """A record in it with such fields has no program."""
    assert V2.parsed is not None
    for copies in ({}, {"browser": "a"}):
        record = AvroType("record", name="R", fields=[("a", AvroType("string"))], copies=copies)
        root = AvroType("record", name="E", fields=[*V2.parsed.root.fields, ("x", record)])
        program = kernel_program.program_of(ParsedSchema(root, [*V2.parsed.records, record, root]))
        assert (program is None) == bool(copies)


def test_schemas_with_a_program() -> None:
    """The table ends with nothing unfinished, whether the kernel is built or not."""
    fixed = {"type": "fixed", "name": "F", "size": 16}
    kinds: list[Any] = [
        {"type": "array", "items": NODE},
        {"type": "map", "values": ["null", "float"]},
        {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        {**fixed, "logicalType": "uuid"},
        {**fixed, "logicalType": "decimal", "precision": 20, "scale": 2},
        {"type": "long", "logicalType": "timestamp-micros"},
        {"type": "int", "logicalType": "date"},
        fixed,
    ]
    times: list[Any] = [
        {"type": "long", "logicalType": "timestamp-nanos"},
        {"type": "int", "logicalType": "date"},
        "int",
    ]
    writers = [*map(with_field, kinds), *(with_field("bytes", event_timestamp=each) for each in times)]
    for writer in writers:
        assert writer.parsed is not None
        program = kernel_program.program_of(writer.parsed)
        assert program is not None
        words, blob, root = program
        assert kernel_program.RECORD == int.from_bytes(words[8 * root : 8 * root + 8], sys.byteorder)
        assert b"user_id\0" in blob


def test_with_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel is asked for, and what is made of its answers."""
    made = [LazyDocument(b"", 7, NOW, "u", document.row_of(lazy_event()).dimensions)]
    stand_in: Any = SimpleNamespace(program=Mock(return_value=5), documents=Mock(return_value=(made, ["v1"], 0)))
    monkeypatch.setattr(kernel, "KERNEL", stand_in)
    writer = writer_schema(event.schema(1), schema_id=1, version="v1")
    assert 5 == writer.program
    decoding: Any = {"times": TIMES, "received_at": RECEIVED_AT, "kernel": stand_in}

    (part,) = batch.parts(a_batch(a_record()), {1: writer}, **decoding)
    assert part.events.documents is made
    stand_in.documents.return_value = (declined := [None], [None], 1)
    (part,) = batch.parts(a_batch(a_record()), {1: writer}, **decoding)
    assert "user-1" == part.events.documents[0]["user_id"]
    assert [] == declined  # what the kernel has made is freed with the parts that have it
    (part,) = batch.parts(a_batch(a_record(), topic_id=None), {1: writer}, **decoding)
    assert 2 == stand_in.documents.call_count

    stand_in.program.side_effect = ValueError
    assert writer_schema(event.schema(1), schema_id=1, version="v1").program is None


def lazy_event() -> dict[str, Any]:
    """Return the document of an event."""
    (part,) = batch.parts(a_batch(a_record()), {1: V1}, times=TIMES, received_at=RECEIVED_AT)
    return document.decoded(part.events.documents[0])


def test_a_worker_without_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no file, or it is of another version; or the setting is off."""
    module = kernel._MODULE
    monkeypatch.setitem(sys.modules, module, None)
    assert kernel.load() is None
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(VERSION=kernel.VERSION + 1))
    assert kernel.load() is None
    monkeypatch.setitem(sys.modules, module, ours := SimpleNamespace(VERSION=kernel.VERSION))
    assert kernel.load() is ours

    monkeypatch.setattr(kernel, "KERNEL", None)
    assert V1.parsed is not None
    assert kernel.compiled(V1.parsed, version="v1") is None
    assert kernel.chosen(is_wanted=True) is None
    monkeypatch.setattr(kernel, "KERNEL", ours)
    assert kernel.chosen(is_wanted=True) is ours
    assert kernel.chosen(is_wanted=False) is None
    assert ["compiled", "python"] == [kernel.decoder(each) for each in (ours, None)]


@needs_kernel
def test_more_dimensions_than_the_kernel_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """All records then take generated code, or the generic path."""
    assert V1.parsed is not None
    assert kernel.compiled(V1.parsed, version="v1") is not None
    monkeypatch.setattr(kernel, "WRITER_DIMENSIONS", 15)

    assert kernel.compiled(V1.parsed, version="v1") is None


@needs_kernel
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ((b"", b"", 0), (-1, 0, ()), "v1"),
        ((b"", b"", 0), (15, 0, ()), "v1"),
        ((b"", b"", 0), (1, 0, (1,)), "v1"),
        ((b"", b"", 0), (1, 0, (0,) * 15), "v1"),
        ((b"", b"", 0), (1, 0, ("a",)), "v1"),
    ],
)
def test_what_is_not_a_program(arguments: tuple[Any, ...]) -> None:
    """It is refused."""
    with pytest.raises((TypeError, ValueError)):
        import_module(kernel._MODULE).program(*arguments)


def _varint(number: int) -> list[int]:
    number, found = 2 * number, list[int]()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return [*found, number]
