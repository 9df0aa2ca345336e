"""The fast path returns the same bytes as the generic path, or declines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any

import bson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapp.decode import compiled_path, document, transcoder, wire_format
from streamapp.decode.avro_binary import NotOnFastPathError
from streamapp.decode.code_generator import SIZES
from streamapp.decode.document import EventTimes, LazyDocument, row_of
from streamapp.decode.fast_path import FastPath
from streamapp.decode.kernel import KERNEL
from streamapp.decode.writer_schema import WriterSchema, in_shape_of, writer_schema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.record import Origin, PartitionBatch
from streamapp.model.stored_headers import MAX_FAST_HEADERS, header_fields, stored_headers
from tests.support import shapes
from tests.support.factories import NOW, TOPIC_ID, V1, V2, FakeRecord, a_batch, a_record, an_event, wire

RECEIVED_AT = datetime(2026, 9, 22, 15, 4, 5, 678_000, UTC)
TIMES = EventTimes(earliest=0, ahead=86_400_000)
ANY_TIME = EventTimes(earliest=-(2**63), ahead=2**65)

#: Every type that the fast path supports.
V3_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "UserEvent",
    "fields": [
        {"name": "user_id", "type": {"type": "string", "avro.java.string": "String"}},
        {"name": "event_type", "type": "string"},
        {"name": "event_timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {
            "name": "metadata",
            "type": {
                "type": "record",
                "name": "Metadata",
                "fields": [
                    {"name": "device", "type": "string"},
                    {"name": "location", "type": "string"},
                    {"name": "screen", "type": ["null", "int"]},
                    {
                        "name": "app",
                        "type": {
                            "type": "record",
                            "name": "App",
                            "fields": [{"name": "build", "type": "long"}, {"name": "beta", "type": "boolean"}],
                        },
                    },
                ],
            },
        },
        {"name": "browser", "type": ["string", "null"]},
        {"name": "seconds", "type": "double"},
        {"name": "share", "type": ["double", "null"]},
        {"name": "paid", "type": ["null", "boolean"]},
        {"name": "items", "type": "int"},
    ],
}
V3 = writer_schema(V3_SCHEMA, schema_id=3, version="v3")
#: In another order: no two cached fields are adjacent.
V4_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "UserEvent",
    "fields": [
        {"name": "browser", "type": ["null", "string"]},
        {"name": "seconds", "type": "double"},
        {
            "name": "metadata",
            "type": {
                "type": "record",
                "name": "Metadata",
                "fields": [
                    {"name": "location", "type": "string"},
                    {"name": "session", "type": "string"},
                    {"name": "device", "type": "string"},
                ],
            },
        },
        {"name": "event_timestamp", "type": "long"},
        {"name": "event_type", "type": "string"},
        {"name": "user_id", "type": "string"},
    ],
}
V4 = writer_schema(V4_SCHEMA, schema_id=4, version="v4")
#: Versions that call the browser by other names.
V5_SCHEMA = shapes.event_schema({"name": "client", "type": "string"}, {"name": "x", "type": "int"})
V6_SCHEMA = shapes.event_schema({"name": "agent", "type": "string"})
V5, V6 = (writer_schema(V5_SCHEMA, schema_id=5, version="v5"), writer_schema(V6_SCHEMA, schema_id=6, version="v6"))
SCHEMAS = {1: V1, 2: V2, 3: V3, 4: V4, 5: V5, 6: V6}
#: The same in the shape of each latest schema; None: as written.
SHAPES: dict[str | None, Mapping[int, WriterSchema]] = {
    None: SCHEMAS,
    **{
        name: {id_: in_shape_of(writer, latest) for id_, writer in SCHEMAS.items()}
        for name, latest in shapes.LATEST.items()
    },
}

_texts = st.one_of(st.text(), st.text(min_size=60, max_size=70), st.sampled_from(["x" * 9_000, "ü" * 20_000, "\0"]))
_longs = st.one_of(
    st.integers(-(2**62), 2**62 - 1), st.sampled_from([NOW, 0, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1])
)
_ints = st.integers(-(2**31), 2**31 - 1)
_metadata = {"device": _texts, "location": _texts}
_v1 = {"user_id": _texts, "event_type": _texts, "event_timestamp": _longs, "metadata": st.fixed_dictionaries(_metadata)}
_v2 = {**_v1, "browser": st.none() | _texts}
_app = st.fixed_dictionaries({"build": _longs, "beta": st.booleans()})
_v3 = {
    **_v2,
    "metadata": st.fixed_dictionaries({**_metadata, "screen": st.none() | _ints, "app": _app}),
    "seconds": st.floats(),
    "share": st.none() | st.floats(),
    "paid": st.none() | st.booleans(),
    "items": _ints,
}
_v4 = {**_v2, "seconds": st.floats(), "metadata": st.fixed_dictionaries({**_metadata, "session": _texts})}
_values = st.one_of(
    *(
        st.builds(wire, st.fixed_dictionaries(fields), st.just(schema), st.just(id_))
        for id_, fields, schema in (
            (1, _v1, None),
            (2, _v2, None),
            (3, _v3, V3_SCHEMA),
            (4, _v4, V4_SCHEMA),
            (5, {**_v1, "client": _texts, "x": _ints}, V5_SCHEMA),
            (6, {**_v1, "agent": _texts}, V6_SCHEMA),
        )
    )
)
#: Topics, some of them re-created, and partitions, most of them used before.
_places = st.tuples(
    st.sampled_from(["user_events", "t" * 249]),
    st.sampled_from([TOPIC_ID, "B" * 22]),
    st.integers(0, 3) | st.integers(0, 1_000),
)
#: The headers that are stored, and headers of records: any number of these and others.
HEADERS = header_fields("client,client.version,x")
Headers = tuple[tuple[str, bytes | None], ...]
_header = st.tuples(st.sampled_from([*HEADERS, "trace"]) | st.text(), st.none() | st.binary(max_size=400))
_headers = st.lists(_header, max_size=5).map(tuple) | st.just(())
_offsets = st.integers(0, 2**63 - 1) | st.sampled_from([0, 2**31 - 1, 2**31])


def on_fast_path(
    record: FakeRecord, schemas: Mapping[int, WriterSchema] = SCHEMAS, times: EventTimes = TIMES, **of_batch: Any
) -> LazyDocument | None:
    """Return the document that generated code makes; None if it declines. The kernel may take more records."""
    batch = a_batch(record, **of_batch)
    path = FastPath(batch, schemas, times=times, received_at=RECEIVED_AT, header_fields=HEADERS)
    made, compiled = path.document(record), by_kernel(batch, schemas, times)
    if KERNEL and made is not None:
        assert compiled is not None
        assert (made.raw, made.row) == (compiled.raw, compiled.row)
    elif compiled is not None:
        expected = on_generic_path(record, times, str(batch.topic_id), schemas)
        assert (bson.encode(expected), row_of(expected)) == (compiled.raw, compiled.row)
    return made


def by_kernel(
    batch: PartitionBatch, schemas: Mapping[int, WriterSchema] = SCHEMAS, times: EventTimes = TIMES
) -> LazyDocument | None:
    """Return the first document of a batch as the kernel makes it; None if it declines, or if it was not built."""
    decoding: Any = {"times": times, "received_at": RECEIVED_AT, "header_fields": HEADERS}
    found = KERNEL and compiled_path.converted(KERNEL, batch, schemas, **decoding)
    return found.documents[0] if found else None


def on_generic_path(
    record: FakeRecord,
    times: EventTimes = TIMES,
    topic_id: str = TOPIC_ID,
    schemas: Mapping[int, WriterSchema] = SCHEMAS,
) -> Mapping[str, Any]:
    """Return the document that the generic path makes."""
    writer, values = wire_format.decode(record.value, schemas)
    origin = Origin(record.topic, record.partition, record.offset, record.timestamp, topic_id)
    return document.build(
        values,
        writer=writer,
        origin=origin,
        received_at=RECEIVED_AT,
        times=times,
        headers=stored_headers(record.headers, HEADERS),
    )


@given(_values, _offsets, st.integers(0, 2**62), _places, st.sampled_from([*SHAPES]), _headers)
@settings(max_examples=600)
def test_both_paths_return_the_same_bytes(  # noqa: PLR0917 - parts of a record
    value: bytes, offset: int, timestamp: int, place: tuple[str, str, int], shape: str | None, headers: Headers
) -> None:
    """For any values, in every shape; the fast path declines only documents that are too large for it."""
    topic, topic_id, partition = place
    record = FakeRecord(
        value=value, topic=topic, offset=offset, timestamp=timestamp, partition=partition, headers=headers
    )
    expected = on_generic_path(record, ANY_TIME, topic_id, SHAPES[shape])
    raw = bson.encode(expected)
    part = bson.encode({"headers": expected["kafka"]["headers"]}) if "headers" in expected["kafka"] else b"\0" * 5

    made = on_fast_path(record, SHAPES[shape], times=ANY_TIME, topic_id=topic_id)

    if len(raw) - len(part) + 5 < len(SIZES):
        assert made is not None
        assert (raw, row_of(expected)) == (made.raw, made.row)
    else:
        assert made is None


@given(_values, st.sampled_from([*shapes.LATEST]))
@settings(max_examples=200)
def test_a_shape_changes_nothing_that_was_written(value: bytes, shape: str) -> None:
    """The document as written can be had from the one in the shape, and is the one without a shape.

    The event is counted by the same values: it may be deleted, and be stored again in another shape.
    """
    record = FakeRecord(value=value)
    found = on_generic_path(record, ANY_TIME, schemas=SHAPES[shape])
    writer, _ = wire_format.decode(value, SCHEMAS)

    written = shapes.stored_as_written(found, writer, shapes.LATEST[shape])

    assert bson.encode(on_generic_path(record, ANY_TIME)) == bson.encode(
        {name: written[name] for name in on_generic_path(record, ANY_TIME)}
    )
    assert on_generic_path(record, ANY_TIME).keys() == written.keys()
    assert row_of(on_generic_path(record, ANY_TIME)) == row_of(found)


@given(_values, st.data(), st.sampled_from([*SHAPES]))
@settings(max_examples=600)
def test_broken_records_are_declined_or_decoded_like_on_the_generic_path(
    value: bytes, data: st.DataObject, shape: str | None
) -> None:
    """Records that are cut, with changed bytes and with added bytes."""
    broken = bytearray(value)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(broken)))
        broken[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    record = FakeRecord(value=bytes(broken))

    made = on_fast_path(record, SHAPES[shape], times=ANY_TIME)

    if made is not None:
        assert bson.encode(on_generic_path(record, ANY_TIME, schemas=SHAPES[shape])) == made.raw


def test_an_endless_number_is_declined_at_once() -> None:
    """To read a megabyte of continuation bytes would block the event loop for a minute."""
    value = wire(an_event())[:5] + b"\xff" * 1_000_000
    began = time.process_time()

    assert on_fast_path(FakeRecord(value=value)) is None
    assert time.process_time() - began < 1


@pytest.mark.parametrize("fields", [500, 1_001, 4_000])
def test_a_schema_with_too_many_fields_has_no_transcoder(fields: int) -> None:
    """Its records take the generic path."""
    more = [{"name": f"text_{number}", "type": "string"} for number in range(fields)]
    writer = writer_schema({**V3_SCHEMA, "fields": [*V3_SCHEMA["fields"], *more]}, schema_id=4, version="v4")

    assert writer.problem is None
    assert (writer.transcode is None) == (fields > 1_000)


@pytest.mark.parametrize("length", range(1, 200, 7))
def test_a_truncated_record_is_declined(length: int) -> None:
    """Also where it ends within a string."""
    value = wire(an_event(user_id="u" * 130, browser="b" * 64))

    assert on_fast_path(FakeRecord(value=value)) is not None
    assert on_fast_path(FakeRecord(value=value[:length])) is None


@pytest.mark.parametrize(
    "body",
    [
        b"\x01",  # a string of -1 bytes
        b"\x81\x01",  # one of -65
        b"\x02\xff",  # not UTF-8
        b"\x80" * 10 + b"\x02",  # a number with more than 64 bits
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f",  # a string of 2⁶¹ bytes
    ],
)
def test_an_invalid_string_is_declined(body: bytes) -> None:
    """The generic path reports the error."""
    rest = wire(an_event(user_id=""))[6:]
    assert on_fast_path(FakeRecord(value=wire(an_event())[:5] + b"\x02u" + rest)) is not None
    record = FakeRecord(value=wire(an_event())[:5] + body + rest)

    assert on_fast_path(record) is None
    with pytest.raises(Undecodable):
        on_generic_path(record)


@pytest.mark.parametrize("at", [-1, NOW + TIMES.ahead + 1])
def test_an_event_time_out_of_range_is_declined(at: int) -> None:
    """It becomes a dead letter on the generic path."""
    assert on_fast_path(a_record(an_event(event_timestamp=at))) is None
    assert on_fast_path(a_record(an_event(event_timestamp=NOW + TIMES.ahead))) is not None


def test_an_unknown_branch_of_a_union_is_declined() -> None:
    """A union of two types has the branches 0 and 1."""
    value = wire(an_event(browser=None))

    assert on_fast_path(FakeRecord(value=value)) is not None
    assert on_fast_path(FakeRecord(value=value[:-1] + b"\x04")) is None


@pytest.mark.parametrize(
    ("changes", "of_batch"),
    [
        ({"value": None}, {}),
        ({"value": b""}, {}),
        ({"value": b"\0\0"}, {}),
        ({"value": b"\x01" + wire(an_event())[1:]}, {}),
        ({"value": wire(an_event(), schema_id=7)}, {}),
        ({"headers": (("streamapp.attempt", b"7"),)}, {}),  # it may be a replayed dead letter
        ({"headers": (("trace", b"7"),) * (MAX_FAST_HEADERS + 1)}, {}),
        ({}, {"topic_id": None}),
    ],
)
def test_records_that_need_the_generic_path_are_declined(
    changes: Mapping[str, Any], of_batch: Mapping[str, Any]
) -> None:
    """No value, no header, no schema, headers of a dead letter, many headers, an old broker."""
    assert on_fast_path(a_record()) is not None
    assert on_fast_path(a_record(**changes), **of_batch) is None


def test_a_batch_with_offsets_of_two_sizes_is_declined() -> None:
    """BSON has int32 up to 2³¹ - 1 and int64 beyond; one batch of a partition may have both."""
    below, beyond = (a_record(offset=offset) for offset in (2**31 - 1, 2**31))
    both = FastPath(a_batch(below, beyond), SCHEMAS, times=TIMES, received_at=RECEIVED_AT)

    assert [None, None] == [both.document(below), both.document(beyond)]
    assert None not in [on_fast_path(below), on_fast_path(beyond)]


def _with(name: str, type_: Any, *, of: str = "UserEvent") -> dict[str, Any]:
    def changed(record: Mapping[str, Any]) -> dict[str, Any]:
        others = [_inner(field) for field in record["fields"] if field["name"] != name]
        return {**record, "fields": [*others, {"name": name, "type": type_}] if record["name"] == of else others}

    def _inner(field: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**field, "type": changed(field["type"])} if field["name"] == "metadata" else field

    return changed(V3_SCHEMA)


_METADATA: Sequence[Any] = [field["type"] for field in V3_SCHEMA["fields"] if field["name"] == "metadata"]


@pytest.mark.parametrize(
    "schema",
    [
        _with("tags", {"type": "array", "items": "string"}),
        _with("at", {"type": "long", "logicalType": "timestamp-millis"}),
        _with("event_timestamp", {"type": "long", "logicalType": "timestamp-micros"}),
        _with("kafka", "string"),  # a reserved name
        _with("user_id", ["null", "string"]),
        _with("user_id", "bytes"),
        _with("browser", "long"),
        _with("device", ["null", "string"], of="Metadata"),
        _with("metadata", ["null", *_METADATA]),
        _with("number", ["int", "string"]),
        _with("number", ["null", "int", "string"]),
        _with("nested", ["null", {"type": "record", "name": "N", "fields": []}]),
        [V3_SCHEMA, "null"],
        *(_with(name, "string") for name in ("a-b", "metadata.device", "a\0b", "ü", "1", "'", "\ud800")),
        {**V3_SCHEMA, "fields": [*V3_SCHEMA["fields"], *V3_SCHEMA["fields"][-1:]]},
    ],
)
def test_an_unsupported_schema_has_no_transcoder(schema: Any) -> None:
    """Its records take the generic path."""
    writer = writer_schema(schema, schema_id=4, version="v4")

    assert writer.problem is None
    assert writer.transcode is None


def test_a_schema_that_is_not_one_of_events_has_no_transcoder() -> None:
    """Its records can never be stored."""
    assert writer_schema("string", schema_id=4, version="v4").transcode is None


def test_a_string_of_negative_length_is_declined() -> None:
    """To step back by it would read the same byte three times: as user, event type and time."""
    body = b"\x01" + b"\x04tv" + b"\x04DE"
    assert V1.transcode is not None

    with pytest.raises(NotOnFastPathError):
        V1.transcode(wire(an_event())[:5] + body, b"", b"")


def test_cached_values_are_shared_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events with the same strings share their values, except long ones; the cache is cleared when it is full."""
    monkeypatch.setattr(transcoder, "_MAX_CACHED", 3)
    schemas = {1: writer_schema(event.schema(1), schema_id=1, version="v1")}

    def values(event_type: str, **changes: Any) -> Any:
        made = on_fast_path(a_record(an_event(event_type=event_type, **changes)), schemas)
        assert made is not None
        return made.dimensions

    first = values("click")
    assert values("click", user_id="another", event_timestamp=NOW - 1) is first
    assert values("x" * 600) is not values("x" * 600)
    for other in ("a", "b"):
        values(other)
    assert values("click") is first
    values("c")
    assert values("click") is not first


def test_cached_bytes_identify_the_values() -> None:
    """Events whose strings have the same bytes together, divided differently, are not confused."""
    texts = ["", "a", "aa", "aaa"]
    events = [
        an_event(event_type=type_, metadata={"device": device, "location": location}, browser=browser)
        for type_, device, location, browser in product(texts, texts, texts, [None, *texts])
    ]
    records = [FakeRecord(value=wire(each)) for each in events * 2]

    for record in records:
        made = on_fast_path(record)
        assert made is not None
        assert made.raw == bson.encode(on_generic_path(record))
