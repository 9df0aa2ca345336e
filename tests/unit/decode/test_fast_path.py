"""The fast path leads where the generic path leads, or nowhere."""

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

from streamapp.decode import document, transcoder, wire_format
from streamapp.decode.document import EventTimes, LazyDocument, row_of
from streamapp.decode.fast_path import FastPath
from streamapp.decode.transcoder import SIZES, _Unusual
from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.record import Origin
from tests.support.factories import NOW, TOPIC_ID, V1, V2, FakeRecord, a_batch, a_record, an_event, wire

RECEIVED_AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
TIMES = EventTimes(earliest=0, ahead=86_400_000)
ANY_TIME = EventTimes(earliest=-(2**63), ahead=2**65)

#: All that there is a fast path for.
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
#: In another order, so that nothing that is remembered stands beside another such field.
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
SCHEMAS = {1: V1, 2: V2, 3: V3, 4: V4}

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
        for id_, fields, schema in ((1, _v1, None), (2, _v2, None), (3, _v3, V3_SCHEMA), (4, _v4, V4_SCHEMA))
    )
)
#: Topics, some of them re-created, and partitions, most of them seen before.
_places = st.tuples(
    st.sampled_from(["user_events", "t" * 249]),
    st.sampled_from([TOPIC_ID, "B" * 22]),
    st.integers(0, 3) | st.integers(0, 1_000),
)
_offsets = st.integers(0, 2**63 - 1) | st.sampled_from([0, 2**31 - 1, 2**31])


def short(
    record: FakeRecord, schemas: Mapping[int, WriterSchema] = SCHEMAS, times: EventTimes = TIMES, **of_slice: Any
) -> LazyDocument | None:
    """Return where the fast path leads."""
    return FastPath(a_batch(record, **of_slice), schemas, times=times, received_at=RECEIVED_AT).document(record)


def ordinary(record: FakeRecord, times: EventTimes = TIMES, topic_id: str = TOPIC_ID) -> Mapping[str, Any]:
    """Return where the generic path leads."""
    writer, values = wire_format.decode(record.value, SCHEMAS)
    origin = Origin(record.topic, record.partition, record.offset, record.timestamp, topic_id)
    return document.build(values, writer=writer, origin=origin, received_at=RECEIVED_AT, times=times)


@given(_values, _offsets, st.integers(-1, 2**62), _places)
@settings(max_examples=400)
def test_both_ways_lead_to_the_same_bytes(
    value: bytes, offset: int, timestamp: int, place: tuple[str, str, int]
) -> None:
    """Whatever is in the fields; only what is larger than the fast path is wide goes the other."""
    topic, topic_id, partition = place
    record = FakeRecord(value=value, topic=topic, offset=offset, timestamp=timestamp, partition=partition)
    expected = ordinary(record, ANY_TIME, topic_id)
    raw = bson.encode(expected)

    made = short(record, times=ANY_TIME, topic_id=topic_id)

    if len(raw) < len(SIZES):
        assert made is not None
        assert (raw, row_of(expected)) == (made.raw, made.row)
    else:
        assert made is None


@given(_values, st.data())
@settings(max_examples=400)
def test_what_is_broken_never_passes_for_something_else(value: bytes, data: st.DataObject) -> None:
    """Cut, with bytes changed, and with bytes added: what the generic path refuses, the fast path leaves to it."""
    broken = bytearray(value)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(broken)))
        broken[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    record = FakeRecord(value=bytes(broken))

    made = short(record, times=ANY_TIME)

    if made is not None:
        assert bson.encode(ordinary(record, ANY_TIME)) == made.raw


def test_a_number_without_end_takes_no_time() -> None:
    """A megabyte of it would hold up everything else for a minute if it were read to its end."""
    value = wire(an_event())[:5] + b"\xff" * 1_000_000
    began = time.process_time()

    assert short(FakeRecord(value=value)) is None
    assert time.process_time() - began < 1


@pytest.mark.parametrize("fields", [500, 1_001, 4_000])
def test_a_schema_that_is_too_large_has_no_short_way(fields: int) -> None:
    """Its records are read as ever."""
    more = [{"name": f"text_{number}", "type": "string"} for number in range(fields)]
    writer = writer_schema({**V3_SCHEMA, "fields": [*V3_SCHEMA["fields"], *more]}, schema_id=4, version="v4")

    assert writer.problem is None
    assert (writer.transcode is None) == (fields > 1_000)


@pytest.mark.parametrize("length", range(1, 200, 7))
def test_no_beginning_of_a_record_passes_for_one(length: int) -> None:
    """A text that ends early, too."""
    value = wire(an_event(user_id="u" * 130, browser="b" * 64))

    assert short(FakeRecord(value=value)) is not None
    assert short(FakeRecord(value=value[:length])) is None


@pytest.mark.parametrize(
    "body",
    [
        b"\x01",  # a text of -1 bytes
        b"\x81\x01",  # one of -65
        b"\x02\xff",  # not UTF-8
        b"\x80" * 10 + b"\x02",  # a number with more than 64 bits
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f",  # a text of 2⁶¹ bytes
    ],
)
def test_a_text_that_is_none_goes_the_ordinary_way(body: bytes) -> None:
    """Which says what it is; all else is as it should be."""
    rest = wire(an_event(user_id=""))[6:]
    assert short(FakeRecord(value=wire(an_event())[:5] + b"\x02u" + rest)) is not None
    record = FakeRecord(value=wire(an_event())[:5] + body + rest)

    assert short(record) is None
    with pytest.raises(Undecodable):
        ordinary(record)


@pytest.mark.parametrize("at", [-1, NOW + TIMES.ahead + 1])
def test_a_time_that_is_not_believable_goes_the_ordinary_way(at: int) -> None:
    """It ends as a dead letter there."""
    assert short(a_record(an_event(event_timestamp=at))) is None
    assert short(a_record(an_event(event_timestamp=NOW + TIMES.ahead))) is not None


def test_a_union_has_no_third_branch() -> None:
    """Nor a branch whose number is out of the ordinary."""
    value = wire(an_event(browser=None))

    assert short(FakeRecord(value=value)) is not None
    assert short(FakeRecord(value=value[:-1] + b"\x04")) is None


@pytest.mark.parametrize(
    ("changes", "of_slice"),
    [
        ({"value": None}, {}),
        ({"value": b""}, {}),
        ({"value": b"\0\0"}, {}),
        ({"value": b"\x01" + wire(an_event())[1:]}, {}),
        ({"value": wire(an_event(), schema_id=7)}, {}),
        ({"headers": (("trace", b"7"),)}, {}),  # it may be a replayed dead letter
        ({}, {"topic_id": None}),
    ],
)
def test_there_is_not_always_a_short_way(changes: Mapping[str, Any], of_slice: Mapping[str, Any]) -> None:
    """No value, no header, no schema, headers of the record, an old broker."""
    assert short(a_record()) is not None
    assert short(a_record(**changes), **of_slice) is None


def test_offsets_of_two_sizes_in_one_slice_go_the_ordinary_way() -> None:
    """BSON has them as int32 up to 2³¹ - 1; once in the life of a partition a batch has both."""
    below, beyond = (a_record(offset=offset) for offset in (2**31 - 1, 2**31))
    both = FastPath(a_batch(below, beyond), SCHEMAS, times=TIMES, received_at=RECEIVED_AT)

    assert [None, None] == [both.document(below), both.document(beyond)]
    assert None not in [short(below), short(beyond)]


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
        _with("kafka", "string"),  # a name of ours
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
def test_other_schemas_have_no_short_way(schema: Any) -> None:
    """Their records go the generic path."""
    writer = writer_schema(schema, schema_id=4, version="v4")

    assert writer.problem is None
    assert writer.transcode is None


def test_a_schema_that_is_no_events_has_no_short_way() -> None:
    """There is nothing to lead to."""
    assert writer_schema("string", schema_id=4, version="v4").transcode is None


def test_a_text_of_negative_length_is_none() -> None:
    """To go back by it would read the same byte three times here: as user, event type and time."""
    body = b"\x01" + b"\x04tv" + b"\x04DE"
    assert V1.transcode is not None

    with pytest.raises(_Unusual):
        V1.transcode(wire(an_event())[:5] + body, b"", b"")


def test_what_texts_become_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events with the same texts share what rollups count by, but for long ones; no more than so many are kept."""
    monkeypatch.setattr(transcoder, "_REMEMBERED_MOST", 3)
    schemas = {1: writer_schema(event.schema(1), schema_id=1, version="v1")}

    def values(event_type: str, **changes: Any) -> Any:
        made = short(a_record(an_event(event_type=event_type, **changes)), schemas)
        assert made is not None
        return made.row[3]

    first = values("click")
    assert values("click", user_id="another", event_timestamp=NOW - 1) is first
    assert values("x" * 600) is not values("x" * 600)
    for other in ("a", "b"):
        values(other)
    assert values("click") is first
    values("c")
    assert values("click") is not first


def test_every_field_of_an_event_is_told_apart() -> None:
    """The bytes of two events with different texts never pass for each other's, however texts are cut in two."""
    texts = ["", "a", "aa", "aaa"]
    events = [
        an_event(event_type=type_, metadata={"device": device, "location": location}, browser=browser)
        for type_, device, location, browser in product(texts, texts, texts, [None, *texts])
    ]
    records = [FakeRecord(value=wire(each)) for each in events * 2]

    for record in records:
        made = short(record)
        assert made is not None
        assert made.raw == bson.encode(ordinary(record))
