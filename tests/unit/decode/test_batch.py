"""Records turned into documents; most of it is tested with the sink."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bson import DatetimeMS

from streamapp.decode.batch import DecodedBatch, build
from streamapp.decode.document import EventTimes, LazyDocument
from tests.support.factories import V1, V2, a_batch, a_record, an_event


def test_what_comes_apart_has_no_turn() -> None:
    """A replayed dead letter's offset says nothing of when its event came."""
    records = [a_record(offset=7), a_record(offset=8)]

    assert [(8, "b")] == [*DecodedBatch([{"_id": "a"}, {"_id": "b"}], [*records], ["v1", "v1"], [], {0}).places()]


def test_what_comes_apart_can_be_marked() -> None:
    """With all its fields, also where it was made the fast path; what comes in order stays as it is."""
    batch = a_batch(a_record(offset=7), a_record(offset=8, timestamp=2**60))
    decoded = build(batch, {1: V1}, times=EventTimes(earliest=0, ahead=0), received_at=datetime.now(UTC))
    decoded.out_of_order.add(1)

    in_turn, out_of_order = decoded.split()

    assert [7] == [document.row[0] for document in in_turn.documents if isinstance(document, LazyDocument)]
    (document,) = out_of_order.documents
    assert isinstance(document, dict)
    assert (8, DatetimeMS(2**60)) == (document["kafka"]["offset"], document["kafka"]["timestamp"])


@pytest.mark.parametrize("changes", [{}, {"browser": "opera"}, {"browser": None}])
def test_events_of_ours_go_the_short_way(changes: dict[str, str | None]) -> None:
    """Or it would be of no use, and nobody would notice."""
    batch, times = a_batch(a_record(an_event(**changes))), EventTimes(earliest=0, ahead=0)

    (document,) = build(batch, {1: V1, 2: V2}, times=times, received_at=datetime.now(UTC)).documents

    assert isinstance(document, LazyDocument)
