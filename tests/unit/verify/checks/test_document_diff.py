"""Stored documents compared with their records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bson
import pytest
from bson import DatetimeMS

from streamapp.decode import document
from streamapp.decode.avro_schema import UnreadableSchema
from streamapp.decode.identity import with_id_of_its_own
from streamapp.decode.writer_schema import WriterSchema, in_shape_of, writer_schema
from streamapp.model.record import origin_of
from streamapp.verify.checks import document_diff
from streamapp.verify.checks.shape_history import ShapeHistory
from tests.support import shapes
from tests.support.factories import TOPIC_ID, V1, V2, a_record, an_event

SCHEMAS = {1: V1, 2: V2}


def stored(**changes: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Return a record, its origin and its document."""
    record = a_record(an_event(browser="x"))
    origin = origin_of(record, TOPIC_ID)
    made = document.build(
        an_event(browser="x"),
        writer=V2,
        origin=origin,
        received_at=document_diff._SOME_TIME,
        times=document_diff._ANY_TIME,
    )
    return record, origin, bson.decode(bson.encode(made)) | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"schema_version": "unregistered"}, None),
        ({"browser": "y", "more": 1}, "browser, more differ"),
        ({"received_at": 7}, "received_at differs"),
        ({"kafka": 7}, "kafka differs"),
        ({"event_timestamp": 7.0}, "event_timestamp differs"),
        ({"event_timestamp": DatetimeMS(2**60)}, "event_timestamp differs"),
    ],
)
def test_differing_fields_are_named(changes: dict[str, Any], expected: str | None) -> None:
    """The ingest time and an unregistered version may differ."""
    record, origin, found = stored(**changes)
    assert expected == document_diff.difference(bson.encode(found), record, origin, SCHEMAS)


CLIENT = (("client", b"shop"), ("a.b", b"\xff"), ("time", b"\x09received_at\0 1234567"), ("x", None))
SHOP = {"client": "shop", "a%2Eb": "0xff", "time": "\treceived_at\0 1234567"}


@pytest.mark.parametrize(
    ("stored_part", "expected"),
    [
        ({}, None),
        ({"headers": SHOP}, None),
        ({"headers": {"a%2Eb": "0xff"}}, None),
        ({"headers": {"client": "shop"}, "apart": True}, None),
        ({"headers": {"client": "other"}}, "kafka differs"),
        ({"headers": {"x": "1"}}, "kafka differs"),
        ({"headers": {"client": 7}}, "kafka differs"),
        ({"headers": {}}, "kafka differs"),
        ({"headers": 7}, "kafka differs"),
    ],
)
def test_stored_headers_are_those_of_the_record(stored_part: dict[str, Any], expected: str | None) -> None:
    """A worker with another setting stores others, or none."""
    record, origin, found = stored()
    record = record._replace(headers=CLIENT)
    found["kafka"] |= stored_part

    assert expected == document_diff.difference(bson.encode(found), record, origin, SCHEMAS)
    assert (expected is None) == document_diff.has_lost_schema(bson.encode(found), record, origin, {}, NOTED)


def test_a_header_does_not_hide_another_time() -> None:
    """The text that comes before the ingest time may be in a header."""
    record, origin, found = stored(received_at=7)
    found["kafka"] |= {"headers": SHOP}

    assert "received_at differs" == document_diff.difference(
        bson.encode(found), record._replace(headers=CLIENT), origin, SCHEMAS
    )


NOTED = {(2, "v2"): V2.fingerprint}


@pytest.mark.parametrize("now", [None, {"version": "unregistered"}, {"version": "v7"}])
def test_a_label_that_a_worker_has_noted_is_right(now: dict[str, str] | None) -> None:
    """The version may have been deleted since, or registered again."""
    record, origin, found = stored()
    schemas = {2: replace(V2, **now) if now else V2}

    assert document_diff.difference(bson.encode(found), record, origin, schemas, NOTED) is None
    found["browser"] = "y"
    assert document_diff.difference(bson.encode(found), record, origin, schemas, NOTED) == "browser differs"


ANOTHER = replace(V1, schema_id=2, version="v5")
LOST_REFERENCE = writer_schema(UnreadableSchema("it refers to a lost schema"), schema_id=2, version="v2")


SAME_LABEL = replace(V1, schema_id=2, version="v2")


@pytest.mark.parametrize(
    "now",
    [{}, {2: ANOTHER}, {2: SAME_LABEL}, {2: LOST_REFERENCE}],
    ids=["deleted", "id reused", "id and label reused", "no reference"],
)
def test_a_document_of_a_lost_schema_is_not_wrong(now: dict[int, WriterSchema]) -> None:
    """The registry was restored without the schema, or gives its id to another one: nothing is left to compare with."""
    record, origin, found = stored()

    assert document_diff.has_lost_schema(bson.encode(found), record, origin, now, NOTED)


@pytest.mark.parametrize(
    "changes", [{"schema_id": 3}, {"kafka": {"topic": "t"}}, {"kafka": 7}, {"schema_id": None}], ids=str
)
def test_what_needs_no_schema_is_compared_without_one(changes: dict[str, Any]) -> None:
    """The schema's id and the coordinates."""
    record, origin, found = stored(**changes)

    assert not document_diff.has_lost_schema(bson.encode(found), record, origin, {}, NOTED)


def test_a_schema_that_the_registry_has_is_not_lost() -> None:
    """Nor is one under another label that no worker has noted."""
    record, origin, found = stored(browser="y")

    assert not document_diff.has_lost_schema(bson.encode(found), record, origin, SCHEMAS, NOTED)
    # A worker of an earlier version has noted it, without its fingerprint.
    unknown = {(2, "v2"): None}
    assert not document_diff.has_lost_schema(bson.encode(found), record, origin, {2: SAME_LABEL}, unknown)
    assert not document_diff.has_lost_schema(bson.encode(found), record, origin, {2: ANOTHER}, {})
    assert not document_diff.has_lost_schema(bson.encode({}), a_record(value=b""), origin, {}, NOTED)


def test_the_mark_of_an_out_of_order_event_is_no_difference() -> None:
    """`kafka.apart` is true or missing; any other value differs."""
    record, origin, found = stored()
    found["kafka"]["apart"] = True
    assert document_diff.difference(bson.encode(found), record, origin, SCHEMAS) is None
    found["kafka"]["apart"] = "very"
    assert document_diff.difference(bson.encode(found), record, origin, SCHEMAS) == "kafka differs"


def test_an_event_under_an_id_of_its_own_is_compared() -> None:
    """Kafka gave its offset to another record before."""
    record, origin, found = stored()
    own_id = document_diff.id_of_its_own(record, origin, SCHEMAS)
    assert own_id is not None
    beside = with_id_of_its_own(found)

    assert beside["_id"] == own_id
    assert document_diff.difference(bson.encode(beside), record, origin, SCHEMAS) is None
    assert "browser" in str(document_diff.difference(bson.encode({**beside, "browser": "y"}), record, origin, SCHEMAS))
    assert document_diff.id_of_its_own(a_record(value=b""), origin, SCHEMAS) is None


def test_a_duplicate_field_differs() -> None:
    """Readers of the document may see either value."""
    record, origin, found = stored()
    raw, twice = bson.encode(found), bson.encode({"user_id": "EVIL"})[4:-1]
    at = raw.index(b"\x02user_id")
    doubled = (len(raw) + len(twice)).to_bytes(4, "little") + raw[4:at] + twice + raw[at:]
    assert bson.decode(doubled) == found
    assert document_diff.difference(doubled, record, origin, SCHEMAS) == "the fields differ"


def test_invalid_utf8_differs() -> None:
    """The field is named."""
    record, origin, found = stored()
    raw = bson.encode(found).replace(found["user_id"].encode(), b"\xff" * len(found["user_id"]))
    assert document_diff.difference(raw, record, origin, SCHEMAS) == "user_id differs"


def test_a_stored_poison_record_differs() -> None:
    """Its record is not an event."""
    record = a_record(value=b"")
    why = document_diff.difference(bson.encode({}), record, origin_of(record, TOPIC_ID), SCHEMAS)
    assert why == "stored, but the record is not an event (empty)"


def test_ids_are_read_from_raw_batches() -> None:
    """An `_id` may be another type or invalid UTF-8."""
    batch = bson.encode({"_id": "é-1"}) + bson.encode({"_id": 7}) + bson.encode({"_id": "?"}).replace(b"?", b"\xff")
    assert ["é-1", "7", "\ufffd"] == [document_diff.id_in(raw) for raw in document_diff.documents_in(batch)]


AGENT = shapes.latest(shapes.field("agent", shapes.TEXT, "browser", default=None), shapes.field("plan", default="free"))
EARLIER = shapes.latest(shapes.field("browser", shapes.TEXT, default=None), shapes.field("plan", default="paid"))


def without_browser(found: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The document without a field that every document has."""
    return {name: value for name, value in found.items() if name != "browser"} | more


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"plan": "paid"}, None),
        ({"agent": "x", "plan": "free"}, None),
        ({"agent": "x", "plan": "paid"}, None),  # migrated
        ({"agent": "y", "plan": "free"}, "agent differs"),
        ({"plan": "cheap"}, "plan differs"),
        ({"more": 1}, "more differs"),
    ],
)
def test_a_document_may_have_any_shape_that_was_the_latest(more: dict[str, Any], expected: str | None) -> None:
    """Also a mixture, after a migration; what no shape explains differs."""
    record, origin, found = stored(**more)
    history = ShapeHistory([AGENT, EARLIER])

    assert expected == document_diff.difference(bson.encode(found), record, origin, SCHEMAS, history=history)
    why = document_diff.difference(bson.encode(without_browser(found)), record, origin, SCHEMAS, history=history)
    assert "browser" in str(why)


def test_a_document_in_the_latest_shape_is_compared_as_bytes() -> None:
    """It has the fields in the order in which a worker stores them."""
    record, origin, _ = stored()
    latest = in_shape_of(V2, AGENT)
    made = document_diff._expected(bson.encode({"_id": document.id_of(origin)}), record, origin, latest, {})

    assert document_diff.difference(made, record, origin, SCHEMAS, history=ShapeHistory([AGENT])) is None
