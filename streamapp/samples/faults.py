"""Faults for drills: sample events spoilt on purpose, repeatably, each so that it surely meets the fate of its kind."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from streamapp.decode import wire_format
from streamapp.decode.document import EventTimes
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import Undecodable
from streamapp.model.record import Reason

_HOUR = 3_600_000
_DAY = 24 * _HOUR
#: Beyond what is believable even where `--start` lies far back.
_CENTURY = 36_525 * _DAY
_MOST_INT64 = 2**63 - 1


class Fault(StrEnum):
    """What may be wrong with a record."""

    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    BAD_MAGIC = "bad-magic"
    UNKNOWN_ID = "unknown-id"
    FOREIGN_SCHEMA = "foreign-schema"
    FUTURE = "future"
    NULL = "null"
    EMPTY = "empty"
    #: Happened hours or days before; a good event all the same.
    LATE = "late"
    #: Sent once more, with the same key and bytes: another record, and so another event.
    DUPLICATE = "duplicate"


#: Why the worker dead-letters it; what is not here is stored.
REASONS = {
    Fault.CORRUPT: Reason.UNDECODABLE,
    Fault.TRUNCATED: Reason.TRUNCATED,
    Fault.BAD_MAGIC: Reason.BAD_MAGIC_BYTE,
    Fault.UNKNOWN_ID: Reason.UNKNOWN_SCHEMA_ID,
    Fault.FOREIGN_SCHEMA: Reason.INCOMPATIBLE_SCHEMA,
    Fault.FUTURE: Reason.TIMESTAMP_OUT_OF_RANGE,
    Fault.NULL: Reason.TOMBSTONE,
    Fault.EMPTY: Reason.EMPTY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultContext:
    """What faults must know of registry and settings."""

    times: EventTimes
    #: Those that the samples are written with, by id.
    schemas: Mapping[int, WriterSchema]
    #: Known to no registry.
    unknown_id: int = -1
    #: A record whose schema is no event's.
    foreign: bytes = b""


def parse(text: str) -> dict[Fault, float]:
    """The share of each fault, from "corrupt=0.01,late=0.05".

    Raises:
        ValueError: says what is wrong.
    """
    shares: dict[Fault, float] = {}
    for part in text.split(","):
        fault, share = _parse_one(part)
        if fault in shares:
            raise ValueError(f"{fault} stands there twice")
        shares[fault] = share
    if (total := math.fsum(shares.values())) > 1 + 1e-9:
        raise ValueError(f"the shares add up to {total:g}, which is more than 1")
    return shares


def _parse_one(part: str) -> tuple[Fault, float]:
    name, _, share = map(str.strip, part.partition("="))
    if name not in {*Fault}:
        raise ValueError(f"there is no fault {name!r}. Faults: {', '.join(Fault)}. Example: corrupt=0.01,late=0.05")
    try:
        number = float(share)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise ValueError(f"the share of {name} is {share!r}; it must be a number from 0 to 1, as in {name}=0.01")
    return Fault(name), number


class Faults:
    """Spoils samples; the same seed does the same to the same ones.

    It draws from a source of its own, so that the good events are those of a run without faults.
    """

    def __init__(self, shares: Mapping[Fault, float], *, seed: int | None, context: FaultContext) -> None:
        self._source = random.Random(None if seed is None else f"faults {seed}")  # noqa: S311 - sample data
        self._faults = [*shares]
        self._thresholds = [*accumulate(shares.values())]
        self._ground = context
        self._spoil: dict[Fault, Callable[[bytes], bytes | None]] = {
            Fault.CORRUPT: self._corrupted,
            Fault.TRUNCATED: lambda value: value[: self._source.randrange(1, len(value))],
            Fault.BAD_MAGIC: lambda value: bytes([self._source.randrange(1, 256)]) + value[1:],
            Fault.UNKNOWN_ID: lambda value: (
                wire_format.HEADER.pack(wire_format.MAGIC_BYTE, context.unknown_id) + _body(value)
            ),
            Fault.FOREIGN_SCHEMA: lambda _: context.foreign,
            Fault.NULL: lambda _: None,
            Fault.EMPTY: lambda _: b"",
        }

    def draw(self) -> Fault | None:
        """What is to be wrong with the next sample; None: nothing."""
        index = bisect_right(self._thresholds, self._source.random())
        return self._faults[index] if index < len(self._faults) else None

    def event_time(self, fault: Fault | None, at: int) -> int:
        """When an event with this fault happens that would happen at `at`, in milliseconds since the epoch."""
        times = self._ground.times
        if fault is Fault.FUTURE:
            return min(at + times.ahead + _CENTURY, _MOST_INT64)
        if fault is Fault.LATE:
            return min(at, max(times.earliest, at - self._source.randint(_HOUR, 3 * _DAY)))
        return at

    def wire(self, fault: Fault | None, value: bytes) -> bytes | None:
        """The wire bytes of a record with this fault, from those that it would have."""
        return value if fault is None or fault not in self._spoil else self._spoil[fault](value)

    def _corrupted(self, value: bytes) -> bytes:
        """One byte of the body made 255, such that nobody can read it: a byte of a text, as a rule."""
        start = wire_format.HEADER.size
        for index in self._source.sample(range(start, len(value)), len(value) - start):
            damaged = value[:index] + b"\xff" + value[index + 1 :]
            if self._is_undecodable(damaged):
                return damaged
        return value + b"\xff"

    def _is_undecodable(self, value: bytes) -> bool:
        try:
            wire_format.decode(value, self._ground.schemas)
        except Undecodable as exc:
            return exc.reason == Reason.UNDECODABLE
        return False


def _body(value: bytes) -> bytes:
    return value[wire_format.HEADER.size :]
