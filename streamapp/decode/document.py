"""Turn a decoded event and its origin into the document that MongoDB stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, cast

import bson
from bson import CodecOptions, DatetimeMS
from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument

from streamapp.decode.transcoder import Values
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import Undecodable
from streamapp.model.event import RESERVED, Event
from streamapp.model.record import Origin, Reason

#: What rollups count an event by: its offset, its time in epoch ms, the user id, and the values.
Row = tuple[int, int, str, Values]

#: How documents are decoded. They may be anybody's: no time and no text in them raises anything.
LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)


class LazyDocument(Mapping[str, Any]):
    """A document whose fields are only decoded if somebody looks at them, and what rollups count by.

    The driver's `RawBSONDocument` without what it checks, which takes twice as long as all else about it.
    """

    __slots__ = ("raw", "row")
    #: By this the driver knows that a document is encoded; without it, it would decode the fields, and encode them.
    _type_marker = RawBSONDocument._type_marker  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def __init__(self, raw: bytes, row: Row) -> None:
        self.raw = raw
        self.row = row

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


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTimes:
    """Which event times are believable."""

    #: Milliseconds since the epoch.
    earliest: int
    #: How many milliseconds an event may be later than its Kafka timestamp.
    ahead: int

    @classmethod
    def of(cls, earliest_at: datetime, *, ahead_seconds: float) -> Self:
        """The same from an instant and seconds."""
        return cls(earliest=int(earliest_at.timestamp() * 1000), ahead=int(ahead_seconds * 1000))


def build(
    event: Event, *, writer: WriterSchema, origin: Origin, received_at: datetime, times: EventTimes
) -> dict[str, Any]:
    """The document of one event.

    Raises:
        Undecodable: a field that every event has is null here, or its time is not believable.
    """
    _check_fields(event, writer)
    _check_time(event["event_timestamp"], origin, times)
    event.setdefault("browser", None)  # V1 has none
    if not RESERVED.isdisjoint(writer.names):
        event = _with_extra(event)
    return {
        "_id": id_of(origin),
        **event,
        "schema_version": writer.version,
        "schema_id": writer.schema_id,
        "received_at": received_at,
        "kafka": {
            "topic": origin.topic,
            "partition": origin.partition,
            "offset": origin.offset,
            "timestamp": DatetimeMS(origin.timestamp),
        },
    }


def id_of(origin: Origin) -> str:
    """The document's `_id`: the same for every delivery of the event, and never that of another one.

    A topic that is deleted and made again starts its offsets again; its topic id tells the two apart, or, where
    the broker has none, the record's timestamp does.
    """
    if origin.topic_id is None:
        return f"{origin.topic}-{origin.partition}-{origin.offset}-{origin.timestamp}"
    return f"{id_start(origin.topic_id, origin.partition)}{origin.offset}"


def id_start(topic_id: str, partition: int) -> str:
    """What comes before the offset in the `_id` of an event that stood in this partition."""
    return f"{topic_id}-{partition}-"


def row_of(document: Mapping[str, Any]) -> tuple[Any, Any, Any, Values]:
    """The `Row` of a document, whoever stored it; raises KeyError and TypeError where it has no such fields."""
    if isinstance(document, LazyDocument):
        return document.row
    metadata = document["metadata"]
    values = (
        metadata["location"],
        document["event_type"],
        metadata["device"],
        document["browser"],
        document["schema_version"],
    )
    texts = tuple([value if value is None or isinstance(value, str) else str(value) for value in values])
    return document["kafka"]["offset"], document["event_timestamp"], document["user_id"], cast("Values", texts)


def _check_fields(event: Event, writer: WriterSchema) -> None:
    try:
        metadata = event["metadata"]
        is_ours = (
            type(event["user_id"]) is str
            and type(event["event_type"]) is str
            and type(event["event_timestamp"]) is int
            and type(metadata) is dict
            and type(metadata["device"]) is str
            and type(metadata["location"]) is str
        )
    except (KeyError, TypeError):  # another branch of a union
        is_ours = False
    if not is_ours:
        _promote(event, writer)


def _promote(event: Event, writer: WriterSchema) -> None:
    """Read bytes as strings, as Avro's promotion rules do; anything else that is not ours is no event."""
    for parent, name, wanted in (
        (event, "user_id", str),
        (event, "event_type", str),
        (event, "event_timestamp", int),
        (event, "metadata", dict),
        (_promoted(event, "metadata"), "device", str),
        (_promoted(event, "metadata"), "location", str),
    ):
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


def _check_time(at: int, origin: Origin, times: EventTimes) -> None:
    if at < times.earliest:
        raise Undecodable(Reason.TIMESTAMP_OUT_OF_RANGE, f"event_timestamp {at} is before {times.earliest}")
    if at > origin.timestamp + times.ahead:
        late = f"{at - origin.timestamp} ms after its Kafka timestamp; {times.ahead} ms are allowed"
        raise Undecodable(Reason.TIMESTAMP_OUT_OF_RANGE, f"event_timestamp {at} is {late}")


def _with_extra(event: Mapping[str, Any]) -> Event:
    ours = {name: value for name, value in event.items() if name in RESERVED}
    rest = {name: value for name, value in event.items() if name not in RESERVED}
    extra = rest.get("extra")
    if isinstance(extra, dict):
        return {**rest, "extra": {**extra, **ours}}
    return {**rest, "extra": ours if "extra" not in rest else {"extra": extra, **ours}}
