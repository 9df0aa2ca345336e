"""Faults for drills: sample events changed on purpose, repeatably; each fault always has the same outcome."""

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
#: Out of range even if `--start` is far in the past.
_CENTURY = 36_525 * _DAY
_MAX_INT64 = 2**63 - 1


class Fault(StrEnum):
    """Faults that a record can have."""

    CORRUPT = "corrupt"
    TRUNCATED = "truncated"
    BAD_MAGIC = "bad-magic"
    UNKNOWN_ID = "unknown-id"
    FOREIGN_SCHEMA = "foreign-schema"
    FUTURE = "future"
    NULL = "null"
    EMPTY = "empty"
    #: Happened hours or days before it is sent; a valid event.
    LATE = "late"
    #: Sent twice with the same key and bytes: two records, and so two events.
    DUPLICATE = "duplicate"


#: The reason of the dead letter; a record with any other fault is stored.
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
    """Values of registry and settings that faults need."""

    times: EventTimes
    #: Schemas of the samples, by schema id.
    schemas: Mapping[int, WriterSchema]
    #: A schema id that the registry does not have.
    unknown_id: int = -1
    #: The wire bytes of a record whose schema is not an event's.
    foreign: bytes = b""


def parse(text: str) -> dict[Fault, float]:
    """Return the fraction of each fault, from text such as "corrupt=0.01,late=0.05".

    Raises:
        ValueError: the text is invalid; the message names the part.
    """
    fractions: dict[Fault, float] = {}
    for part in text.split(","):
        fault, fraction = _parse_one(part)
        if fault in fractions:
            raise ValueError(f"{fault} is given twice")
        fractions[fault] = fraction
    if (total := math.fsum(fractions.values())) > 1 + 1e-9:
        raise ValueError(f"the fractions add up to {total:g}, which is more than 1")
    return fractions


def _parse_one(part: str) -> tuple[Fault, float]:
    name, _, fraction = map(str.strip, part.partition("="))
    if name not in {*Fault}:
        raise ValueError(f"there is no fault {name!r}. Faults: {', '.join(Fault)}. Example: corrupt=0.01,late=0.05")
    try:
        number = float(fraction)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise ValueError(f"the fraction of {name} is {fraction!r}; it must be a number from 0 to 1, as in {name}=0.01")
    return Fault(name), number


class Faults:
    """Gives samples faults; the same seed gives the same samples the same faults.

    Its random numbers are independent of the generator's, so that the events without a fault are those of a run without
    faults.
    """

    def __init__(self, fractions: Mapping[Fault, float], *, seed: int | None, context: FaultContext) -> None:
        self._source = random.Random(None if seed is None else f"faults {seed}")  # noqa: S311 - sample data
        self._faults = [*fractions]
        self._thresholds = [*accumulate(fractions.values())]
        self._context = context
        self._change: dict[Fault, Callable[[bytes], bytes | None]] = {
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
        """Return the fault of the next sample, or None."""
        index = bisect_right(self._thresholds, self._source.random())
        return self._faults[index] if index < len(self._faults) else None

    def event_time(self, fault: Fault | None, at: int) -> int:
        """Return the event time with this fault of an event at `at`, both in milliseconds since the epoch."""
        times = self._context.times
        if fault is Fault.FUTURE:
            return min(at + times.ahead + _CENTURY, _MAX_INT64)
        if fault is Fault.LATE:
            return min(at, max(times.earliest, at - self._source.randint(_HOUR, 3 * _DAY)))
        return at

    def wire(self, fault: Fault | None, value: bytes) -> bytes | None:
        """Return the wire bytes with this fault of a record with the bytes `value`."""
        return value if fault is None or fault not in self._change else self._change[fault](value)

    def _corrupted(self, value: bytes) -> bytes:
        """Change one byte of the body to 255 such that the body cannot be decoded; usually a byte of a string."""
        start = wire_format.HEADER.size
        for index in self._source.sample(range(start, len(value)), len(value) - start):
            damaged = value[:index] + b"\xff" + value[index + 1 :]
            if self._is_undecodable(damaged):
                return damaged
        return value + b"\xff"

    def _is_undecodable(self, value: bytes) -> bool:
        try:
            wire_format.decode(value, self._context.schemas)
        except Undecodable as exc:
            return exc.reason == Reason.UNDECODABLE
        return False


def _body(value: bytes) -> bytes:
    return value[wire_format.HEADER.size :]
