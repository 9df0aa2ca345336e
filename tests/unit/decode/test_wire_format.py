"""Wire bytes ↔ event."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamapp.decode import wire_format
from streamapp.decode.wire_format import EventCodec
from streamapp.decode.writer_schema import writer_schema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.record import Reason
from streamapp.transport.faust_codec import FaustCodec
from tests.support.factories import NOW, V1, V2, an_event, wire


def test_an_event_reads_as_it_was_written() -> None:
    """What the writer's schema wrote comes back."""
    values = an_event(browser="firefox")

    assert values == wire_format.read(wire(values), V2)


def test_the_header_is_confluents() -> None:
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
    """Whoever reads the dead letter learns what is wrong with the first bytes."""
    with pytest.raises(Undecodable) as caught:
        wire_format.schema_id_of(value)

    assert reason == caught.value.reason


def test_every_cut_is_noticed() -> None:
    """No prefix of a record passes for a record; each is called truncated, also within a number."""
    whole = wire(an_event(browser="firefox"))

    for length in range(1, len(whole)):
        with pytest.raises(Undecodable) as caught:
            wire_format.decode(whole[:length], {2: V2})
        assert Reason.TRUNCATED == caught.value.reason, length


def test_bytes_left_over_are_noticed() -> None:
    """A body that is longer than its schema says was written with another one."""
    with pytest.raises(Undecodable) as caught:
        wire_format.read(wire(an_event(browser="firefox"), schema_id=1), V1)

    assert Reason.UNDECODABLE == caught.value.reason


def test_a_body_that_is_noise_is_undecodable() -> None:
    """Whatever the reader raises, it is the record's fault."""
    with pytest.raises(Undecodable):
        wire_format.read(wire(an_event())[:5] + b"\x0a\xff\xfe\xfd\xfc\xfb" * 9, V1)


def test_a_schema_of_something_else_is_incompatible() -> None:
    """Valid Avro of an unrelated record is no event."""
    order = {"type": "record", "name": "Order", "fields": [{"name": "total", "type": "double"}]}

    with pytest.raises(Undecodable) as caught:
        wire_format.read(wire({"total": 1.5}, order, 3), writer_schema(order, schema_id=3, version="v3"))

    assert Reason.INCOMPATIBLE_SCHEMA == caught.value.reason
    assert "user_id is missing" in str(caught.value)


def test_fausts_pair_is_each_others_inverse() -> None:
    """The codec registered with Faust writes V1 or V2 and reads both."""
    pair = FaustCodec(lambda: wire_format.EventCodec({1: V1, 2: V2}))

    for values in (an_event(), an_event(browser=None), an_event(browser="safari")):
        assert values == pair.loads(pair.dumps(values))


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
def test_our_events_are_written_as_fastavro_writes_them(values: dict[str, Any]) -> None:
    """To the byte: long texts, none, and times of any size."""
    assert wire(values) == EventCodec({1: V1, 2: V2}).dumps(values)


@pytest.mark.parametrize("changes", [{"user_id": 7}, {"event_timestamp": "now"}, {"metadata": None}])
def test_what_is_no_event_is_not_written(changes: dict[str, Any]) -> None:
    """Fastavro says what is wrong."""
    with pytest.raises((TypeError, ValueError, AttributeError)):
        EventCodec({1: V1}).dumps(an_event(**changes))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "country", "type": "string", "default": "DE"},
        {"name": "country", "type": ["null", "string"], "default": None},
        {"name": "country", "type": "string"},
        {"name": "country", "type": {"type": "record", "name": "Country", "fields": []}, "default": {}},
    ],
)
def test_a_schema_that_somebody_has_changed_is_followed(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    """The files in schemas/ say how events are written, whatever the code thinks they say."""
    before = event.schema(1)
    changed = {**before, "fields": [*before["fields"], change]}
    monkeypatch.setattr(event, "schema", lambda _: changed)

    written = EventCodec({1: V1}).dumps(an_event(country="FR"))

    assert wire(an_event(country="FR"), changed) == written


@pytest.mark.parametrize(
    "kind", [{"type": "record", "name": "User", "fields": [{"name": "id", "type": "string"}]}, "long"]
)
def test_a_schema_with_another_kind_of_user_is_followed(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    """Whatever fastavro says of a text in its place: the worker starts."""
    before = event.schema(1)
    changed = {**before, "fields": [{"name": "user_id", "type": kind}, *before["fields"][1:]]}
    monkeypatch.setattr(event, "schema", lambda _: changed)
    user = 7 if kind == "long" else {"id": "u"}

    assert wire(an_event(user_id=user), changed) == EventCodec({1: V1}).dumps(an_event(user_id=user))
