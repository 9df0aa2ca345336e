"""An event and its origin become a document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import DatetimeMS

from streamapp.decode import document
from streamapp.decode.document import EventTimes, LazyDocument, row_of
from streamapp.decode.writer_schema import writer_schema
from streamapp.errors import Undecodable
from streamapp.model import event
from streamapp.model.record import Origin, Reason, origin_of
from streamapp.model.user_event import OPTIONAL
from tests.support.factories import NOW, TOPIC_ID, V1, V2, a_record, an_event

RECEIVED_AT = datetime(2026, 9, 22, tzinfo=UTC)
TIMES = EventTimes(earliest=946_684_800_000, ahead=86_400_000)
ORIGIN = Origin("user_events", 3, 42, NOW, TOPIC_ID)


def build(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Build with defaults for everything that a test does not give."""
    return document.build(
        values, **{"writer": V1, "origin": ORIGIN, "received_at": RECEIVED_AT, "times": TIMES} | changes
    )


def test_a_document_has_the_documented_fields() -> None:
    """Every field, and no other."""
    expected = {
        "_id": f"{TOPIC_ID}-3-42",
        **an_event(),
        **{field.name: None for field in OPTIONAL},
        "schema_version": "v1",
        "schema_id": 1,
        "received_at": RECEIVED_AT,
        "kafka": {"topic": "user_events", "partition": 3, "offset": 42, "timestamp": DatetimeMS(NOW)},
    }

    assert expected == build(an_event())


def test_a_browser_is_kept() -> None:
    """Only a field that is absent becomes null."""
    assert build(an_event(browser="opera"), writer=V2)["browser"] == "opera"


def test_a_recreated_topic_has_other_ids() -> None:
    """Same partition and offset, another topic id."""
    again = ORIGIN._replace(topic_id="AAAAAAAAAAAAAAAAAAAAAC")

    assert document.id_of(ORIGIN) != document.id_of(again)


def test_without_a_topic_id_the_id_has_the_timestamp() -> None:
    """For brokers that have no topic ids."""
    assert document.id_of(ORIGIN._replace(topic_id=None)) == f"user_events-3-42-{NOW}"


def test_fields_with_reserved_names_are_stored_under_extra() -> None:
    """A writer's `_id` or `kafka` must not replace streamapp's."""
    schema = {
        **event.schema(1),
        "fields": [*event.schema(1)["fields"], {"name": "_id", "type": "string"}, {"name": "kafka", "type": "int"}],
    }
    writer = writer_schema(schema, schema_id=5, version="v5")

    made = build(an_event(_id="theirs", kafka=7), writer=writer)

    assert {"_id": "theirs", "kafka": 7} == made["extra"]
    assert made["_id"] == document.id_of(ORIGIN)
    assert made["kafka"]["offset"] == 42


def test_a_writers_extra_keeps_its_fields() -> None:
    """If a writer has both an `extra` and a field with a reserved name."""
    extra = {"name": "extra", "type": {"type": "map", "values": "int"}}
    schema = {
        **event.schema(1),
        "fields": [*event.schema(1)["fields"], extra, {"name": "kafka", "type": "int"}],
    }
    writer = writer_schema(schema, schema_id=5, version="v5")

    assert {"a": 1, "kafka": 7} == build(an_event(extra={"a": 1}, kafka=7), writer=writer)["extra"]


def test_bytes_are_read_as_strings() -> None:
    """As Avro's promotion rules allow."""
    assert build(an_event(user_id=b"user-7"))["user_id"] == "user-7"


def test_bytes_that_are_not_utf8_are_undecodable() -> None:
    """The error names the field."""
    with pytest.raises(Undecodable, match="user_id is not UTF-8") as caught:
        build(an_event(user_id=b"\xff"))

    assert Reason.UNDECODABLE == caught.value.reason


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user_id": None}, "user_id"),
        ({"event_timestamp": None}, "event_timestamp"),
        ({"metadata": None}, "metadata"),
        ({"metadata": {"device": None, "location": "DE"}}, "device"),
        ({"metadata": {"another": "branch"}}, "device"),
        ({"metadata": "another branch"}, "metadata"),
    ],
)
def test_null_in_a_required_field_is_incompatible(changes: dict[str, Any], field: str) -> None:
    """The error names the field."""
    with pytest.raises(Undecodable, match=field) as caught:
        build(an_event(**changes))

    assert Reason.INCOMPATIBLE_SCHEMA == caught.value.reason


@pytest.mark.parametrize("at", [TIMES.earliest, NOW, NOW + TIMES.ahead])
def test_event_times_in_range_are_accepted(at: int) -> None:
    """The range includes both bounds."""
    assert at == build(an_event(event_timestamp=at))["event_timestamp"]


@pytest.mark.parametrize("at", [TIMES.earliest - 1, 0, -1, NOW + TIMES.ahead + 1, 2**62])
def test_event_times_out_of_range_are_rejected(at: int) -> None:
    """Each would create buckets of rollups."""
    with pytest.raises(Undecodable) as caught:
        build(an_event(event_timestamp=at))

    assert Reason.TIMESTAMP_OUT_OF_RANGE == caught.value.reason


def test_a_replayed_dead_letter_keeps_its_first_origin() -> None:
    """A dead letter that is replayed twice is stored once."""
    headers = {
        "topic": "user_events",
        "partition": "3",
        "offset": "42",
        "timestamp": str(NOW),
        "attempt": "1",
        "incarnation": TOPIC_ID,
    }
    record = a_record(
        offset=977, partition=3, headers=tuple((f"streamapp.{k}", v.encode()) for k, v in headers.items())
    )

    assert ORIGIN._replace(failures=1) == origin_of(record, TOPIC_ID)


REPLAYED = {
    "topic": b"user_events",
    "partition": b"3",
    "offset": b"42",
    "timestamp": b"5",
    "attempt": b"1",
    "incarnation": b"",
}


@pytest.mark.parametrize(
    "headers",
    [
        {"offset": b"42"},
        {"topic": b"\xff"},
        {**REPLAYED, "topic": None},
        {**REPLAYED, "timestamp": None},
        {**REPLAYED, "offset": str(2**63).encode()},
        {**REPLAYED, "timestamp": b"-2"},
        {**REPLAYED, "partition": b"three"},
    ],
    ids=str,
)
def test_headers_of_other_programs_are_ignored(headers: dict[str, bytes | None]) -> None:
    """The record's own coordinates are used."""
    pairs = tuple((f"streamapp.{name}", value) for name, value in headers.items())

    assert origin_of(a_record(offset=5, headers=pairs), TOPIC_ID).offset == 5


def test_a_document_can_be_encoded() -> None:
    """As BSON."""
    assert bson.decode(bson.encode(build(an_event(), received_at=RECEIVED_AT)))["kafka"][
        "timestamp"
    ] == datetime.fromtimestamp(NOW / 1000)  # noqa: DTZ006 - naive in, naive out; both UTC


def test_a_lazy_document_equals_the_decoded_one() -> None:
    """In its fields, their order and number."""
    made = build(an_event())
    encoded = LazyDocument(bson.encode(made), *row_of(made))

    assert encoded == bson.decode(encoded.raw)
    assert list(made) == list(encoded)
    assert len(made) == len(encoded)
    assert "browser" in encoded
    assert "nothing" not in encoded


def test_a_row_needs_no_optional_field() -> None:
    """A document stored before the field existed does not have it."""
    made = build(an_event(browser="opera"), writer=V2)
    older = {name: value for name, value in made.items() if name != "browser"}

    assert ("opera", None) == (row_of(made).dimensions.browser, row_of(older).dimensions.browser)
    with pytest.raises(KeyError):
        row_of({name: value for name, value in made.items() if name != "event_type"})
