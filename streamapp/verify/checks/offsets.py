"""Sets of offsets in little memory: one bit each where there are many, runs where there should be few."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: Runs that are kept; past them offsets are counted only.
MOST_RUNS = 10_000
#: Offsets that are told with a reason of their own.
MOST_NOTES = 20

#: First and last offset.
Run = tuple[int, int]

_END = 2**63


class Bits:
    """The offsets, of those from `start` until before `end`, that were added."""

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self._bits = bytearray((max(end - start, 0) + 7) // 8)

    def add(self, offset: int) -> None:
        """Add one that lies between start and end."""
        at = offset - self.start
        self._bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, offset: int) -> bool:
        at = offset - self.start
        return self.start <= offset < self.end and bool(self._bits[at >> 3] & 1 << (at & 7))


@dataclass(slots=True)
class Runs:
    """Offsets that something is wrong with: all are counted, the first runs are kept, the first few with a reason."""

    n: int = 0
    notes: dict[int, str] = field(default_factory=dict[int, str])
    #: What is wrong with the first few that have no offset.
    placeless: list[str] = field(default_factory=list[str])
    _runs: list[Run] = field(default_factory=list[Run])

    def add(self, offset: int, why: str = "") -> None:
        """Add one; those that come in order cost least."""
        self.n += 1
        if why and len(self.notes) < MOST_NOTES:
            self.notes.setdefault(offset, why)
        if len(self._runs) < MOST_RUNS or self._runs[-1][1] + 1 == offset:
            extend(self._runs, offset)

    def add_placeless(self, why: str) -> None:
        """Add one that has no offset."""
        self.n += 1
        if len(self.placeless) < MOST_NOTES:
            self.placeless.append(why)

    @property
    def runs(self) -> Sequence[Run]:
        """In order, without overlaps."""
        merged: list[Run] = []
        for first, last in sorted(self._runs):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return merged

    @property
    def without_notes(self) -> Iterator[Run]:
        """The runs, but for the offsets that have a reason of their own."""
        noted = sorted(self.notes)
        for first, last in self.runs:
            start = first
            for offset in noted[bisect_left(noted, first) : bisect_right(noted, last)]:
                if start < offset:
                    yield start, offset - 1
                start = offset + 1
            if start <= last:
                yield start, last

    @property
    def counted_only(self) -> int:
        """How many are neither in a run nor told without an offset."""
        return self.n - len(self.placeless) - sum(last + 1 - first for first, last in self._runs)


def extend(runs: list[Run], offset: int) -> None:
    """Add an offset; runs stay short where they come in order."""
    if runs and runs[-1][1] + 1 == offset:
        runs[-1] = (runs[-1][0], offset)
    else:
        runs.append((offset, offset))


def has(runs: Sequence[Run], offset: int) -> bool:
    """Whether an offset lies in one of these, which are in order."""
    at = bisect_right(runs, (offset, _END)) - 1
    return at >= 0 and offset <= runs[at][1]


def spelled(run: Run) -> str:
    """As people write it: 17, or 17-23."""
    first, last = run
    return str(first) if first == last else f"{first}-{last}"
