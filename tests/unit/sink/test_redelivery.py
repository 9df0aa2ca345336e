"""What happened to the events of a batch before this delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any

import pytest

from streamapp.kafka.dead_letter_contents import headers_of
from streamapp.model.record import PartitionId
from streamapp.retry import OutageRetrier
from streamapp.sink import redelivery
from streamapp.sink.redelivery import Redelivery
from tests.support.factories import TOPIC_ID, a_batch, a_letter, a_record


class Lookups:
    """Records the arguments of each lookup; the high watermark is 5,000, and so is the highest dead letter."""

    def __init__(self, failed: AbstractSet[int] = frozenset(), stored: AbstractSet[str] = frozenset()) -> None:
        self.ids: list[list[str]] = []
        self.stored = stored
        self.offsets: list[list[int]] = []
        self.failed = failed

    async def known(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return the stored events."""
        self.ids.append([*ids])
        return {id_: {} for id_ in self.stored.intersection(ids)}

    async def failed_before(self, _: PartitionId, offsets: Sequence[int]) -> AbstractSet[int]:
        """Return the offsets of dead letters."""
        self.offsets.append([*offsets])
        return self.failed.intersection(offsets)

    async def highest_failed(self, _: PartitionId) -> int:
        """Return the highest offset of a dead letter."""
        return 5_000

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
    ("offsets", "expected", "looked_up"),
    [([4_998, 4_999, 5_001], {4_999}, [[4_998, 4_999]]), ([5_001], set[int](), list[list[int]]())],
)
def test_only_events_up_to_the_highest_dead_letter_can_have_failed_before(
    offsets: list[int], expected: set[int], looked_up: list[list[int]]
) -> None:
    """The others are not looked up; an event that was stored and deleted has not failed."""
    lookups = Lookups(failed={4_999, 5_001})
    batch = a_batch(a_record(offset=4_998), a_record(offset=4_999), a_record(offset=5_001))

    assert expected == asyncio.run(
        Redelivery(lookups, lookups, OutageRetrier("MongoDB")).previously_failed(batch, offsets)
    )
    assert looked_up == lookups.offsets


@pytest.mark.parametrize(
    ("failed", "stored", "is_replay"),
    [
        ({7}, set[str](), True),
        (set[int](), set[str](), False),
        ({7}, {f"{TOPIC_ID}-0-20"}, False),
        ({7, 20}, set[str](), False),
    ],
    ids=["marked", "not marked", "marked after it was stored", "marked after it was a dead letter"],
)
def test_a_record_that_was_handled_before_the_dead_letter_is_no_replay_of_it(
    failed: set[int], stored: set[str], is_replay: bool
) -> None:
    """At each delivery, and for a dead letter of another partition: its offset does not tell which was first."""
    headers = headers_of(a_letter(partition=1, offset=7), failed_at=datetime(2026, 1, 1, tzinfo=UTC), signing_key=None)
    batch = a_batch(a_record(offset=20, headers=tuple(headers)))
    lookups = Lookups(failed, stored)

    found = asyncio.run(Redelivery(lookups, lookups, OutageRetrier("MongoDB")).replays(batch))

    assert ([20] if is_replay else []) == [*found]
