"""Records turned into documents; most of it is tested with the sink."""

from __future__ import annotations

from streamapp.building import Built
from tests.factories import a_record


def test_what_comes_apart_has_no_turn() -> None:
    """A replayed dead letter's offset says nothing of when its event came."""
    records = [a_record(offset=7), a_record(offset=8)]

    assert [(8, "b")] == [*Built([{"_id": "a"}, {"_id": "b"}], [*records], [], {0}).places()]
