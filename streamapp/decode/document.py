"""Turn a decoded event and its origin into the document that MongoDB stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self, cast

import bson
from bson import CodecOptions, DatetimeMS
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import Undecodable
from streamapp.model.event import RESERVED, Event, required_types
from streamapp.model.record import Origin, Reason
from streamapp.model.stored_headers import NO_FIELDS
from streamapp.model.user_event import DIMENSIONS, OPTIONAL, REQUIRED, TIME, USER, DimensionValues, Field
from streamapp.model.value_text import text_of


class EventRow(NamedTuple):
    """What rollups count an event by."""

    offset: int
    #: Event time, epoch ms.
    at: int
    user_id: str
    dimensions: DimensionValues


#: How documents are decoded. Other programs may have written them: no date and no text in them raises an error.
LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)


class LazyDocument(Mapping[str, Any]):
    """A document in BSON that is decoded when a field is read; beside it, what rollups count the event by.

    The driver's `RawBSONDocument` without its checks, which take more time than the rest of the class.
    """

    # No `EventRow` inside: this is made for every event, and a named tuple would take twice as long as the rest.
    __slots__ = ("at", "dimensions", "offset", "raw", "user_id")
    #: The driver recognises an encoded document by this; it would decode and encode the fields otherwise.
    _type_marker = RawBSONDocument._type_marker  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def __init__(self, raw: bytes, offset: int, at: int, user_id: str, dimensions: DimensionValues) -> None:
        self.raw = raw
        self.offset = offset
        self.at = at
        self.user_id = user_id
        self.dimensions = dimensions

    @property
    def row(self) -> EventRow:
        """What rollups count the event by."""
        return EventRow(self.offset, self.at, self.user_id, self.dimensions)

    def decoded(self) -> dict[str, Any]:
        """The document with all its fields."""
        return bson.decode(self.raw, LENIENT)

    def __getitem__(self, name: str) -> Any:
        return self.decoded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.decoded())

    def __len__(self) -> int:
        return len(self.decoded())


Document = dict[str, Any] | LazyDocument


#: An event time may be later than the worker's clock by this much in any case: the clocks of producers differ.
CLOCK_TOLERANCE_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTimes:
    """The limits of event times that are accepted."""

    #: Milliseconds since the epoch.
    earliest: int
    #: Milliseconds by which an event time may be later than the record's Kafka timestamp.
    ahead: int

    def latest(self, received_at: datetime) -> int:
        """The latest event time by the worker's clock, epoch ms: a producer may set the Kafka timestamp, too."""
        return int(received_at.timestamp() * 1000) + max(self.ahead, CLOCK_TOLERANCE_MS)

    @classmethod
    def of(cls, earliest_at: datetime, *, ahead_seconds: float) -> Self:
        """The limits from an instant and seconds."""
        return cls(earliest=int(earliest_at.timestamp() * 1000), ahead=int(ahead_seconds * 1000))


def build(  # noqa: PLR0913 - what a document is made of
    event: Event,
    *,
    writer: WriterSchema,
    origin: Origin,
    received_at: datetime,
    times: EventTimes,
    headers: Mapping[str, str] = NO_FIELDS,
) -> dict[str, Any]:
    """The document of one event.

    Args:
        event: its fields.
        writer: the schema that it was written with.
        origin: its first coordinates.
        received_at: the time at which the worker received the record.
        times: the limits of event times.
        headers: the headers of the record that are stored.

    Raises:
        Undecodable: a required field is null or of another type, or the event time is out of range.
    """
    _check_fields(event, writer)
    _check_time(event[TIME], origin, times, received_at)
    for field in OPTIONAL:
        event.setdefault(field.path, None)
    if not RESERVED.isdisjoint(writer.names):
        event = _with_extra(event)
    return {
        "_id": id_of(origin),
        **event,
        "schema_version": writer.version,
        "schema_id": writer.schema_id,
        "received_at": received_at,
        "kafka": kafka_part(origin, headers),
    }


def kafka_part(origin: Origin, headers: Mapping[str, str] = NO_FIELDS) -> dict[str, Any]:
    """Return the document's field `kafka`."""
    part = {
        "topic": origin.topic,
        "partition": origin.partition,
        "offset": origin.offset,
        "timestamp": None if origin.timestamp < 0 else DatetimeMS(origin.timestamp),
    }
    return {**part, "headers": headers} if headers else part


class UnencodableError(ValueError):
    """BSON cannot hold a document; the message says why."""


def to_bson(document: Document) -> bytes:
    """The document in BSON.

    Raises:
        UnencodableError: BSON cannot hold it.
    """
    try:
        return bson.encode(document)
    except (BSONError, OverflowError, ValueError, TypeError, RecursionError) as exc:
        raise UnencodableError(f"{type(exc).__name__}: {exc}") from exc


def encoded(document: dict[str, Any]) -> Document:
    """The document in BSON, which takes a tenth of the memory; as it is, if BSON cannot hold it."""
    try:
        return LazyDocument(to_bson(document), *row_of(document))
    except UnencodableError:
        return document  # the store says what is wrong with it


def decoded(document: Document) -> dict[str, Any]:
    """The document with all its fields."""
    return document.decoded() if isinstance(document, LazyDocument) else document


def id_of(origin: Origin) -> str:
    """The document's `_id`: the same for every delivery of the event, and different from that of any other event.

    A topic that is deleted and created again starts its offsets again; the topic id tells the two apart. With a broker
    that has no topic ids, the record's timestamp does.
    """
    if origin.topic_id is None:
        return f"{origin.topic}-{origin.partition}-{origin.offset}-{origin.timestamp}"
    return f"{id_start(origin.topic_id, origin.partition)}{origin.offset}"


def id_start(topic_id: str, partition: int) -> str:
    """The part of an `_id` before the offset, for events of this partition."""
    return f"{topic_id}-{partition}-"


def row_of(document: Mapping[str, Any]) -> EventRow:
    """The row of a stored document, or of one to store.

    Raises:
        KeyError: a field is absent, other than an optional one.
        TypeError: a parent of a field is not a document.
    """
    if type(document) is LazyDocument:
        return document.row
    texts = [value if value is None or type(value) is str else text_of(value) for value in _dimensions_of(document)]
    user = document[USER]
    if type(user) is not str:  # another program has changed it
        user = "" if user is None else str(user)
    return _new(EventRow, (document["kafka"]["offset"], document[TIME], user, _new(DimensionValues, texts)))


#: The constructors of named tuples take twice as long.
_new = tuple.__new__


def _compiled(expression: str) -> Callable[[Mapping[str, Any]], Any]:
    """A function of an event, as fast as written by hand; a loop over the fields takes three times as long."""
    return eval(f"lambda event: {expression}")  # noqa: S307 - made of the names in `user_event`


def _expression(field: Field) -> str:
    if field.is_optional:
        return f"event.get({field.path!r})"
    return "event" + "".join(f"[{name!r}]" for name in field.path.split("."))


def values_of(fields: Iterable[Field]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """A function that returns the values of these fields of a document.

    It raises KeyError or TypeError for a document that lacks a required field.
    """
    return _compiled(f"({', '.join(map(_expression, fields))},)")


_dimensions_of = values_of(DIMENSIONS)
_TYPES = {"string": str, "long": int}
#: Whether each required field of an event has its type.
_is_valid = _compiled(
    " and ".join(f"type({_expression(field)}) is {_TYPES[str(field.type)].__name__}" for field in REQUIRED)
)
#: Name of the parent ("" for the event itself), name and type of each required field, and of their parents before them.
_REQUIRED = (
    *(("", name, dict) for name, type_ in required_types().items() if isinstance(type_, dict)),
    *((field.path.rpartition(".")[0], field.name, _TYPES[str(field.type)]) for field in REQUIRED),
)


def _check_fields(event: Event, writer: WriterSchema) -> None:
    try:
        is_valid = _is_valid(event)
    except (KeyError, TypeError):  # another branch of a union
        is_valid = False
    if not is_valid:
        _promote(event, writer)


def _promote(event: Event, writer: WriterSchema) -> None:
    """Read bytes as strings, as Avro's promotion rules allow; reject any other type."""
    for parent_name, name, wanted in _REQUIRED:
        parent = _promoted(event, parent_name) if parent_name else event
        value = _promoted(parent, name)
        if type(value) is not wanted:
            found = "absent or null" if value is None else f"of type {type(value).__name__}"
            error = f"schema {writer.schema_id}: {name} is {found} in this record"
            raise Undecodable(Reason.INCOMPATIBLE_SCHEMA, error)
        cast("Event", parent)[name] = value


def _promoted(parent: Any, name: str) -> object:
    value = cast("Event", parent).get(name) if isinstance(parent, dict) else None
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as exc:
            raise Undecodable(Reason.UNDECODABLE, f"{name} is not UTF-8: {exc}") from exc
    return value


def _check_time(at: int, origin: Origin, times: EventTimes, received_at: datetime) -> None:
    if at < times.earliest:
        raise Undecodable(Reason.TIMESTAMP_OUT_OF_RANGE, f"{TIME} {at} is before {times.earliest}")
    if at > (latest := times.latest(received_at)):
        error = f"{TIME} {at} is after {latest}, the latest by the worker's clock"
        raise Undecodable(Reason.TIMESTAMP_OUT_OF_RANGE, error)
    if at > origin.timestamp + times.ahead and origin.timestamp >= 0:
        late = f"{at - origin.timestamp} ms after its Kafka timestamp; {times.ahead} ms are allowed"
        raise Undecodable(Reason.TIMESTAMP_OUT_OF_RANGE, f"{TIME} {at} is {late}")


def _with_extra(event: Mapping[str, Any]) -> Event:
    ours = {name: value for name, value in event.items() if name in RESERVED}
    rest = {name: value for name, value in event.items() if name not in RESERVED}
    extra = rest.get("extra")
    if isinstance(extra, dict):
        return {**rest, "extra": {**extra, **ours}}
    return {**rest, "extra": ours if "extra" not in rest else {"extra": extra, **ours}}
