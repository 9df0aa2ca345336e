"""Events that wait to be added to rollups."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, pairwise
from sys import getsizeof

from streamapp.decode.document import LazyDocument, row_of
from streamapp.rollups.counting import Buckets, EventCounts, Events, concatenated
from streamapp.rollups.keys import Document
from streamapp.rollups.levels import Level
from streamapp.rollups.packed_texts import PackedTexts

#: Approximate memory of an event without its strings, and of its values if no other event shares them; measured with
#: tracemalloc.
EVENT_BYTES = 28
_VALUES_BYTES = 100


class PendingCounts:
    """Events of one partition that are not in the rollups yet, by ascending offset.

    Hundreds of thousands of them can wait for some seconds.
    """

    def __init__(self, offsets: Sequence[int], events: Events) -> None:
        self.offsets = offsets
        self.events = events
        #: By the index of their first event.
        self._counts: dict[int, EventCounts] = {}
        self._buckets: dict[tuple[int, Level], Buckets] = {}

    @classmethod
    def of(cls, documents: Sequence[Document]) -> PendingCounts:
        """The pending counts of event documents."""
        rows = [each if type(each) is LazyDocument else row_of(each) for each in documents]
        return cls(
            _packed([row.offset for row in rows]),
            Events(
                _packed([row.at for row in rows]),
                PackedTexts([row.user_id for row in rows]),
                [row.dimensions for row in rows],
            ),
        )

    @classmethod
    def joined(cls, pending_counts: Sequence[PendingCounts]) -> PendingCounts:
        """The events of several pending counts, given in offset order, without what was counted already."""
        if len(pending_counts) == 1:
            return cls(pending_counts[0].offsets, pending_counts[0].events)
        if any(later.offsets[0] <= earlier.last_offset for earlier, later in pairwise(pending_counts)):
            raise AssertionError("events to count are not in the order of their partition")
        offsets = concatenated([pending.offsets for pending in pending_counts])
        return cls(offsets, Events.joined([pending.events for pending in pending_counts]))

    @property
    def last_offset(self) -> int:
        """Offset of the last event."""
        return self.offsets[-1]

    @cached_property
    def size(self) -> int:
        """Approximate memory in bytes; events share most of their values."""
        _, users, values = self.events
        shared = dict(zip(map(id, values), values, strict=True)).values()
        texts = sum(len(text) for text in chain.from_iterable(shared) if text)
        texts += users.size if isinstance(users, PackedTexts) else sum(map(getsizeof, users))
        return len(self.offsets) * EVENT_BYTES + len(shared) * _VALUES_BYTES + texts

    def after(self, offset: int, level: Level) -> Buckets:
        """Counts of the events past `offset`, by bucket of a level."""
        begin = bisect_right(self.offsets, offset)
        if (begin, level) not in self._buckets:
            self._buckets[begin, level] = self._counts_from(begin).at(level)
        return self._buckets[begin, level]

    def _counts_from(self, begin: int) -> EventCounts:
        if begin not in self._counts:
            self._counts[begin] = EventCounts(self.events.since(begin))
        return self._counts[begin]


def _packed(numbers: Sequence[int]) -> Sequence[int]:
    # Three times as fast as `array("q", numbers)`.
    try:
        packed = struct.pack(f"{len(numbers)}q", *numbers)
    except struct.error:  # doubles, as MongoDB's shell writes numbers
        packed = struct.pack(f"{len(numbers)}q", *map(int, numbers))
    return array("q", packed)
