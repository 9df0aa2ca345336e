"""What happened to the events of a batch before this delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from streamapp.model.record import PartitionId
from streamapp.retry import OutageRetrier
from streamapp.sink import redelivery
from streamapp.sink.redelivery import Redelivery
from tests.support.factories import TOPIC_ID, a_batch, a_record


class Lookups:
    """Records the ids of each lookup, and finds none of them; the high watermark is 5,000."""

    def __init__(self) -> None:
        self.ids: list[list[str]] = []

    async def known(self, ids: Sequence[str]) -> Mapping[str, bool]:
        """Return nothing."""
        self.ids.append([*ids])
        return {}

    async def uncounted(self, ids: Sequence[str]) -> Sequence[dict[str, Any]]:
        """Return nothing."""
        self.ids.append([*ids])
        return []

    async def high_watermark(self, _: PartitionId) -> int:
        """Return the high watermark."""
        return 5_000


@pytest.mark.parametrize(
    ("begin", "offset", "expected"),
    [(0, 10**12, range(4_900, 5_101)), (4_990, 5_003, range(4_990, 5_003)), (5_001, 5_001, range(0))],
)
def test_orphans_are_searched_around_the_high_watermark(
    monkeypatch: pytest.MonkeyPatch, begin: int, offset: int, expected: range
) -> None:
    """However many offsets were deleted, and at most MAX_IDS_PER_LOOKUP in one lookup."""
    monkeypatch.setattr(redelivery, "MAX_ORPHAN_DISTANCE", 100)
    monkeypatch.setattr(redelivery, "MAX_IDS_PER_LOOKUP", 50)
    lookups = Lookups()

    asyncio.run(
        Redelivery(lookups, lookups, OutageRetrier("MongoDB")).uncounted(a_batch(a_record(offset=offset), begin=begin))
    )

    assert [f"{TOPIC_ID}-0-{each}" for each in expected] == [id_ for ids in lookups.ids for id_ in ids]
    assert all(len(ids) <= 50 for ids in lookups.ids)


@pytest.mark.parametrize(
    ("events", "expected"), [([(4_999, "below"), (5_001, "above")], {"below"}), ([(5_001, "above")], set[str]())]
)
def test_only_events_below_the_high_watermark_can_have_failed_before(
    events: list[tuple[int, str]], expected: set[str]
) -> None:
    """The others are not looked up."""
    lookups = Lookups()
    batch = a_batch(a_record(offset=4_999), a_record(offset=5_001))

    assert expected == asyncio.run(
        Redelivery(lookups, lookups, OutageRetrier("MongoDB")).previously_failed(batch, events)
    )
    assert [[id_] for id_ in expected] == lookups.ids
