"""From event and origin to document."""

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
from tests.support.factories import NOW, TOPIC_ID, V1, V2, a_record, an_event

RECEIVED_AT = datetime(2026, 9, 21, tzinfo=UTC)
TIMES = EventTimes(earliest=946_684_800_000, ahead=86_400_000)
ORIGIN = Origin("user_events", 3, 42, NOW, TOPIC_ID)


def build(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Build with everything usual but what a test says."""
    return document.build(
        values, **{"writer": V1, "origin": ORIGIN, "received_at": RECEIVED_AT, "times": TIMES} | changes
    )


def test_the_document_is_the_contracts() -> None:
    """Every field, and no other."""
    expected = {
        "_id": f"{TOPIC_ID}-3-42",
        **an_event(),
        "browser": None,
        "schema_version": "v1",
        "schema_id": 1,
        "received_at": RECEIVED_AT,
        "kafka": {"topic": "user_events", "partition": 3, "offset": 42, "timestamp": DatetimeMS(NOW)},
    }

    assert expected == build(an_event())


def test_a_browser_is_kept() -> None:
    """V2 brings its own."""
    assert build(an_event(browser="opera"), writer=V2)["browser"] == "opera"


def test_a_topic_made_again_has_other_ids() -> None:
    """Same partition and offset, another life."""
    again = ORIGIN._replace(topic_id="AAAAAAAAAAAAAAAAAAAAAC")

    assert document.id_of(ORIGIN) != document.id_of(again)


def test_without_incarnation_the_timestamp_tells_lives_apart() -> None:
    """For brokers that have no topic ids."""
    assert document.id_of(ORIGIN._replace(topic_id=None)) == f"user_events-3-42-{NOW}"


def test_fields_named_like_ours_go_under_extra() -> None:
    """A writer's `_id` or `kafka` must not overwrite ours."""
    schema = {
        **event.schema(1),
        "fields": [*event.schema(1)["fields"], {"name": "_id", "type": "string"}, {"name": "kafka", "type": "int"}],
    }
    writer = writer_schema(schema, schema_id=5, version="v5")

    made = build(an_event(_id="theirs", kafka=7), writer=writer)

    assert {"_id": "theirs", "kafka": 7} == made["extra"]
    assert made["_id"] == document.id_of(ORIGIN)
    assert made["kafka"]["offset"] == 42


def test_extra_of_theirs_keeps_its_fields() -> None:
    """Where a writer has both an `extra` and a field named like ours."""
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


def test_bytes_that_are_no_text_are_undecodable() -> None:
    """And the field is named."""
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
def test_null_in_a_field_that_every_event_has_is_incompatible(changes: dict[str, Any], field: str) -> None:
    """And the field is named."""
    with pytest.raises(Undecodable, match=field) as caught:
        build(an_event(**changes))

    assert Reason.INCOMPATIBLE_SCHEMA == caught.value.reason


@pytest.mark.parametrize("at", [TIMES.earliest, NOW, NOW + TIMES.ahead])
def test_believable_times_pass(at: int) -> None:
    """Both bounds are inside."""
    assert at == build(an_event(event_timestamp=at))["event_timestamp"]


@pytest.mark.parametrize("at", [TIMES.earliest - 1, 0, -1, NOW + TIMES.ahead + 1, 2**62])
def test_unbelievable_times_are_out_of_range(at: int) -> None:
    """Or they would mint buckets of rollups."""
    with pytest.raises(Undecodable) as caught:
        build(an_event(event_timestamp=at))

    assert Reason.TIMESTAMP_OUT_OF_RANGE == caught.value.reason


def test_a_replayed_dead_letter_keeps_its_first_origin() -> None:
    """So replaying it twice stores one document."""
    headers = {
        "topic": "user_events",
        "partition": "3",
        "offset": "42",
        "timestamp": str(NOW),
        "attempt": "1",
        "incarnation": TOPIC_ID,
    }
    record = a_record(
        offset=977, partition=1, headers=tuple((f"streamapp.{k}", v.encode()) for k, v in headers.items())
    )

    assert ORIGIN._replace(failures=1) == origin_of(record, "another life")


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
        {**REPLAYED, "timestamp": b"-1"},
        {**REPLAYED, "partition": b"three"},
    ],
    ids=str,
)
def test_headers_that_are_not_a_dead_letters_say_nothing(headers: dict[str, bytes | None]) -> None:
    """A record's own coordinates hold."""
    pairs = tuple((f"streamapp.{name}", value) for name, value in headers.items())

    assert origin_of(a_record(offset=5, headers=pairs), TOPIC_ID).offset == 5


def test_a_document_can_be_encoded() -> None:
    """Down to BSON."""
    assert bson.decode(bson.encode(build(an_event(), received_at=RECEIVED_AT)))["kafka"][
        "timestamp"
    ] == datetime.fromtimestamp(NOW / 1000)  # noqa: DTZ006 - naive in, naive out; both UTC


def test_an_encoded_document_is_the_one_that_it_encodes() -> None:
    """To whoever looks at its fields."""
    made = build(an_event())
    encoded = LazyDocument(bson.encode(made), *row_of(made))

    assert encoded == bson.decode(encoded.raw)
    assert list(made) == list(encoded)
    assert len(made) == len(encoded)
    assert "browser" in encoded
    assert "nothing" not in encoded
