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

The keys are defined in `streamapp.rollups.keys`, the dimensions in `streamapp.model.user_event`. A rollup stored before
a dimension existed has no map of it, and cells without its key: its events are counted by this dimension after
`rollups rebuild`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bson import DatetimeMS
from datasketches import hll_sketch, hll_union, tgt_hll_type  # pyright: ignore[reportAttributeAccessIssue]

from streamapp.model.record import PartitionId
from streamapp.model.user_event import STANDALONE_DIMENSIONS
from streamapp.rollups.keys import CUBE, LG_K, MAPS, MAX_CELLS, MAX_KEYS, OTHER, OTHER_CELL, Document, cell_of


def unique(sketches: Iterable[bytes]) -> float:
    """Number of distinct users in the `users` of several rollups; exact up to about 190, then within 4 %."""
    return unique_up_to([sketches])[0]


def unique_up_to(groups: Iterable[Iterable[bytes]]) -> list[float]:
    """Number of distinct users in each group of rollups and all groups before it."""
    union, found = hll_union(LG_K), list[float]()
    for sketches in groups:
        for sketch in sketches:
            union.update(hll_sketch.deserialize(sketch))
        found.append(union.get_estimate())
    return found


@dataclass(slots=True, eq=False)
class Delta:
    """Counts of some events of one bucket."""

    #: By the keys of CUBE.
    cells: Counter[tuple[str, ...]] = field(default_factory=Counter[tuple[str, ...]])
    #: Counts by key of each of STANDALONE_DIMENSIONS, in that order.
    standalone: Sequence[Counter[str]] = field(default_factory=lambda: [Counter() for _ in STANDALONE_DIMENSIONS])
    users: hll_sketch = field(default_factory=lambda: hll_sketch(LG_K, tgt_hll_type.HLL_4))


#: Stored offset and n; None where another program has removed it from the document.
ExpectedVersion = tuple[int | None, int | None]


class Rollup:
    """One stored or new rollup; events are added to it before it is written."""

    def __init__(self, rollup_id: str, found: Document | None = None) -> None:
        self.id = rollup_id
        #: The stored `offset` and `n`, which must be unchanged when it is written.
        self.expected_version: ExpectedVersion | None = None if found is None else (found.get("offset"), found.get("n"))
        found = found or {}
        self.n: int = found.get("n", 0)
        self.offset: int = found.get("offset", -1)
        self.out_of_order: int = found.get("apart", 0)
        self.maps: dict[str, dict[str, int]] = {name: dict(found.get(name, ())) for name in MAPS}
        self.cells: dict[str, int] = dict(found.get("cells", ()))
        self._users = hll_union(LG_K)
        # A sketch that cannot be read counts as empty; `rollups check` reports it.
        with suppress(RuntimeError, TypeError, ValueError):
            if "users" in found:
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
        return self._users.get_result(tgt_hll_type.HLL_4).serialize_compact()

    @property
    def is_new(self) -> bool:
        """Whether it has no event yet; an empty rollup is never stored."""
        return not self.n

    @property
    def is_complete(self) -> bool:
        """Whether every map counts all events; not so if the rollup was stored before a dimension existed."""
        return all(sum(counts.values()) == self.n for counts in self.maps.values())

    def note_stored(self) -> None:
        """Set the expected version to the current state, after it was written."""
        self.expected_version = (self.offset, self.n)

    def copy(self) -> Rollup:
        """A rollup with the same contents."""
        return Rollup(self.id, self.document())

    def add(self, deltas: Iterable[Delta]) -> None:
        """Count more events of this bucket."""
        for delta in deltas:
            for keys, n in delta.cells.items():
                self._add_cell(keys, n)
            for each, counts in zip(STANDALONE_DIMENSIONS, delta.standalone, strict=True):
                for key, n in counts.items():
                    _add(self.maps[each.plural], key, n)
            self._users.update(delta.users)

    def add_out_of_order(self, deltas: Iterable[Delta]) -> None:
        """Count events that came out of order."""
        before = self.n
        self.add(deltas)
        self.out_of_order += self.n - before

    def _add_cell(self, keys: Sequence[str], n: int) -> None:
        self.n += n
        capped = [_add(self.maps[name], key, n) for name, key in zip(CUBE, keys, strict=True)]
        _add(self.cells, cell_of(capped), n, most=MAX_CELLS, rest=OTHER_CELL)

    def document(self) -> dict[str, Any]:
        """The document to store."""
        return {
            "_id": self.id,
            "bucket": DatetimeMS(self.bucket_ms),
            "partition": self.partition_id.partition,
            "n": self.n,
            **self.maps,
            "cells": self.cells,
            "users": self.users,
            "offset": self.offset,
            "apart": self.out_of_order,
        }


class ConditionalWrite(NamedTuple):
    """A rollup's new document, and the `offset` and `n` that must still be stored for it to be written."""

    #: None: no document with its `_id` must be stored.
    expected_version: ExpectedVersion | None
    document: dict[str, Any]


def _add(counts: dict[str, int], key: str, n: int, *, most: int = MAX_KEYS, rest: str = OTHER) -> str:
    if key not in counts and len(counts) >= most:
        key = rest
    counts[key] = counts.get(key, 0) + n
    return key
