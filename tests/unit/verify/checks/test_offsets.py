"""Sets of offsets: bitmaps, and ranges with reasons."""

from __future__ import annotations

import pytest

from streamapp.verify.checks import offsets
from streamapp.verify.checks.offsets import FaultyOffsets, OffsetBitmap


def test_a_bitmap_has_the_added_offsets() -> None:
    """Offsets outside its bounds are not in it."""
    bits = OffsetBitmap(10, 30)
    for offset in (10, 17, 29):
        bits.add(offset)
    assert [10, 17, 29] == [offset for offset in range(40) if offset in bits]


def test_ranges_are_merged_counted_and_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offsets beyond the limit are only counted."""
    monkeypatch.setattr(offsets, "MAX_RANGES", 3)
    monkeypatch.setattr(offsets, "MAX_NOTES", 1)
    faulty = FaultyOffsets()
    for offset in (5, 6, 9, 7, 50):
        faulty.add(offset, "why")
    assert (5, [(5, 7), (9, 9)], {5: "why"}) == (faulty.n, faulty.ranges, faulty.notes)
    assert ["5-7", "9"] == [offsets.format_range(each) for each in faulty.ranges]
    assert (["6-7", "9"], 1) == ([offsets.format_range(each) for each in faulty.unannotated], faulty.unlisted)


def test_an_offset_is_found_in_ranges() -> None:
    """The ends of a range belong to it."""
    ranges = [(3, 3), (5, 7), (9, 20)]
    assert [3, 5, 6, 7, 9, 20] == [
        offset for offset in (0, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21) if offsets.contains(ranges, offset)
    ]
    assert not offsets.contains([], 0)


@pytest.mark.parametrize(
    ("noted", "others"),
    [
        ([50], [(0, 49), (51, 99)]),
        ([0, 99], [(1, 98)]),
        ([98, 3, 4], [(0, 2), (5, 97), (99, 99)]),
        ([*range(100)], []),
    ],
)
def test_offsets_with_a_reason_split_ranges(noted: list[int], others: list[offsets.OffsetRange]) -> None:
    """The other offsets stay in ranges."""
    faulty = FaultyOffsets()
    for offset in range(100):
        faulty.add(offset)
    for offset in noted:
        faulty.notes[offset] = "why"
    assert others == [*faulty.unannotated]
