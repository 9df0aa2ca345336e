"""Bodies are read as strictly as Avro's specification describes them, at a bounded cost."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import bson
import fastavro
import pytest
from bson import Decimal128

from streamapp.decode import wire_format
from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.record import Reason
from tests.support.factories import NOW, an_event, wire

START = wire(an_event(browser=None), schema_id=9)
VOID = {"type": "record", "name": "Void", "fields": []}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}


def varint(number: int) -> bytes:
    """Return a number in Avro's encoding, whatever its size."""
    rest, out = number << 1 if number >= 0 else -2 * number - 1, bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*out, rest])


def padded(encoded: bytes, size: int) -> bytes:
    """Return the same number with bytes that it does not need."""
    filling = size - len(encoded)
    return encoded[:-1] + bytes([encoded[-1] | 128]) + b"\x80" * (filling - 1) + b"\0"


def writer_of(kind: Any, *definitions: Any) -> WriterSchema:
    """Return the schema of V2 with a field `x`."""
    schema = {**event.schema(2), "fields": [*event.schema(2)["fields"], {"name": "x", "type": kind}]}
    return writer_schema(schema, schema_id=9, version="v9", definitions=definitions)


def refusal(kind: Any, encoded: bytes) -> Undecodable:
    """Return why a record with these bytes for `x` is refused."""
    with pytest.raises(Undecodable) as caught:
        wire_format.read(START + encoded, writer_of(kind))
    return caught.value


def read(kind: Any, encoded: bytes) -> Any:
    """Return what these bytes are read as."""
    return wire_format.read(START + encoded, writer_of(kind))["x"]


ENUM = {"type": "enum", "name": "Plan", "symbols": ["A", "B", "C"]}
INTS = {"type": "array", "items": "int"}


@pytest.mark.parametrize(
    ("kind", "encoded"),
    [
        (["null", "string"], varint(-1)),
        (["null", "string"], varint(-2)),
        (["null", "string"], varint(2)),
        (["null", "string"], b"\x80\0"),
        (["null", "string"], padded(varint(1), 3) + varint(0)),
        (["int", "string", "null"], varint(3)),
        (["int", "string", "null"], varint(-1)),
        (ENUM, varint(-1)),
        (ENUM, varint(3)),
        (ENUM, varint(5)),
        (ENUM, padded(varint(1), 2)),
        ("boolean", b"\x07"),
        ("boolean", b"\xff"),
        ("int", varint(2**31)),
        ("int", varint(-(2**31) - 1)),
        ("int", varint(2**40)),
        ({"type": "int", "logicalType": "date"}, varint(2**40)),
        ("int", padded(varint(1), 5)),
        ("long", varint(2**63)),
        ("long", varint(-(2**63) - 1)),
        ("long", b"\xff" * 9 + b"\x7f"),
        ("long", b"\xff" * 10 + b"\x01"),
        ("long", padded(varint(NOW), 10)),
        ("long", padded(varint(0), 2)),
        ("string", varint(-1)),
        ("string", varint(2**40)),
        ("string", padded(varint(1), 2) + b"a"),
        ("string", varint(2) + b"\xc3\x28"),
        ("string", varint(3) + "\ud800".encode(errors="surrogatepass")),
        ("bytes", varint(-1)),
        ({"type": "map", "values": "int"}, varint(1) + varint(-3) + varint(1) + varint(0)),
        (INTS, varint(-(2**63)) + varint(0)),
        (INTS, varint(-1) + varint(-1) + varint(1) + varint(0)),
        (INTS, varint(-2) + varint(1) + varint(1) + varint(2) + varint(0)),  # a block of two bytes, not of one
        (INTS, varint(-1) + varint(2) + varint(1) + varint(0)),
    ],
    ids=str,
)
def test_what_the_specification_forbids_is_undecodable(kind: Any, encoded: bytes) -> None:
    """Also in the last byte, where nothing is missing. The field is named."""
    refused = refusal(kind, encoded)

    assert Reason.UNDECODABLE == refused.reason
    assert "x: " in str(refused)


@pytest.mark.parametrize("schema_of_time", ["long", "int"])
@pytest.mark.parametrize("size", range(7, 11))
def test_an_event_time_with_needless_bytes_is_undecodable(schema_of_time: str, size: int) -> None:
    """On both paths: the fast one declines such a number."""
    fields = [
        {**field, "type": schema_of_time} if field["name"] == "event_timestamp" else field
        for field in event.schema(1)["fields"]
    ]
    writer = writer_schema({**event.schema(1), "fields": fields}, schema_id=9, version="v9")
    at = varint(7 if schema_of_time == "int" else NOW)
    value = wire(an_event(event_timestamp=7 if schema_of_time == "int" else NOW), schema_id=9)
    assert writer.transcode is not None
    writer.transcode(value, b"", b"")

    broken = value.replace(at, padded(at, size), 1)
    with pytest.raises(Undecodable):
        wire_format.read(broken, writer)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, the record is declined
        writer.transcode(broken, b"", b"")


@pytest.mark.parametrize("kind", ["int", ["null", "int"]])
def test_an_int_beyond_32_bits_is_declined_by_the_fast_path(kind: Any) -> None:
    """It would become BSON's int64."""
    writer, branch = writer_of(kind), b"" if kind == "int" else b"\x02"
    assert writer.transcode is not None

    assert writer.transcode(START + branch + varint(2**31 - 1), b"", b"")
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, the record is declined
        writer.transcode(START + branch + varint(2**31), b"", b"")


@pytest.mark.parametrize(
    ("kind", "encoded"),
    [
        ("int", b"\x80"),
        ("double", b"\0" * 7),
        ("string", varint(3) + b"ab"),
        ("bytes", b""),
        ({"type": "fixed", "name": "F", "size": 4}, b"abc"),
        (INTS, varint(2) + varint(1)),
        (INTS, varint(1_000_000)),
        ({"type": "map", "values": "null"}, varint(1) + varint(1)),
        (["null", "string"], b""),
        (ENUM, b""),
    ],
    ids=str,
)
def test_a_body_that_ends_early_is_truncated(kind: Any, encoded: bytes) -> None:
    """Every count and length is compared with the bytes that are left, before anything is built."""
    assert Reason.TRUNCATED == refusal(kind, encoded).reason


@pytest.mark.parametrize(
    ("kind", "encoded", "expected"),
    [
        ("long", varint(2**63 - 1), 2**63 - 1),
        ("long", varint(-(2**63)), -(2**63)),
        ("int", varint(-(2**31)), -(2**31)),
        ("boolean", b"\x01", True),
        ("float", b"\0\0\x80\x3f", 1.0),
        (INTS, varint(-2) + varint(2) + varint(1) + varint(2) + varint(1) + varint(3) + varint(0), [1, 2, 3]),
        ({"type": "array", "items": "double"}, varint(2) + b"\0" * 16 + varint(0), [0.0, 0.0]),
        ({"type": "map", "values": "int"}, varint(1) + varint(1) + b"a" + varint(7) + varint(0), {"a": 7}),
        (["null", "string", "int"], varint(2) + varint(5), 5),
        (["string", "null"], varint(1), None),
        ({"type": "array", "items": "null"}, varint(3) + varint(0), [None] * 3),
    ],
    ids=str,
)
def test_what_the_specification_allows_is_read(kind: Any, encoded: bytes, expected: Any) -> None:
    """Blocks with and without their size, the largest numbers, every kind of union."""
    assert expected == read(kind, encoded)


@pytest.mark.parametrize(
    "items",
    [
        "null",
        VOID,
        {"type": "fixed", "name": "None", "size": 0},
        {"type": "record", "name": "Nulls", "fields": [{"name": "a", "type": "null"}, {"name": "b", "type": VOID}]},
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [40_000_000, 2**31 - 1, 2**62, -40_000_000])
def test_items_without_bytes_are_refused_beyond_a_small_count(items: Any, count: int) -> None:
    """Some 30 bytes could stand for any number of them."""
    size = varint(0) if count < 0 else b""
    began = time.process_time()

    refused = refusal({"type": "array", "items": items}, varint(count) + size + varint(0))

    assert Reason.UNDECODABLE == refused.reason
    assert time.process_time() - began < 1


def test_items_without_bytes_are_counted_over_all_arrays_of_a_record() -> None:
    """Many arrays below the limit are refused, too."""
    arrays = {"type": "array", "items": {"type": "array", "items": VOID}}

    assert [[{}] * 400] == read(arrays, varint(1) + varint(400) + varint(0) + varint(0))
    refused = refusal(arrays, varint(20_000) + (varint(400) + varint(0)) * 20_000 + varint(0))
    assert "take no bytes" in str(refused)


def test_a_record_that_doubles_itself_without_bytes_is_refused() -> None:
    """Forty records, each with two of the one before, are 2⁴⁰ in no bytes; the fast path must not expand them."""
    doubled: Any = VOID
    for number in range(40):
        pair = [{"name": "a", "type": doubled}, {"name": "b", "type": f"V{number - 1}" if number else "Void"}]
        doubled = {"type": "record", "name": f"V{number}", "fields": pair}
    writer = writer_of(doubled)

    assert writer.problem is None
    with pytest.raises(Undecodable, match="take no bytes") as caught:
        wire_format.read(START, writer)
    assert Reason.UNDECODABLE == caught.value.reason


def test_a_record_that_expands_is_bounded_by_what_is_built() -> None:
    """A byte may become a document of some 300 bytes in memory."""
    items = {"type": "array", "items": {"type": "record", "name": "Item", "fields": [{"name": "a", "type": "boolean"}]}}
    small, large = (varint(n) + b"\1" * n + varint(0) for n in (60_000, 400_000))
    writer = writer_of(items)

    found, size = writer.read(START + small, wire_format.HEADER.size)

    assert len(found["x"]) == 60_000
    assert 60_000 * 184 < size < 60_000 * 400
    assert "bytes of memory" in str(refusal(items, large))


def test_nested_arrays_are_bounded_in_depth() -> None:
    """A recursion without a record in it, through the items."""
    tree = {"type": "record", "name": "Tree", "fields": [{"name": "of", "type": {"type": "array", "items": "Tree"}}]}

    assert read(tree, varint(1) + varint(0) + varint(0)) == {"of": [{"of": []}]}
    assert "nested" in str(refusal(tree, b"\x02" * 400_000 + b"\0" * 400_000))


def test_a_recursion_through_many_unions_is_undecodable() -> None:
    """Unions do not count as depth, since the document does not have them; Python's stack ends before the depth."""
    branch: Any = "Node"
    for _ in range(100):
        branch = ["null", branch]
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": branch}]}

    assert read(node, b"\x02" * 100 + b"\0") == {"next": {"next": None}}
    refused = refusal(node, b"\x02" * 9_000 + b"\0")
    assert (Reason.UNDECODABLE, True) == (refused.reason, "too large to read: RecursionError" in str(refused))


@pytest.mark.parametrize("name", ["b.Node", "Node"])
def test_a_recursion_behind_a_short_name_is_bounded(name: str) -> None:
    """Another namespace has a flat record of the same name."""
    flat = {"type": "record", "name": "Node", "namespace": "a", "fields": [{"name": "x", "type": "int"}]}
    node_or_null = {"name": "next", "type": ["null", name]}
    tree = {"type": "record", "name": "Node", "namespace": "b", "fields": [{"name": "v", "type": "int"}, node_or_null]}
    both = {
        "type": "record",
        "name": "Both",
        "fields": [{"name": "flat", "type": flat}, {"name": "tree", "type": tree}],
    }

    refused = refusal(both, b"\0" + b"\0\x02" * 400_000 + b"\0\0")

    assert Reason.UNDECODABLE == refused.reason


@pytest.mark.parametrize("size", [65, 100_000, 16_000_000])
@pytest.mark.parametrize("kind", ["bytes", "fixed"])
def test_a_long_decimal_is_refused_by_its_length(kind: str, size: int) -> None:
    """To convert it would take quadratic time. The error has its path and size, not its digits."""
    value = b"\x7f" + b"\x11" * (size - 1)
    fixed = {"type": "fixed", "name": "D", "size": size, "logicalType": "decimal", "precision": 10}
    began = time.process_time()

    refused = refusal(DECIMAL, varint(size) + value) if kind == "bytes" else refusal(fixed, value)

    assert Reason.REFUSED_BY_STORE == refused.reason
    assert f"x: a decimal of {size} bytes" in str(refused)
    assert time.process_time() - began < 1


def test_a_decimal_of_more_than_34_digits_is_refused() -> None:
    """A rounded one would be another value than was sent."""
    digits = int("12345678901234567890123456789012345")
    encoded = digits.to_bytes(15, "big")

    assert Reason.REFUSED_BY_STORE == refusal(DECIMAL, varint(15) + encoded).reason


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (b"", "0.00"),
        (b"\0" * 300 + b"\x7f", "1.27"),
        (b"\xff" * 300, "-0.01"),
        (b"\xff" * 300 + b"\x7f", "-1.29"),
        (b"\0" * 300 + b"\xff", "2.55"),
        (b"\0" * 300, "0.00"),
        ((10**40).to_bytes(18, "big"), "1.000000000000000000000000000000000E+38"),
    ],
)
def test_a_decimal_may_repeat_its_sign(encoded: bytes, expected: str) -> None:
    """As values of a wide fixed do; zeros at the end are no digits that Decimal128 needs."""
    assert Decimal128(expected) == read(DECIMAL, varint(len(encoded)) + encoded)
    assert Decimal(expected) == Decimal(int.from_bytes(encoded, "big", signed=True)).scaleb(-2)


def test_what_fastavro_writes_is_read_as_fastavro_reads_it() -> None:
    """All types at once, and nothing but what conversion changes."""
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "n", "type": ["null", "long"]}]}
    kinds: Sequence[tuple[Any, Any]] = [
        ("boolean", True),
        ("int", -5),
        ("long", 2**40),
        ("float", 1.5),
        ("double", 1e300),
        ("bytes", b"\0\xff"),
        ("string", "ü€😀"),
        (ENUM, "B"),
        ({"type": "fixed", "name": "F", "size": 2}, b"ab"),
        ({"type": "array", "items": inner}, [{"n": None}, {"n": 7}]),
        ({"type": "map", "values": ["null", "Inner"]}, {"a": None, "b": {"n": 1}}),
    ]
    fields = [{"name": f"f{number}", "type": kind} for number, (kind, _) in enumerate(kinds)]
    kind = {"type": "record", "name": "All", "fields": fields}
    values = {f"f{number}": value for number, (_, value) in enumerate(kinds)}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(kind, named_schemas={}), values)

    found = read(kind, out.getvalue())

    assert values == found
    assert bson.encode(found)
