"""Wire bytes ↔ event."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamapp.decode import encoder, wire_format
from streamapp.decode.wire_format import EventCodec
from streamapp.decode.writer_schema import writer_schema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.record import UNREADABLE, Reason
from streamapp.model.user_event import VERSIONS
from streamapp.transport.faust_codec import FaustCodec
from tests.support.factories import NOW, V1, V2, an_event, wire


def test_an_event_reads_as_it_was_written() -> None:
    """A record is read with the schema that it was written with."""
    values = an_event(browser="firefox")

    assert values == wire_format.read(wire(values), V2)


def test_the_header_has_confluents_format() -> None:
    """Byte 0, then the schema id in four bytes, big endian."""
    assert b"\x00\x00\x01\x02\x03" == wire(an_event(), schema_id=0x010203)[:5]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.TOMBSTONE),
        (b"", Reason.EMPTY),
        (b"\x01\x00\x00\x00\x01", Reason.BAD_MAGIC_BYTE),
        (b"{}", Reason.BAD_MAGIC_BYTE),
        (b"\x00\x00\x00\x01", Reason.TRUNCATED),
    ],
)
def test_a_value_without_header_has_a_reason(value: bytes | None, reason: Reason) -> None:
    """The dead letter says what is wrong with the first bytes."""
    with pytest.raises(Undecodable) as caught:
        wire_format.schema_id_of(value)

    assert reason == caught.value.reason


def test_bytes_that_the_transport_could_not_read_are_named() -> None:
    """No producer has written the first byte."""
    with pytest.raises(Undecodable, match=r"cannot read.*see the warning"):
        wire_format.schema_id_of(UNREADABLE + b"some bytes")


def test_a_truncated_record_is_detected() -> None:
    """No prefix of a record is decoded; each is reported as truncated, also within a number."""
    whole = wire(an_event(browser="firefox"))

    for length in range(1, len(whole)):
        with pytest.raises(Undecodable) as caught:
            wire_format.decode(whole[:length], {2: V2})
        assert Reason.TRUNCATED == caught.value.reason, length


def test_bytes_after_the_body_are_detected() -> None:
    """A body that is longer than its schema says was written with another one."""
    with pytest.raises(Undecodable) as caught:
        wire_format.read(wire(an_event(browser="firefox"), schema_id=1), V1)

    assert Reason.UNDECODABLE == caught.value.reason


def test_a_body_of_random_bytes_is_undecodable() -> None:
    """Any error of the reader makes the record undecodable."""
    with pytest.raises(Undecodable):
        wire_format.read(wire(an_event())[:5] + b"\x0a\xff\xfe\xfd\xfc\xfb" * 9, V1)


def test_a_schema_of_another_record_is_incompatible() -> None:
    """Valid Avro of an unrelated record is not an event."""
    order = {"type": "record", "name": "Order", "fields": [{"name": "total", "type": "double"}]}

    with pytest.raises(Undecodable) as caught:
        wire_format.read(wire({"total": 1.5}, order, 3), writer_schema(order, schema_id=3, version="v3"))

    assert Reason.INCOMPATIBLE_SCHEMA == caught.value.reason
    assert "user_id is missing" in str(caught.value)


def test_the_faust_codec_reads_what_it_writes() -> None:
    """The codec registered with Faust writes V1 or V2 and reads both."""
    pair = FaustCodec(lambda: wire_format.EventCodec({1: V1, 2: V2}))

    for values in (an_event(), an_event(browser=None), an_event(browser="safari")):
        assert values == pair.loads(pair.dumps(values))


@pytest.mark.parametrize(("changes", "version"), [({}, 1), ({"browser": "firefox"}, 2), ({"browser": None}, 2)])
def test_an_event_is_written_with_the_first_version_that_has_its_fields(changes: dict[str, Any], version: int) -> None:
    """A null counts as a field."""
    written = EventCodec({1: V1, 2: V2}).dumps(an_event(**changes))

    assert (version, wire(an_event(**changes))) == (wire_format.schema_id_of(written), written)


_texts = st.text(max_size=70) | st.text(st.characters(min_codepoint=128, codec="utf-8"), min_size=31, max_size=33)
_events = st.fixed_dictionaries(
    {
        "user_id": _texts,
        "event_type": _texts,
        "event_timestamp": st.integers(-(2**63), 2**63 - 1) | st.integers(NOW - 2**40, NOW + 2**40),
        "metadata": st.fixed_dictionaries({"device": _texts, "location": _texts}),
    },
    optional={"browser": st.none() | _texts},
)


@given(_events)
@example(an_event(event_timestamp=2**34 - 1))
@example(an_event(event_timestamp=2**34))
@example(an_event(event_timestamp=2**41 - 1))
@example(an_event(event_timestamp=2**41))
def test_the_generated_encoder_returns_the_bytes_of_fastavro(values: dict[str, Any]) -> None:
    """Also for long strings, none, and times of any size."""
    assert wire(values) == EventCodec({1: V1, 2: V2}).dumps(values)


@pytest.mark.parametrize("version", VERSIONS)
def test_schemas_of_streamapp_have_a_generated_encoder(version: int) -> None:
    """Otherwise `send-sample` would be slower than it has to be."""
    assert encoder.compiled(event.schema(version)) is not None


@pytest.mark.parametrize("changes", [{"user_id": 7}, {"event_timestamp": "now"}, {"metadata": None}])
def test_an_invalid_event_is_not_written(changes: dict[str, Any]) -> None:
    """Fastavro says what is wrong."""
    with pytest.raises((TypeError, ValueError, AttributeError)):
        EventCodec({1: V1}).dumps(an_event(**changes))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "country", "type": "string", "default": "DE"},
        {"name": "country", "type": ["string", "null"]},
        {"name": "country", "type": {"type": "string", "logicalType": "iso-3166"}},
        {"name": "country", "type": ["null", "int", "string"], "default": None},
    ],
)
def test_a_changed_schema_file_is_followed(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    """The files in schemas/ define how events are written."""
    before = event.schema(1)
    changed = {**before, "fields": [*before["fields"], change]}
    monkeypatch.setattr(event, "schema", lambda _: changed)

    written = EventCodec({1: V1}).dumps(an_event(country="FR"))

    assert wire(an_event(country="FR"), changed) == written
