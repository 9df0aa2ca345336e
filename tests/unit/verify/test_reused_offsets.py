"""Events whose offset Kafka gave to another record are found under their own `_id`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import bson
from bson import DatetimeMS

from streamapp.decode import document, identity
from streamapp.decode.document import EventTimes
from streamapp.model.record import origin_of
from streamapp.verify.reused_offsets import ReusedOffsets, has_id_of_its_own, is_of_lost_record
from tests.support.factories import NOW, TOPIC_ID, V2, a_record, an_event

SCHEMAS = {2: V2}
RECORD = a_record(an_event(browser="x"))
ORIGIN = origin_of(RECORD, TOPIC_ID)


def event(**changes: Any) -> dict[str, Any]:
    """The document of the record."""
    times = EventTimes(earliest=0, ahead=2**62)
    made = document.build(
        an_event(browser="x"), writer=V2, origin=ORIGIN, received_at=datetime(2026, 1, 1, tzinfo=UTC), times=times
    )
    return {**made, **changes}


def offsets(*documents: Mapping[str, Any]) -> ReusedOffsets:
    """Offsets of a store with these documents."""

    def find(ids: Sequence[str]) -> dict[str, bytes]:
        return {each["_id"]: bson.encode(each) for each in documents if each["_id"] in ids}

    return ReusedOffsets(find)


def test_an_event_under_its_own_id_is_stored() -> None:
    own = identity.with_id_of_its_own(event())
    reused = offsets(own)

    assert reused.is_stored(RECORD, ORIGIN, SCHEMAS, {})
    assert {own["_id"]} == reused.found


def test_another_event_or_none_is_not_stored() -> None:
    """Nor is a record that is no event."""
    own = identity.with_id_of_its_own(event())

    assert not offsets().is_stored(RECORD, ORIGIN, SCHEMAS, {})
    assert not offsets({**own, "browser": "y"}).is_stored(RECORD, ORIGIN, SCHEMAS, {})
    assert not offsets(own).is_stored(a_record(value=b""), ORIGIN, SCHEMAS, {})


def test_the_event_of_a_lost_record_has_another_timestamp() -> None:
    earlier = {**document.kafka_part(ORIGIN), "timestamp": DatetimeMS(NOW - 1)}

    assert is_of_lost_record(bson.encode(event(kafka=earlier)), ORIGIN)
    assert not is_of_lost_record(bson.encode(event()), ORIGIN)
    assert not is_of_lost_record(bson.encode(event(kafka=7)), ORIGIN)


def test_a_replay_at_the_offset_of_a_lost_record_is_no_record_of_its_event() -> None:
    """The event stays, and has no record any more."""
    earlier = {**document.kafka_part(ORIGIN), "timestamp": DatetimeMS(NOW - 1)}

    assert {0} == offsets(event(kafka=earlier)).of_lost_records({0: ORIGIN})
    assert not offsets(event()).of_lost_records({0: ORIGIN})
    assert not offsets().of_lost_records({0: ORIGIN})
    assert not offsets().of_lost_records({})


def test_an_id_of_its_own_is_right_for_its_document_only() -> None:
    own = identity.with_id_of_its_own(event())

    assert has_id_of_its_own(own)
    assert not has_id_of_its_own({**own, "event_type": "another"})
    assert not has_id_of_its_own({"_id": 7})
