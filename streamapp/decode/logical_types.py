"""Values of logical types as MongoDB stores them.

decimal → Decimal128; date, timestamp-* and local-timestamp-* → Date; uuid → string. An event's time is milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

from bson import DatetimeMS, Decimal128
from bson.errors import BSONError

from streamapp.decode.avro_schema import AvroType
from streamapp.decode.cursor import BodyError
from streamapp.model.record import Reason

MILLIS_PER_DAY = 86_400_000
UNITS = {"millis": 1, "micros": 1_000, "nanos": 1_000_000}
#: A decimal has as many bytes at most, besides those that only repeat its sign. Decimal128 has 34 digits, for which 15
#: are enough, unless zeros at the end make up for its scale. To convert a longer one takes quadratic time.
_MAX_DECIMAL_BYTES = 64

#: Prefix of the logical types of an event's time.
EVENT_TIME = "event-"

_INSTANTS: Mapping[str, Callable[[int], DatetimeMS]] = {
    "date": lambda days: DatetimeMS(days * MILLIS_PER_DAY),
    **{
        f"{prefix}timestamp-{unit}": lambda found, n=n: DatetimeMS(found // n)
        for prefix in ("", "local-")
        for unit, n in UNITS.items()
    },
}
#: The event time is always in milliseconds, regardless of the writer's unit.
_EVENT_TIMES: Mapping[str, Callable[[int], int]] = {
    "event-date": lambda days: days * MILLIS_PER_DAY,
    **{f"event-{unit}": lambda found, n=n: found // n for unit, n in UNITS.items()},
}


def conversion(type_: AvroType) -> Callable[[Any], Any] | None:
    """The function that converts values of a type; None if they are stored as they are."""
    if type_.logical == "decimal":
        return lambda data: _decimal(data, type_.scale)
    if type_.logical == "uuid":
        return lambda data: str(UUID(bytes=data))
    return _INSTANTS.get(type_.logical) or _EVENT_TIMES.get(type_.logical)


def as_event_time(type_: AvroType) -> AvroType:
    """The same type for the field with an event's time: read as milliseconds."""
    if type_.kind == "union":
        return AvroType("union", parts=[*map(as_event_time, type_.parts)])
    unit = type_.logical.rpartition("-")[2]
    if unit == "millis":
        return AvroType(type_.kind)
    return AvroType(type_.kind, logical=EVENT_TIME + unit) if unit in UNITS or unit == "date" else type_


def _decimal(data: bytes, scale: int) -> Decimal128:
    significant = data.lstrip(b"\xff" if data[:1] >= b"\x80" else b"\0")
    if len(significant) <= _MAX_DECIMAL_BYTES:
        # One byte more: the sign of what is left.
        unscaled = int.from_bytes(data[-len(significant) - 1 :], "big", signed=True)
        try:
            return Decimal128(Decimal(unscaled).scaleb(-scale, Context(prec=len(str(unscaled)) + 1)))
        except (ArithmeticError, BSONError, ValueError):
            pass
    message = f"a decimal of {len(data)} bytes is too large or too small for MongoDB's Decimal128, which has 34 digits"
    raise BodyError(Reason.REFUSED_BY_STORE, message)
