"""Count event documents by minute, so that they can be added to rollups."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from operator import itemgetter

from datasketches import hll_sketch, tgt_hll_type  # pyright: ignore[reportAttributeAccessIssue]

from streamapp.document import Row, row_of
from streamapp.levels import Level
from streamapp.rollup import LG_K, Document, key_of

_MINUTE_MS = 60_000
#: What Python needs for a row beside its texts, as tracemalloc tells, roughly.
_ROW_BYTES = 200
# Of a row.
_offset, _at, _user, _values = map(itemgetter, range(4))


@dataclass(slots=True, eq=False)
class Delta:
    """Some events of one bucket, counted."""

    #: Keyed by the keys of CUBE.
    cells: Counter[tuple[str, ...]] = field(default_factory=Counter[tuple[str, ...]])
    locations: Counter[str] = field(default_factory=Counter[str])
    users: hll_sketch = field(default_factory=lambda: hll_sketch(LG_K, tgt_hll_type.HLL_4))


#: Deltas by the start of their bucket, epoch ms.
Buckets = Mapping[int, Sequence[Delta]]


class Tally:
    """Events of one lane as far as rollups are concerned, by their offset, ascending."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._minutes: dict[int, Mapping[int, Delta]] = {}
        self._buckets: dict[tuple[int, Level], Buckets] = {}

    @classmethod
    def of(cls, documents: Sequence[Document]) -> Tally:
        """The tally of event documents."""
        return cls([*map(row_of, documents)])

    @classmethod
    def joined(cls, tallies: Sequence[Tally]) -> Tally:
        """One tally of several, each of which goes on where the one before it ends."""
        if len(tallies) == 1:
            return tallies[0]
        if any(_offset(later.rows[0]) <= earlier.last_offset for earlier, later in pairwise(tallies)):
            raise AssertionError("events to count are not in the order of their partition")
        return cls([*chain.from_iterable(tally.rows for tally in tallies)])

    @property
    def last_offset(self) -> int:
        """The offset of its last event."""
        return _offset(self.rows[-1])

    @property
    def size(self) -> int:
        """Bytes that it holds, roughly; events share most of their values."""
        values = [*map(_values, self.rows)]
        shared = dict(zip(map(id, values), values, strict=True)).values()
        texts = sum(len(text) for text in chain.from_iterable(shared) if text)
        return len(self.rows) * _ROW_BYTES + sum(map(len, map(str, map(_user, self.rows)))) + texts

    def after(self, offset: int, level: Level) -> Buckets:
        """The events past `offset`, counted; in each bucket one delta per minute."""
        begin = bisect_right(self.rows, offset, key=_offset)
        if (begin, level) not in self._buckets:
            self._buckets[begin, level] = grouped(self._minutes_from(begin), level)
        return self._buckets[begin, level]

    def _minutes_from(self, begin: int) -> Mapping[int, Delta]:
        if begin not in self._minutes:
            self._minutes[begin] = count(self.rows[begin:] if begin else self.rows)
        return self._minutes[begin]


def grouped(minutes: Mapping[int, Delta], level: Level) -> Buckets:
    """Deltas of minutes by the wider bucket that holds them."""
    buckets: dict[int, list[Delta]] = {}
    for minute, delta in minutes.items():
        buckets.setdefault(level.start_of(minute), []).append(delta)
    return buckets


def count(rows: Sequence[Row]) -> dict[int, Delta]:
    """Count events by minute."""
    keys = _Keys()
    return {minute: _counted(events, keys) for minute, events in _by_minute(rows).items()}


class _Keys(dict[str | None, str]):
    """Keys by their values."""

    def __missing__(self, value: str | None) -> str:
        self[value] = key = key_of(value)
        return key


def _by_minute(rows: Sequence[Row]) -> Mapping[int, Sequence[Row]]:
    if not rows:
        return {}
    times = [*map(_at, rows)]
    first, last = min(times) // _MINUTE_MS, max(times) // _MINUTE_MS
    if first == last:  # as nearly always: what is read together was sent together
        return {first * _MINUTE_MS: rows}
    minutes: defaultdict[int, list[Row]] = defaultdict(list)
    for at, row in zip(times, rows, strict=True):
        minutes[at // _MINUTE_MS * _MINUTE_MS].append(row)
    return minutes


def _counted(rows: Sequence[Row], keys: _Keys) -> Delta:
    delta = Delta()
    for values, n in Counter(map(_values, rows)).items():
        location, *cube = [keys[value] for value in values]
        delta.cells[tuple(cube)] += n
        delta.locations[location] += n
    for user in set(map(_user, rows)):
        delta.users.update(user or "\0")  # it leaves out empty ones
    return delta
