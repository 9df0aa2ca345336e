"""The generic path against the rules of the specification: any bytes, schemas like those of real topics.

STREAMAPP_FUZZ_SECONDS and STREAMAPP_FUZZ_SEED choose how long to search and where: by default some seconds, and always
the same records.
"""

from __future__ import annotations

import os
import random
import time
import tracemalloc
from typing import Any

import bson
import fastavro
import fastavro.utils
import pytest
from bson.errors import InvalidDocument

from streamapp.decode import batch, compiled_path, cursor, document, wire_format
from streamapp.decode.document import EventTimes, LazyDocument, row_of
from streamapp.decode.fast_path import FastPath
from streamapp.decode.kernel import KERNEL
from streamapp.decode.writer_schema import WriterSchema, in_shape_of, writer_schema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.record import Reason, own_origin
from tests.support import shapes
from tests.support.factories import TOPIC_ID, FakeRecord, a_batch, an_event

SECONDS = float(os.environ.get("STREAMAPP_FUZZ_SECONDS", "0.8"))
SEED = int(os.environ.get("STREAMAPP_FUZZ_SEED", "1"))
MOST_VALUES = 300
#: One of so many records has many more values, of which the memory is measured; that takes ten times as long.
LARGE_ONE_IN, LARGE_VALUES = 200, 20_000
#: CPU seconds that a record may take on the event loop. The records of the search take a twentieth.
MOST_SECONDS = 0.05
ANY_TIME, RECEIVED_AT = EventTimes(earliest=-(2**63), ahead=2**65), bson.DatetimeMS(2**42).as_datetime()
_REASONS = {Reason.UNDECODABLE, Reason.TRUNCATED, Reason.REFUSED_BY_STORE}


def record(name: str, /, **fields: Any) -> dict[str, Any]:
    """Return a record type."""
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": field, "type": type_} for field, type_ in fields.items()],
    }


def array(items: Any) -> dict[str, Any]:
    """Return an array type."""
    return {"type": "array", "items": items}


def values(type_: Any) -> dict[str, Any]:
    """Return a map type."""
    return {"type": "map", "values": type_}


def logical(type_: Any, name: str, **more: Any) -> dict[str, Any]:
    """Return a type with a logical type."""
    return {**(type_ if isinstance(type_, dict) else {"type": type_}), "logicalType": name, **more}


def fixed(name: str, size: int) -> dict[str, Any]:
    """Return a fixed."""
    return {"type": "fixed", "name": name, "size": size}


STATUS = {"type": "enum", "name": "Status", "symbols": ["NEW", "PAID", "SENT", "LOST"]}
LINE = record("Line", sku="string", quantity="int", price=["null", logical("bytes", "decimal", precision=12, scale=2)])
TREE = record("Tree", label="string", children=array("Tree"))
NODE = record("Node", value=["null", "long"], next=["null", "Node"])
#: The type of a field `x`, such as orders, clicks, telemetry, logs and change events have.
KINDS: dict[str, Any] = {
    "an order": record("Order", id=logical("string", "uuid"), status=STATUS, lines=array(LINE)),
    "a click": record("Click", url="string", referrer=["null", "string"], x="int", y="int", alt="boolean"),
    "telemetry": record(
        "Telemetry", at=logical("long", "timestamp-micros"), readings=array("double"), tags=values("string")
    ),
    "samples": array(record("Sample", t="long", v="float")),
    "a log line": record(
        "Log", level=STATUS, message="string", context=values(["null", "string", "long", "double", "boolean"])
    ),
    "a change event": record("Change", before=["null", LINE], after=["null", "Line"], op="string", ts=["null", "long"]),
    "a tree": TREE,
    "a linked list": NODE,
    "a payment": record(
        "Payment", amount=logical(fixed("Money", 16), "decimal", precision=30, scale=6), day=logical("int", "date")
    ),
    "an address": record("Address", street=["null", "string"], geo=["null", record("Geo", lat="double", lon="double")]),
    "a session": record("Session", pages=array(["null", "string"]), seconds=values("int")),
    "an experiment": array(record("Variant", name="string", on="boolean")),
    "identifiers": record("Ids", id=logical(fixed("Uuid", 16), "uuid"), hash=fixed("Hash", 32), raw="bytes"),
    "times": record(
        "Times",
        a=logical("long", "timestamp-nanos"),
        b=logical("long", "local-timestamp-millis"),
        c=logical("int", "time-millis"),
    ),
    "a matrix": array(array("double")),
    "a map of maps": values(values("int")),
    "a union of records": [record("A", a="int"), record("B", b="string"), "null", array("boolean")],
    "flags": array("boolean"),
    "an embedding": array("float"),
    "empty records": array(record("Void")),
    "nulls": values("null"),
    "a duration": logical(fixed("Duration", 12), "duration"),
    "a nested union": record("Nested", u=["null", record("Deep", u=["null", "string", array(["null", "int"])])]),
    "a mutual recursion": record("Ping", pong=["null", record("Pong", pings=array("Ping"))]),
}


def schema_with(kind: Any) -> dict[str, Any]:
    """Return V2 with a field `x`."""
    return {**event.schema(2), "fields": [*event.schema(2)["fields"], {"name": "x", "type": kind}]}


def written(schema: Any, some: dict[str, Any]) -> bytes:
    """Return the wire bytes of an event."""
    return wire_format.write(some, schema=fastavro.parse_schema(schema, named_schemas={}), schema_id=9)


class Generator:
    """Draws valid values and breaks their bytes; the same ones for the same seed."""

    def __init__(self, seed: object) -> None:
        self.random = random.Random(str(seed))
        self._left = MOST_VALUES
        self._most_items = 4

    def start(self, tried: int) -> bool:
        """Begin another record; return whether it has many values."""
        is_large = tried % LARGE_ONE_IN == 1
        self._left, self._most_items = (LARGE_VALUES, 450) if is_large else (MOST_VALUES, 4)
        return is_large

    def value(self, type_: Any, named: dict[str, Any], depth: int = 0) -> Any:
        """Return a value of a type, as fastavro writes it."""
        self._left -= 1
        few = 0 if depth > 6 or self._left < 0 else self.random.randint(0, self._most_items)
        if isinstance(type_, str) and type_ in named:
            type_ = named[type_]
        if isinstance(type_, list):
            branch = self.random.choice(["null"] if few == 0 and "null" in type_ else type_)
            return self.value(branch, named, depth + 1)
        kind = type_ if isinstance(type_, str) else type_["type"]
        if kind == "record":
            return {field["name"]: self.value(field["type"], named, depth + 1) for field in type_["fields"]}
        if kind == "array":
            return [self.value(type_["items"], named, depth + 1) for _ in range(few)]
        if kind == "map":
            return {f"k{i}": self.value(type_["values"], named, depth + 1) for i in range(few)}
        return self._plain(kind, type_)

    def _plain(self, kind: str, type_: Any) -> Any:
        rng = self.random
        if kind == "enum":
            return rng.choice(type_["symbols"])
        if kind == "fixed":
            return rng.randbytes(type_["size"])
        return {
            "null": None,
            "boolean": rng.random() < 0.5,
            "int": rng.choice([0, 1, -1, 2**31 - 1, -(2**31), rng.randint(-(2**31), 2**31 - 1)]),
            "long": rng.choice([0, -1, 2**63 - 1, -(2**63), rng.randint(-(2**40), 2**40)]),
            "float": rng.uniform(-1e6, 1e6),
            "double": rng.choice([0.0, float("inf"), rng.uniform(-1e300, 1e300)]),
            "bytes": rng.randbytes(rng.randint(0, 9)),
            "string": rng.choice(["", "a", "ü€😀", "x" * 70, "click"]),
        }[kind]

    def broken(self, body: bytes) -> bytes:
        """Return the bytes with some of them changed, left out, added or repeated."""
        rng, found = self.random, bytearray(body)
        for _ in range(rng.randint(1, 3)):
            at = rng.randint(0, len(found))
            odd = [
                b"",
                rng.randbytes(1),
                rng.randbytes(9),
                b"\xff" * 9 + b"\x01",
                b"\x80\0",
                b"\x01",
                bytes(found[:at]),
            ]
            found[at : at + rng.randint(0, 2)] = rng.choice(odd)
        return bytes(found) if rng.random() < 0.9 else rng.randbytes(rng.randint(0, 60))


def named_types(type_: Any) -> dict[str, Any]:
    """Return the definitions within a type by their name."""
    parts = type_ if isinstance(type_, list) else []
    if isinstance(type_, dict):
        parts = [type_.get(key) for key in ("type", "items", "values")] + [
            field["type"] for field in type_.get("fields", ())
        ]
    own = {type_["name"]: type_} if isinstance(type_, dict) and "name" in type_ else {}
    return own | {name: each for part in parts for name, each in named_types(part).items()}


def without_logical_types(type_: Any) -> Any:
    """Return the schema with plain types, which are read as they are written."""
    if isinstance(type_, list):
        return [without_logical_types(each) for each in type_]
    if isinstance(type_, dict):
        return {name: without_logical_types(each) for name, each in type_.items() if name != "logicalType"}
    return type_


def later(type_: Any) -> Any:
    """Return the type of a later version: every record in it has one more field."""
    if isinstance(type_, list):
        return [*map(later, type_)]
    if not isinstance(type_, dict):
        return type_
    changed = {name: later(each) if name in {"type", "items", "values"} else each for name, each in type_.items()}
    if "fields" in type_:
        fields = [{**each, "type": later(each["type"])} for each in type_["fields"]]
        changed["fields"] = [*fields, shapes.field("added", "int", default=7)]
    return changed


def latest_with(kind: Any) -> WriterSchema:
    """Return a later version of `schema_with`, in which two fields have other names."""
    agent = shapes.field("agent", shapes.TEXT, "browser", default=None)
    return shapes.latest(agent, shapes.field("y", later(kind), "x"), metadata=[shapes.field("os", default="?")])


@pytest.mark.parametrize("name", KINDS)
def test_any_bytes_are_read_or_refused_at_a_bounded_cost(name: str) -> None:
    """Never another error; what is read is the same once it is written again, and on the fast path."""
    generator, plain_kind = Generator((SEED, name)), without_logical_types(KINDS[name])
    schema, plain = schema_with(KINDS[name]), schema_with(plain_kind)
    writer, plain_writer = (writer_schema(each, schema_id=9, version="v9") for each in (schema, plain))
    assert writer.problem is None
    latest = latest_with(KINDS[name])
    shaped = in_shape_of(writer, latest)
    assert shaped is not writer
    until, tried = time.monotonic() + SECONDS, 0
    while time.monotonic() < until or tried < 20:
        tried += 1
        is_large = generator.start(tried)
        body = written(plain, an_event(browser="b", x=generator.value(plain_kind, named_types(plain_kind))))
        assert read_or_refused(body, plain_writer, plain) is not None, body.hex()
        read_or_refused(body, writer, schema)
        read_or_refused(body[:5] + generator.broken(body[5:]), writer, schema)
        read_or_refused(body[:-1] + generator.broken(body[-1:]), plain_writer, plain)
        check_time(body[:5] + generator.broken(body[5:]), writer)
        check_shape(body, writer, shaped, latest)
        check_shape(body[:5] + generator.broken(body[5:]), writer, shaped, latest)
        if is_large:
            check_memory(body, writer)
            check_memory(body[:5] + generator.broken(body[5:]), writer)


def read_or_refused(value: bytes, writer: WriterSchema, schema: Any) -> dict[str, Any] | None:
    """Return what is read; None if it is refused. Checks what must hold in any case."""
    fast = on_fast_paths(value, writer)
    found, size = built_or_refused(value, writer)
    if found is None:
        assert not fast, value.hex()
        return None
    assert size <= cursor.MAX_BUILT
    try:
        raw = bson.encode(found)
    except InvalidDocument:  # a key with a null byte, which the store refuses
        assert not fast, value.hex()
        return found
    for each in fast:
        assert raw[4:-1] in each.raw, value.hex()
    if without_logical_types(schema) == schema:
        again, _ = wire_format.build(written(schema, found), writer)
        assert raw == bson.encode(again), value.hex()
    return found


def check_shape(value: bytes, writer: WriterSchema, shaped: WriterSchema, latest: WriterSchema) -> None:
    """A shape changes no fate, and nothing of what was written; both paths have it."""
    fate, shaped_fate = outcome(value, writer), outcome(value, shaped)
    fast = on_fast_paths(value, shaped)
    if isinstance(fate, str) or isinstance(shaped_fate, str):
        assert fate == shaped_fate, value.hex()
        assert not fast, value.hex()
        return
    try:
        raw = bson.encode(shaped_fate)
    except InvalidDocument:
        assert not fast, value.hex()
        return
    for each in fast:
        assert raw[4:-1] in each.raw, value.hex()
    written = shapes.stored_as_written(shaped_fate, writer, latest)
    assert bson.encode(fate) == bson.encode({name: written[name] for name in fate}), value.hex()
    assert fate.keys() == written.keys()


def outcome(value: bytes, writer: WriterSchema) -> dict[str, Any] | str:
    """Return what is read, or why it is refused."""
    try:
        return wire_format.read(value, writer)
    except Undecodable as exc:
        return f"{exc.reason}: {exc}"


def built_or_refused(value: bytes, writer: WriterSchema) -> tuple[dict[str, Any] | None, int]:
    """Return what is read and its size; None if it is refused."""
    try:
        return wire_format.build(value, writer)
    except Undecodable as exc:
        refused = exc
    assert refused.reason in _REASONS
    return None, min(refused.built, cursor.MAX_BUILT)


def check_time(value: bytes, writer: WriterSchema) -> None:
    """A record takes little CPU time on the event loop, also if it is refused; a large one is decoded in a thread."""
    # A collection of garbage can fall into one attempt.
    assert any(cpu_seconds(value, writer) < MOST_SECONDS for _ in range(3)), value.hex()


def cpu_seconds(value: bytes, writer: WriterSchema) -> float:
    """Return the CPU time that a record takes on the event loop, on the generic path."""
    record = FakeRecord(value=value, headers=[("streamapp.note", b"not on the fast path")])
    parts = batch.parts(a_batch(record), {9: writer}, times=ANY_TIME, received_at=RECEIVED_AT)
    began = time.thread_time()
    next(parts)
    return time.thread_time() - began


def check_memory(value: bytes, writer: WriterSchema) -> None:
    """A record takes about as much memory as it is counted for, and never more than the limit."""
    tracemalloc.start()
    try:
        found, size = built_or_refused(value, writer)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= cursor.MAX_BUILT, value.hex()
    assert found is None or peak <= 2 * size + 64 * 1024, value.hex()


def on_fast_paths(value: bytes, writer: WriterSchema) -> list[LazyDocument]:
    """Return the documents that the fast path makes, with generated code and with the kernel; none if it declines."""
    record = FakeRecord(value=value)
    generated = FastPath(a_batch(record), {9: writer}, times=ANY_TIME, received_at=RECEIVED_AT).document(record)
    return [each for each in (generated, by_kernel(value, writer)) if each is not None]


def by_kernel(value: bytes, writer: WriterSchema) -> LazyDocument | None:
    """Return the document that the kernel makes, None if it declines; checks that the generic path makes the same."""
    record, decoding = FakeRecord(value=value), {"times": ANY_TIME, "received_at": RECEIVED_AT}
    found = KERNEL and compiled_path.converted(KERNEL, a_batch(record), {9: writer}, **decoding)
    (made,) = found.documents if found else [None]
    if made is not None:
        event, origin = wire_format.read(value, writer), own_origin(record, TOPIC_ID)
        expected = document.build(event, writer=writer, origin=origin, **decoding)
        assert (bson.encode(expected), row_of(expected)) == (made.raw, made.row), value.hex()
    return made


@pytest.mark.skipif(KERNEL is None, reason="the kernel is not built")
@pytest.mark.parametrize("name", KINDS)
def test_the_kernel_takes_what_the_generic_path_reads(name: str) -> None:
    """Of every kind of schema, but for items without bytes."""
    generator, plain = Generator((SEED, name)), schema_with(without_logical_types(KINDS[name]))
    writer, plain_kind = (
        writer_schema(schema_with(KINDS[name]), schema_id=9, version="v9"),
        without_logical_types(KINDS[name]),
    )
    for _ in range(50):
        generator.start(0)
        value = written(plain, an_event(browser="b", x=generator.value(plain_kind, named_types(plain_kind))))
        is_read = not isinstance(outcome(value, writer), str)
        assert (by_kernel(value, writer) is not None) == (is_read and name != "empty records"), value.hex()


@pytest.mark.parametrize("name", KINDS)
def test_any_other_type_in_the_latest_schema_changes_nothing_that_was_written(name: str) -> None:
    """Also if the two are not compatible: a registry can allow that."""
    generator, schema = Generator((SEED, name)), schema_with(without_logical_types(KINDS[name]))
    writer = writer_schema(schema, schema_id=9, version="v9")
    for kind in KINDS.values():
        latest = latest_with(kind)
        shaped = in_shape_of(writer, latest)
        generator.start(0)
        plain = without_logical_types(KINDS[name])
        body = written(schema, an_event(browser="b", x=generator.value(plain, named_types(plain))))
        check_shape(body, writer, shaped, latest)


def test_there_are_enough_schemas() -> None:
    """Of different kinds."""
    assert len(KINDS) >= 20
