"""Records are decoded into documents; most of it is tested with the sink."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bson import DatetimeMS

from streamapp.decode.batch import NEXT_IS_LARGE, DecodedBatch, DecodedEvents, parts
from streamapp.decode.document import EventTimes, LazyDocument
from streamapp.decode.kernel import KERNEL, Kernel
from streamapp.decode.writer_schema import writer_schema
from streamapp.model import event
from streamapp.model.record import Reason, origin_of
from streamapp.mongodb.event_store import why_unencodable
from tests.support.factories import V1, V2, FakeRecord, a_batch, a_letter, a_record, an_event, replayed, wire


def test_events_out_of_order_have_no_place_in_the_partition() -> None:
    """The offset of a replayed dead letter does not say when its event arrived."""
    records = [a_record(offset=7), a_record(offset=8)]

    events = DecodedEvents([{"_id": "a"}, {"_id": "b"}], records, ["v1", "v1"])

    assert [8] == [*DecodedBatch(events, [], {0}, 8).offsets()]


def test_documents_out_of_order_are_decoded() -> None:
    """With all fields, also those of the fast path; documents in order stay encoded."""
    batch = a_batch(a_record(offset=7), a_record(offset=8, timestamp=2**60))
    (decoded,) = parts(batch, {1: V1}, times=EventTimes(earliest=0, ahead=0), received_at=datetime.now(UTC))

    in_order, out_of_order, _ = decoded.split({8})

    assert [7] == [document.offset for document in in_order.documents if isinstance(document, LazyDocument)]
    (document,) = out_of_order.documents
    assert isinstance(document, dict)
    assert (8, DatetimeMS(2**60)) == (document["kafka"]["offset"], document["kafka"]["timestamp"])


def test_events_that_failed_before_are_found_by_the_offset_of_their_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read the `_id` of each event in order would decode it. A replay has the offset of its own record."""
    replay = a_record(offset=9, headers=replayed(a_letter(offset=7)))
    batch = a_batch(a_record(offset=7), a_record(offset=8), replay)
    batch.replays = {9: origin_of(replay, batch.topic_id)}
    (decoded,) = parts(batch, {1: V1}, times=ANY_TIME, received_at=datetime.now(UTC))
    monkeypatch.setattr(LazyDocument, "__getitem__", None)

    assert [7, 8] == [*decoded.offsets()]
    in_order, out_of_order, _ = decoded.split({8})

    assert [7] == [record.offset for record in in_order.records]
    assert [8, 9] == [record.offset for record in out_of_order.records]


def test_parts_of_a_batch_share_nothing_that_changes() -> None:
    """A refusal in one part adds no dead letter to the batch or to the other part."""
    batch = a_batch(a_record(offset=7), a_record(offset=8), FakeRecord(value=b"", offset=9))
    (decoded,) = parts(batch, {1: V1}, times=EventTimes(earliest=0, ahead=0), received_at=datetime.now(UTC))

    in_order, out_of_order, dead = decoded.split({8})
    (refused,) = in_order.dead_letters({0: "too odd"}, batch)

    assert (7, Reason.REFUSED_BY_STORE, "too odd", 1) == (
        refused.record.offset,
        refused.reason,
        refused.error,
        refused.schema_id,
    )
    assert [9] == [letter.record.offset for letter in dead] == [letter.record.offset for letter in decoded.dead]
    assert (1, 1) == (len(in_order.records), len(out_of_order.records))


@pytest.mark.parametrize("changes", [{}, {"browser": "opera"}, {"browser": None}])
def test_events_of_the_known_schemas_take_the_fast_path(changes: dict[str, str | None]) -> None:
    """Nothing else would show that it is no longer used."""
    batch, times = a_batch(a_record(an_event(**changes))), EventTimes(earliest=0, ahead=0)

    (decoded,) = parts(batch, {1: V1, 2: V2}, times=times, received_at=datetime.now(UTC))
    (document,) = decoded.events.documents

    assert isinstance(document, LazyDocument)


ANY_TIME = EventTimes(earliest=0, ahead=0)
ITEMS = {"type": "array", "items": {"type": "record", "name": "Item", "fields": [{"name": "a", "type": "boolean"}]}}
TAGS = {"type": "map", "values": "int"}
EXPANDING = {**event.schema(1), "fields": [*event.schema(1)["fields"], {"name": "items", "type": ITEMS}]}


def test_a_document_of_the_generic_path_is_encoded() -> None:
    """A batch of small records in memory would be ten times as large."""
    value = wire(an_event(items=[{"a": True}] * 10_000), EXPANDING, 3)
    schemas = {3: writer_schema(EXPANDING, schema_id=3, version="v3")}
    times = EventTimes(earliest=0, ahead=0)

    is_large, decoded = parts(a_batch(FakeRecord(value=value)), schemas, times=times, received_at=datetime.now(UTC))

    assert is_large is NEXT_IS_LARGE
    (document,) = decoded.events.documents
    assert isinstance(document, LazyDocument)
    assert [{"a": True}] * 10_000 == document["items"]
    assert len(document.raw) > 10 * len(value)


def test_a_document_that_bson_cannot_hold_stays_as_it_is() -> None:
    """The store refuses it with the reason: BSON has no field name with a NUL."""
    schema = {**event.schema(1), "fields": [*event.schema(1)["fields"], {"name": "tags", "type": TAGS}]}
    value = wire(an_event(tags={"a\0b": 1}), schema, 3)
    schemas = {3: writer_schema(schema, schema_id=3, version="v3")}

    (decoded,) = parts(a_batch(FakeRecord(value=value)), schemas, times=ANY_TIME, received_at=datetime.now(UTC))

    (document,) = decoded.events.documents
    assert {"a\0b": 1} == document["tags"]
    assert "NUL" in (why_unencodable(document) or "").upper()


@pytest.mark.parametrize("bad", [False, True])
def test_a_batch_that_expands_is_decoded_in_parts(bad: bool) -> None:
    """In offset order, each with its last offset. Records that become dead letters count, too."""
    value = wire(an_event(items=[{"a": True}] * 25_000), EXPANDING, 3) + b"\0" * bad
    records = [FakeRecord(value=value, offset=offset) for offset in range(5)]
    schemas = {3: writer_schema(EXPANDING, schema_id=3, version="v3")}

    made = [*parts(a_batch(*records), schemas, times=ANY_TIME, received_at=datetime.now(UTC))]

    decoded = made[1::2]
    assert [NEXT_IS_LARGE] * 5 == made[::2]
    assert [0, 1, 2, 3, 4] == [part.last_offset for part in decoded]
    assert [1] * 5 == [len(part.dead if bad else part.events.records) for part in decoded]


def test_a_batch_on_the_fast_path_is_one_part() -> None:
    """Its documents are about as large as the records."""
    records = [a_record(offset=offset) for offset in range(5_000)]

    (decoded,) = parts(a_batch(*records), {1: V1}, times=ANY_TIME, received_at=datetime.now(UTC))

    assert (5_000, 4_999) == (len(decoded.events.documents), decoded.last_offset)


@pytest.mark.parametrize("chosen", [None, KERNEL], ids=["python", "compiled"])
def test_headers_are_stored_with_each_event(chosen: Kernel | None) -> None:
    """Of several records of one client, of another one, and of a record on the generic path."""
    web, ios = (("client", b"web"), ("trace", b"1")), (("client", b"ios"),)
    headers = [web, ios, (), web, (*web, ("streamapp.note", b"x"))]
    records = [a_record(offset=offset, headers=each) for offset, each in enumerate(headers)]

    (part,) = parts(
        a_batch(*records),
        {1: V1},
        times=ANY_TIME,
        received_at=datetime.now(UTC),
        kernel=chosen,
        header_fields={"client": "client"},
    )

    stored = [each["kafka"].get("headers", {}).get("client") for each in part.events.documents]
    assert ["web", "ios", None, "web", "web"] == stored
