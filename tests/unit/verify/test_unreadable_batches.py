"""The events of a batch that cannot be read are found by their ids."""

from __future__ import annotations

from collections.abc import Container, Mapping

import pytest

from streamapp.decode.document import id_of
from streamapp.model.record import UNKNOWN_TIMESTAMP, Origin, UnreadableRecords
from streamapp.verify.checks.result import PartitionFates
from streamapp.verify.unreadable_batches import UnreadableBatches
from tests.support.factories import TOPIC_ID

FIRST, END = 10, 14


def an_id(offset: int) -> str:
    """Return the `_id` of the event at an offset."""
    return id_of(Origin("user_events", 0, offset, UNKNOWN_TIMESTAMP, TOPIC_ID))


def compared(
    *, stored: Container[str] = (), failed: Container[str] = (), is_settled: bool = True, may_be_aged_out: bool = False
) -> PartitionFates:
    """Compare a batch of four records with these documents and dead letters."""
    batch = UnreadableRecords("user_events", 0, FIRST, UNKNOWN_TIMESTAMP, None, None, ())
    batch.begin, batch.end, batch.why = FIRST, END, "a wrong checksum"
    fates = PartitionFates(partition=0)
    batches = UnreadableBatches(lambda ids: {id_: b"" for id_ in ids if id_ in stored}, failed=failed)
    batches.compare(batch, fates, topic_id=TOPIC_ID, is_settled=is_settled, may_be_aged_out=may_be_aged_out)
    assert ["partition 0, offsets 10 to 13: a wrong checksum"] == batches.places
    assert fates.is_complete
    return fates


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"stored": {an_id(11), an_id(13)}}, {"records": 2, "stored": 2}),
        ({"failed": {an_id(FIRST)}}, {"records": 1, "dead_lettered": 1}),
        ({}, {"records": 1, "missing": 1}),
        ({"is_settled": False}, {"records": 1, "not_settled": 1}),
        ({"may_be_aged_out": True}, {"records": 1, "aged_out": 1}),
        ({"may_be_aged_out": True, "is_settled": False}, {"records": 1, "not_settled": 1}),
    ],
)
def test_a_batch_has_one_fate(facts: Mapping[str, Container[str]], expected: Mapping[str, int]) -> None:
    """It is missing only if MongoDB cannot have deleted its events."""
    fates = compared(**facts)

    assert expected == {name: n for name, n in fates.counts().items() if n}
