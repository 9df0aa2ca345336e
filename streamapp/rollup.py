"""What a rollup is: the events of one bucket of event time and one partition, counted; and how events are added to it.

A rollup document of the collections `rollups_1m`, `_10m`, `_1h` and `_1d`:

    _id         "<incarnation>:<partition>:<bucket, epoch ms>"; the topic's name where the broker has no incarnation
    bucket      Date, the start of the bucket
    partition   of the topic; -1 for documents that did not come by streamapp
    n           number of events
    types, devices, browsers, versions, locations
                {key: number of events}
    cells       {"<type key>|<device key>|<browser key>|<version key>": number of events}
    users       Apache DataSketches HLL of the user ids, lg_k 12, HLL_4, compact
    offset      the last one counted in its turn, -1 for none; compare and set on it (and `n`) keeps counts exact
    apart       number of events that were counted out of their turn, in the transaction that stored them

A key is a value with its awkward characters escaped, see `key_of`; `value_of` turns it back.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from types import NoneType
from typing import Any, NamedTuple
from urllib.parse import unquote

from bson import DatetimeMS
from datasketches import hll_sketch, hll_union, tgt_hll_type  # pyright: ignore[reportAttributeAccessIssue]

#: A document of MongoDB.
Document = Mapping[str, Any]

LG_K = 12
#: Distinct keys of one map in one document; whatever comes after is counted under OTHER.
MAX_KEYS = 100
#: Distinct cells in one document; likewise.
MAX_CELLS = 1_000
#: Characters of a value; a longer one is cut.
MAX_KEY_LENGTH = 100

#: No value is escaped to these: "%" itself always becomes "%25".
NULL, OTHER = "%null", "%other"

#: The maps whose keys make a cell, in its order.
CUBE = ("types", "devices", "browsers", "versions")
MAPS = (*CUBE, "locations")

_MINUTE_MS = 60_000
_PLAIN = {str, NoneType}
_ESCAPES = str.maketrans({character: f"%{ord(character):02X}" for character in "%.$|\0"})


class Level(NamedTuple):
    """One of the widths that buckets have."""

    name: str
    width: timedelta

    @property
    def collection(self) -> str:
        """Where its documents are."""
        return f"rollups_{self.name}"

    @property
    def width_ms(self) -> int:
        """Milliseconds of one bucket."""
        return self.width // timedelta(milliseconds=1)

    def start_of(self, at_ms: int) -> int:
        """The start of the bucket that holds the instant; both in epoch ms."""
        return at_ms // self.width_ms * self.width_ms


#: From the finest on; each bucket of one lies in one bucket of the next.
LEVELS = (
    Level("1m", timedelta(minutes=1)),
    Level("10m", timedelta(minutes=10)),
    Level("1h", timedelta(hours=1)),
    Level("1d", timedelta(days=1)),
)


class Lane(NamedTuple):
    """One partition in one life of its topic."""

    #: The topic's incarnation, or its name where the broker has none.
    life: str
    partition: int


#: How long the rollups of each level are kept; None is for ever.
Keep = Mapping[Level, timedelta | None]


def kept_since(level: Level, keep: Keep, now: datetime) -> int:
    """The start of the oldest bucket that is counted at a level, epoch ms; those before it are deleted."""
    kept = keep.get(level)
    return 0 if kept is None else level.start_of(int((now - kept).timestamp() * 1000)) + level.width_ms


def id_of(lane: Lane, bucket_ms: int) -> str:
    """The `_id` of a rollup."""
    return f"{lane.life}:{lane.partition}:{bucket_ms}"


def lane_of(event: Document) -> Lane:
    """The lane whose rollups hold an event document; one of its own for documents that did not come by streamapp."""
    try:
        kafka, event_id = event["kafka"], str(event["_id"])
        ours = f"-{kafka['partition']}-{kafka['offset']}"
        life = event_id.removesuffix(ours) if event_id.endswith(ours) else kafka["topic"]
        return Lane(str(life), int(kafka["partition"]))
    except (KeyError, TypeError, ValueError):
        return Lane("", -1)


def key_of(value: object) -> str:
    """The key under which a value is counted: no character in it means anything to MongoDB or to a cell."""
    if value is None:
        return NULL
    text = value if isinstance(value, str) else str(value)
    if len(text) > MAX_KEY_LENGTH:
        text = text[: MAX_KEY_LENGTH - 1] + "…"
    return text.translate(_ESCAPES)


def value_of(key: str) -> str | None:
    """The value that a key stands for; None for a null, OTHER for those beyond the limit."""
    if key == NULL:
        return None
    return OTHER if key == OTHER else unquote(key)


def unique(sketches: Iterable[bytes]) -> float:
    """How many different users the `users` of some rollups hold together; exact up to some 190, then within 4 %."""
    union = hll_union(LG_K)
    for sketch in sketches:
        union.update(hll_sketch.deserialize(sketch))
    return union.get_estimate()


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

    def __init__(self, offsets: Sequence[int], columns: Sequence[Sequence[Any]]) -> None:
        self.offsets = offsets
        self.columns = columns
        self._minutes: dict[int, Mapping[int, Delta]] = {}
        self._buckets: dict[tuple[int, Level], Buckets] = {}

    @classmethod
    def of(cls, documents: Sequence[Document]) -> Tally:
        """The tally of event documents."""
        offsets, *columns = zip(*[_row(document) for document in documents], strict=True)
        return cls(offsets, columns)

    @classmethod
    def joined(cls, tallies: Sequence[Tally]) -> Tally:
        """One tally of several, each of which goes on where the one before it ends."""
        if len(tallies) == 1:
            return tallies[0]
        if any(later.offsets[0] <= earlier.last_offset for earlier, later in pairwise(tallies)):
            raise AssertionError("events to count are not in the order of their partition")
        together = zip(*[[tally.offsets, *tally.columns] for tally in tallies], strict=True)
        offsets, *columns = [[value for column in parts for value in column] for parts in together]
        return cls(offsets, columns)

    @property
    def last_offset(self) -> int:
        """The offset of its last event."""
        return self.offsets[-1]

    def after(self, offset: int, level: Level) -> Buckets:
        """The events past `offset`, counted; in each bucket one delta per minute."""
        begin = bisect_right(self.offsets, offset)
        if (begin, level) not in self._buckets:
            self._buckets[begin, level] = _grouped(self._minutes_from(begin), level)
        return self._buckets[begin, level]

    def _minutes_from(self, begin: int) -> Mapping[int, Delta]:
        if begin not in self._minutes:
            self._minutes[begin] = count([column[begin:] if begin else column for column in self.columns])
        return self._minutes[begin]


def _grouped(minutes: Mapping[int, Delta], level: Level) -> Buckets:
    buckets: dict[int, list[Delta]] = {}
    for minute, delta in minutes.items():
        buckets.setdefault(level.start_of(minute), []).append(delta)
    return buckets


def _row(document: Document) -> tuple[Any, ...]:
    metadata = document["metadata"]
    return (
        document["kafka"]["offset"],
        document["event_timestamp"],
        document["user_id"],
        metadata["location"],
        document["event_type"],
        metadata["device"],
        document["browser"],
        document["schema_version"],
    )


def count(columns: Sequence[Sequence[Any]]) -> dict[int, Delta]:
    """Count events by minute.

    Args:
        columns: event time in epoch ms, user id, location, and the four of CUBE; one row per event.
    """
    at, users, *rest = columns
    minutes = [ms // _MINUTE_MS * _MINUTE_MS for ms in at]
    location, *cube = [column if _PLAIN.issuperset(map(type, column)) else _plain(column) for column in rest]
    deltas = {minute: Delta() for minute in set(minutes)}
    for (minute, *values), n in Counter(zip(minutes, *cube, strict=True)).items():
        deltas[minute].cells[tuple(map(key_of, values))] += n
    for (minute, value), n in Counter(zip(minutes, location, strict=True)).items():
        deltas[minute].locations[key_of(value)] += n
    for minute, user in set(zip(minutes, users, strict=True)):
        deltas[minute].users.update(user or "\0")  # it leaves out empty ones
    return deltas


def _plain(column: Iterable[object]) -> list[str | None]:
    return [value if value is None or isinstance(value, str) else str(value) for value in column]


class Rollup:
    """One rollup as it was read, or a new one; events are added to it before it is written back."""

    def __init__(self, rollup_id: str, found: Document | None = None) -> None:
        self.id = rollup_id
        found = found or {}
        self.n: int = found.get("n", 0)
        self.offset: int = found.get("offset", -1)
        self.apart: int = found.get("apart", 0)
        self.maps: dict[str, dict[str, int]] = {name: dict(found.get(name, ())) for name in MAPS}
        self.cells: dict[str, int] = dict(found.get("cells", ()))
        self._users = hll_union(LG_K)
        if found:
            self._users.update(hll_sketch.deserialize(found["users"]))

    @property
    def is_new(self) -> bool:
        """Whether it holds no event yet; such a one is never stored."""
        return not self.n

    @property
    def guard(self) -> tuple[int, int] | None:
        """Its offset and number of events as they are stored: who writes it back must find them unchanged."""
        return None if self.is_new else (self.offset, self.n)

    def add(self, deltas: Iterable[Delta]) -> None:
        """Count more events of this bucket."""
        for delta in deltas:
            for keys, n in delta.cells.items():
                self._add_cell(keys, n)
            for key, n in delta.locations.items():
                _add(self.maps["locations"], key, n)
            self._users.update(delta.users)

    def _add_cell(self, keys: Sequence[str], n: int) -> None:
        self.n += n
        capped = [_add(self.maps[name], key, n) for name, key in zip(CUBE, keys, strict=True)]
        _add(self.cells, "|".join(capped), n, most=MAX_CELLS, rest="|".join([OTHER] * len(CUBE)))

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
            "users": self._users.get_result(tgt_hll_type.HLL_4).serialize_compact(),
            "offset": self.offset,
            "apart": self.apart,
        }


class Swap(NamedTuple):
    """A rollup's new document, and the `offset` and `n` that must still be stored for it to be written."""

    #: None: nothing must be stored under its `_id`.
    guard: tuple[int, int] | None
    document: dict[str, Any]


def _add(counts: dict[str, int], key: str, n: int, *, most: int = MAX_KEYS, rest: str = OTHER) -> str:
    if key not in counts and len(counts) >= most:
        key = rest
    counts[key] = counts.get(key, 0) + n
    return key
