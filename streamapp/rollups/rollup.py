"""What a rollup is: the events of one bucket of event time and one partition, counted.

A rollup document of the collections `rollups_1m`, `_10m`, `_1h` and `_1d`:

    _id         "<topic id>:<partition>:<bucket, epoch ms>"; the topic's name where the broker has no topic id
    bucket      Date, the start of the bucket
    partition   of the topic; -1 for documents that did not come by streamapp
    n           number of events
    types, devices, browsers, versions, locations
                {key: number of events}
    cells       {"<type key>|<device key>|<browser key>|<version key>": number of events}
    users       Apache DataSketches HLL of the user ids, lg_k 12, HLL_4, compact
    offset      the last one counted in order, -1 for none; compare and set on it (and `n`) keeps counts exact
    apart       number of events that were counted out of order, in the transaction that stored them

The keys are defined in `streamapp.rollups.keys`.
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
from streamapp.rollups.keys import CUBE, LG_K, MAPS, MAX_CELLS, MAX_KEYS, OTHER, Document


def unique(sketches: Iterable[bytes]) -> float:
    """How many different users the `users` of some rollups hold together; exact up to some 190, then within 4 %."""
    return unique_up_to([sketches])[0]


def unique_up_to(groups: Iterable[Iterable[bytes]]) -> list[float]:
    """The same of each group together with those before it."""
    union, found = hll_union(LG_K), list[float]()
    for sketches in groups:
        for sketch in sketches:
            union.update(hll_sketch.deserialize(sketch))
        found.append(union.get_estimate())
    return found


@dataclass(slots=True, eq=False)
class Delta:
    """Some events of one bucket, counted."""

    #: Keyed by the keys of CUBE.
    cells: Counter[tuple[str, ...]] = field(default_factory=Counter[tuple[str, ...]])
    locations: Counter[str] = field(default_factory=Counter[str])
    users: hll_sketch = field(default_factory=lambda: hll_sketch(LG_K, tgt_hll_type.HLL_4))


#: None of them where a foreign hand has taken it out of the document.
ExpectedVersion = tuple[int | None, int | None]


class Rollup:
    """One rollup as it was read, or a new one; events are added to it before it is written back."""

    def __init__(self, rollup_id: str, found: Document | None = None) -> None:
        self.id = rollup_id
        #: Its offset and number of events as they are stored: who writes it back must find them unchanged.
        self.expected_version: ExpectedVersion | None = None if found is None else (found.get("offset"), found.get("n"))
        found = found or {}
        self.n: int = found.get("n", 0)
        self.offset: int = found.get("offset", -1)
        self.out_of_order: int = found.get("apart", 0)
        self.maps: dict[str, dict[str, int]] = {name: dict(found.get(name, ())) for name in MAPS}
        self.cells: dict[str, int] = dict(found.get("cells", ()))
        self._users = hll_union(LG_K)
        # One that cannot be read is empty; `rollups check` tells.
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
        """Whether it holds no event yet; such a one is never stored."""
        return not self.n

    def note_stored(self) -> None:
        """Take it for stored as it is now."""
        self.expected_version = (self.offset, self.n)

    def copy(self) -> Rollup:
        """One that holds the same."""
        return Rollup(self.id, self.document())

    def add(self, deltas: Iterable[Delta]) -> None:
        """Count more events of this bucket."""
        for delta in deltas:
            for keys, n in delta.cells.items():
                self._add_cell(keys, n)
            for key, n in delta.locations.items():
                _add(self.maps["locations"], key, n)
            self._users.update(delta.users)

    def add_out_of_order(self, deltas: Iterable[Delta]) -> None:
        """Count events that come out of order."""
        before = self.n
        self.add(deltas)
        self.out_of_order += self.n - before

    def _add_cell(self, keys: Sequence[str], n: int) -> None:
        self.n += n
        capped = [_add(self.maps[name], key, n) for name, key in zip(CUBE, keys, strict=True)]
        _add(self.cells, "|".join(capped), n, most=MAX_CELLS, rest="|".join([OTHER] * len(CUBE)))

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

    #: None: nothing must be stored under its `_id`.
    expected_version: ExpectedVersion | None
    document: dict[str, Any]


def _add(counts: dict[str, int], key: str, n: int, *, most: int = MAX_KEYS, rest: str = OTHER) -> str:
    if key not in counts and len(counts) >= most:
        key = rest
    counts[key] = counts.get(key, 0) + n
    return key
