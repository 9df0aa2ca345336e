"""A rollup: counts of the events of one bucket of event time and one partition.

A rollup document of the collections `rollups_1m`, `_10m`, `_1h` and `_1d`:

    _id         "<topic id>:<partition>:<bucket, epoch ms>"; the topic's name where the broker has no topic id
    bucket      Date, the start of the bucket
    partition   of the topic; -1 for documents that streamapp did not store
    n           number of events
    types, devices, … (MAPS)
                {key: number of events}; one map for each dimension
    cells       {"<type key>|<device key>|…": number of events}; a cell is a key of each dimension in CUBE
    users       Apache DataSketches HLL of the user ids, lg_k 12, HLL_4, compact
    offset      of the last event counted in order, -1 for none; compare and set on it (and `n`) keeps counts exact
    apart       number of events that were counted out of order, in the transaction that stored them
    errors      {map: {key: number of events}}: how many events a key can have in addition to its count; a map whose
                counts are exact is absent, and so is `errors` if all are, see `streamapp.rollups.frequent`

The keys are defined in `streamapp.rollups.keys`, the dimensions in `streamapp.model.user_event`. A rollup stored before
a dimension existed has no map of it, and cells without its key: its events are counted by this dimension after
`rollups rebuild`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from bson import DatetimeMS
from datasketches import hll_sketch, hll_union, tgt_hll_type  # pyright: ignore[reportAttributeAccessIssue]

from streamapp.model.record import PartitionId
from streamapp.rollups import cells, frequent
from streamapp.rollups.keys import CUBE, LG_K, MAPS, MAX_CELLS, MAX_KEYS, OTHER, Document

#: So many users are added to a sketch one by one: to make another sketch first takes longer.
_FEW_USERS = 8


def unique(sketches: Iterable[bytes]) -> float:
    """Number of distinct users in the `users` of several rollups; exact up to about 190, then within 4 %."""
    return unique_up_to([sketches])[0]


def unique_up_to(groups: Iterable[Iterable[bytes]]) -> list[float]:
    """Number of distinct users in each group of rollups and all groups before it."""
    united, found = hll_union(LG_K), list[float]()
    for sketches in groups:
        for sketch in sketches:
            united.update(hll_sketch.deserialize(sketch))
        found.append(united.get_estimate())
    return found


def union(sketches: Iterable[bytes]) -> bytes:
    """The sketch of the users in the `users` of several rollups."""
    united = hll_union(LG_K)
    for sketch in sketches:
        united.update(hll_sketch.deserialize(sketch))
    return _serialized(united)


def _serialized(users: Any) -> bytes:
    return users.get_result(tgt_hll_type.HLL_4).serialize_compact()


@dataclass(slots=True, eq=False)
class Delta:
    """Counts of some events of one bucket."""

    n: int
    #: Events by key, of each of MAPS.
    maps: Sequence[Mapping[str, int]]
    #: Events by cell.
    cells: Mapping[str, int]
    #: The distinct users.
    users: Collection[str]
    _sketch: Any = None

    def add_users_to(self, union: Any) -> None:
        """Add the users to a sketch."""
        if len(self.users) <= _FEW_USERS:
            _add_users(union, self.users)
            return
        if self._sketch is None:  # the same events are often added to a rollup of each level
            self._sketch = hll_sketch(LG_K, tgt_hll_type.HLL_4)
            _add_users(self._sketch, self.users)
        union.update(self._sketch)


def _add_users(sketch: Any, users: Iterable[str]) -> None:
    for user in users:
        sketch.update(user or "\0")  # the sketch ignores empty strings


#: Stored offset and n; None where another program has removed it from the document.
ExpectedVersion = tuple[int | None, int | None]


class Rollup:
    """One stored or new rollup; events are added to it before it is written.

    Args:
        rollup_id: its `_id`.
        found: the stored document, whose maps become those of the rollup; None for a new rollup.
    """

    def __init__(self, rollup_id: str, found: Document | None = None) -> None:
        self.id = rollup_id
        #: The stored `offset` and `n`, which must be unchanged when it is written.
        self.expected_version: ExpectedVersion | None = None if found is None else (found.get("offset"), found.get("n"))
        found = found or {}
        self.n: int = found.get("n", 0)
        self.offset: int = found.get("offset", -1)
        self.out_of_order: int = found.get("apart", 0)
        self.maps: dict[str, dict[str, int]] = {name: found.get(name, {}) for name in MAPS}
        self.errors: dict[str, dict[str, int]] = found.get("errors", {})
        self.cells: dict[str, int] = found.get("cells", {})
        self._users = hll_union(LG_K)
        if "users" in found:
            # A sketch that cannot be read counts as empty; `rollups check` reports it.
            with suppress(RuntimeError, TypeError, ValueError):
                self._users.update(hll_sketch.deserialize(found["users"]))

    @property
    def partition_id(self) -> PartitionId:
        """The partition whose events it holds."""
        topic_id, partition, _ = self.id.rsplit(":", 2)
        return PartitionId(topic_id, int(partition))

    @property
    def bucket_ms(self) -> int:
        """The start of its bucket, epoch ms."""
        return int(self.id.rpartition(":")[2])

    @property
    def users(self) -> bytes:
        """The sketch of its users."""
        return _serialized(self._users)

    @property
    def is_new(self) -> bool:
        """Whether it has no event yet; an empty rollup is never stored."""
        return not self.n

    @property
    def is_complete(self) -> bool:
        """Whether every map counts all events, by its most frequent keys.

        Not so if the rollup was stored by a release that did not know a dimension, or that kept the first keys.
        """
        return all(sum(counts.values()) == self.n for counts in self.maps.values()) and not self.maps_of_first_keys

    @property
    def maps_of_first_keys(self) -> Collection[str]:
        """The maps that hold the first MAX_KEYS keys, not the most frequent ones: an earlier release stored them."""
        return [name for name, counts in self.maps.items() if OTHER in counts and name not in self.errors]

    def note_stored(self) -> None:
        """Set the expected version to the current state, after it was written."""
        self.expected_version = (self.offset, self.n)

    def copy(self) -> Rollup:
        """A rollup with the same contents."""
        maps = {name: {**counts} for name, counts in self.maps.items()}
        errors = {name: {**each} for name, each in self.errors.items()}
        return Rollup(self.id, {**self.document(), **maps, "cells": {**self.cells}, "errors": errors})

    def add(self, delta: Delta) -> None:
        """Count more events of this bucket."""
        limited = [name for name, counts in self.maps.items() if OTHER in counts]
        known = {name: frozenset(self.maps[name]) for name in limited}
        of_first_keys = self.maps_of_first_keys if limited else ()
        self.n += delta.n
        for counts, added in zip(self.maps.values(), delta.maps, strict=True):
            _add_counts(counts, added)
        delta.add_users_to(self._users)
        evicted = {
            name: self._evict(name, known.get(name, ()), name in of_first_keys)
            for name, counts in self.maps.items()
            if name in known or len(counts) > MAX_KEYS
        }
        self._add_to_cells(delta, [evicted.get(name, ()) for name in CUBE] if evicted else ())

    def add_out_of_order(self, delta: Delta) -> None:
        """Count events that came out of order."""
        before = self.n
        self.add(delta)
        self.out_of_order += self.n - before

    def _evict(self, name: str, known: Collection[str], has_first_keys: bool) -> Collection[str]:
        """Reduce a map to its limit; return the keys that it does not hold any more."""
        counts = self.maps[name]
        if has_first_keys:
            return frequent.count_as_other(counts, counts.keys() - known)
        return frequent.evict(counts, self.errors.setdefault(name, {}), known)

    def _add_to_cells(self, delta: Delta, evicted: Sequence[Collection[str]]) -> None:
        if any(evicted):
            rows = chain.from_iterable(cells.of_keys(each).items() for each in (self.cells, delta.cells))
            self._limit_cells(cells.fold(rows, evicted))
            return
        _add_counts(self.cells, delta.cells)
        if len(self.cells) > MAX_CELLS:
            self._limit_cells(cells.of_keys(self.cells))

    def _limit_cells(self, found: cells.Cells) -> None:
        self.cells = cells.of_texts(cells.limit(found, [self.maps[name] for name in CUBE], self._most))

    def _most(self, name: str, key: str) -> int:
        return frequent.bounds(self.maps[name], self.errors.get(name, {}), key).most

    def document(self) -> dict[str, Any]:
        """The document to store."""
        _, partition, bucket = self.id.rsplit(":", 2)
        return {
            "_id": self.id,
            "bucket": DatetimeMS(int(bucket)),
            "partition": int(partition),
            "n": self.n,
            **self.maps,
            "cells": self.cells,
            "users": self.users,
            "offset": self.offset,
            "apart": self.out_of_order,
            **({"errors": self.errors} if self.errors else {}),
        }


class ConditionalWrite(NamedTuple):
    """A rollup's new document, and the `offset` and `n` that must still be stored for it to be written."""

    #: None: no document with its `_id` must be stored.
    expected_version: ExpectedVersion | None
    document: dict[str, Any]


def _add_counts(counts: dict[str, int], added: Mapping[str, int]) -> None:
    if not counts:
        counts.update(added)
        return
    for key, n in added.items():
        counts[key] = counts.get(key, 0) + n
