"""What has become of a batch's events before it came."""

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


class Asked:
    """Notes which ids it is asked for, and has none of them; some rollup holds offset 5,000."""

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
        """Return the last offset counted."""
        return 5_000


@pytest.mark.parametrize(
    ("begin", "offset", "expected"),
    [(0, 10**12, range(4_900, 5_101)), (4_990, 5_003, range(4_990, 5_003)), (5_001, 5_001, range(0))],
)
def test_orphans_are_looked_for_around_the_last_offset_counted(
    monkeypatch: pytest.MonkeyPatch, begin: int, offset: int, expected: range
) -> None:
    """However many offsets were deleted: a worker holds so many at the most; and never too many at once."""
    monkeypatch.setattr(redelivery, "ORPHANS_WITHIN", 100)
    monkeypatch.setattr(redelivery, "LOOKED_UP_AT_ONCE", 50)
    asked = Asked()

    asyncio.run(
        Redelivery(asked, asked, OutageRetrier("MongoDB")).orphans(a_batch(a_record(offset=offset), begin=begin))
    )

    assert [f"{TOPIC_ID}-0-{each}" for each in expected] == [id_ for ids in asked.ids for id_ in ids]
    assert all(len(ids) <= 50 for ids in asked.ids)


@pytest.mark.parametrize(
    ("events", "expected"), [([(4_999, "behind"), (5_001, "ahead")], {"behind"}), ([(5_001, "ahead")], set[str]())]
)
def test_only_events_up_to_the_last_offset_counted_may_have_been_missed(
    events: list[tuple[int, str]], expected: set[str]
) -> None:
    """Of what comes in order nobody is asked."""
    asked = Asked()
    batch = a_batch(a_record(offset=4_999), a_record(offset=5_001))

    assert expected == asyncio.run(Redelivery(asked, asked, OutageRetrier("MongoDB")).previously_failed(batch, events))
    assert [[id_] for id_ in expected] == asked.ids
