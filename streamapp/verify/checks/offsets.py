"""Sets of offsets in little memory: a bitmap for large sets, ranges for sets that should be small."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: Ranges that are kept; further offsets are only counted.
MAX_RANGES = 10_000
#: Offsets that are kept with a reason.
MAX_NOTES = 20

#: First and last offset.
OffsetRange = tuple[int, int]

_END = 2**63


class OffsetBitmap:
    """A set of offsets between `start` (inclusive) and `end` (exclusive)."""

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self._bits = bytearray((max(end - start, 0) + 7) // 8)

    def add(self, offset: int) -> None:
        """Add an offset; it must lie between start and end."""
        at = offset - self.start
        self._bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, offset: int) -> bool:
        at = offset - self.start
        return self.start <= offset < self.end and bool(self._bits[at >> 3] & 1 << (at & 7))


@dataclass(slots=True)
class FaultyOffsets:
    """Offsets with one kind of problem: all are counted, the first are kept as ranges, a few with a reason."""

    n: int = 0
    notes: dict[int, str] = field(default_factory=dict[int, str])
    #: Reasons of the first problems that have no offset.
    without_offset: list[str] = field(default_factory=list[str])
    _ranges: list[OffsetRange] = field(default_factory=list[OffsetRange])

    def add(self, offset: int, why: str = "") -> None:
        """Add an offset; offsets in ascending order take least memory."""
        self.n += 1
        if why and len(self.notes) < MAX_NOTES:
            self.notes.setdefault(offset, why)
        if len(self._ranges) < MAX_RANGES or self._ranges[-1][1] + 1 == offset:
            append_offset(self._ranges, offset)

    def add_without_offset(self, why: str) -> None:
        """Add a problem that has no offset."""
        self.n += 1
        if len(self.without_offset) < MAX_NOTES:
            self.without_offset.append(why)

    @property
    def ranges(self) -> Sequence[OffsetRange]:
        """The ranges in ascending order, without overlaps."""
        merged: list[OffsetRange] = []
        for first, last in sorted(self._ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return merged

    @property
    def unannotated(self) -> Iterator[OffsetRange]:
        """The ranges without the offsets that have a reason."""
        noted = sorted(self.notes)
        for first, last in self.ranges:
            start = first
            for offset in noted[bisect_left(noted, first) : bisect_right(noted, last)]:
                if start < offset:
                    yield start, offset - 1
                start = offset + 1
            if start <= last:
                yield start, last

    @property
    def unlisted(self) -> int:
        """Number of problems that are neither in a range nor in `without_offset`."""
        return self.n - len(self.without_offset) - sum(last + 1 - first for first, last in self._ranges)


def append_offset(ranges: list[OffsetRange], offset: int) -> None:
    """Add an offset to a list of ranges; the next offset extends the last range."""
    if ranges and ranges[-1][1] + 1 == offset:
        ranges[-1] = (ranges[-1][0], offset)
    else:
        ranges.append((offset, offset))


def contains(ranges: Sequence[OffsetRange], offset: int) -> bool:
    """Whether an offset lies in one of the ranges, which must be in ascending order."""
    at = bisect_right(ranges, (offset, _END)) - 1
    return at >= 0 and offset <= ranges[at][1]


def format_range(offset_range: OffsetRange) -> str:
    """Format a range: 17, or 17-23."""
    first, last = offset_range
    return str(first) if first == last else f"{first}-{last}"
