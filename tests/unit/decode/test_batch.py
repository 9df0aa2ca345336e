"""Records turned into documents; most of it is tested with the sink."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from bson import DatetimeMS

from streamapp.decode.batch import Built, build
from streamapp.decode.document import Encoded, EventTimes
from tests.support.factories import V1, V2, a_record, a_slice, an_event


def test_what_comes_apart_has_no_turn() -> None:
    """A replayed dead letter's offset says nothing of when its event came."""
    records = [a_record(offset=7), a_record(offset=8)]

    assert [(8, "b")] == [*Built([{"_id": "a"}, {"_id": "b"}], [*records], ["v1", "v1"], [], {0}).places()]


def test_what_comes_apart_can_be_marked() -> None:
    """With all its fields, also where it was made the short way; what comes in its turn stays as it is."""
    slice_ = a_slice(a_record(offset=7), a_record(offset=8, timestamp=2**60))
    built = build(slice_, {1: V1}, times=EventTimes(earliest=0, ahead=0), received_at=datetime.now(UTC))
    built.apart.add(1)

    in_turn, apart = built.split()

    assert [7] == [document.row[0] for document in in_turn.documents if isinstance(document, Encoded)]
    (document,) = apart.documents
    assert isinstance(document, dict)
    assert (8, DatetimeMS(2**60)) == (document["kafka"]["offset"], document["kafka"]["timestamp"])


@pytest.mark.parametrize("changes", [{}, {"browser": "opera"}, {"browser": None}])
def test_events_of_ours_go_the_short_way(changes: dict[str, str | None]) -> None:
    """Or it would be of no use, and nobody would notice."""
    slice_, times = a_slice(a_record(an_event(**changes))), EventTimes(earliest=0, ahead=0)

    (document,) = build(slice_, {1: V1, 2: V2}, times=times, received_at=datetime.now(UTC)).documents

    assert isinstance(document, Encoded)
