"""Kafka records with their coordinates, batches of records of one partition, and dead letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

#: Prefix of the headers that streamapp adds to a dead letter.
HEADER_PREFIX = "streamapp."

#: Kafka's timestamp of a record without one: old message formats, mirrors of old topics.
UNKNOWN_TIMESTAMP = -1
#: The first byte of the value of what the transport could not read as a record; its bytes follow.
UNREADABLE = b"\xff"


class Reason(StrEnum):
    """Why a record became a dead letter."""

    EMPTY = "empty"
    TOMBSTONE = "tombstone"
    BAD_MAGIC_BYTE = "bad-magic-byte"
    TRUNCATED = "truncated"
    UNKNOWN_SCHEMA_ID = "unknown-schema-id"
    UNDECODABLE = "undecodable"
    INCOMPATIBLE_SCHEMA = "incompatible-schema"
    TIMESTAMP_OUT_OF_RANGE = "timestamp-out-of-range"
    REFUSED_BY_STORE = "refused-by-store"


class BatchRecord(Protocol):
    """One record of a batch, which knows its topic and partition. aiokafka's decoded records have this shape."""

    @property
    def offset(self) -> int:
        """Its offset in the partition."""
        ...

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, UTC; negative if unknown."""
        ...

    @property
    def key(self) -> bytes | None:
        """The bytes as sent."""
        ...

    @property
    def value(self) -> bytes | None:
        """The bytes as sent; None is a tombstone."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Pairs of name and value; a name may occur more than once."""
        ...


class Record(BatchRecord, Protocol):
    """One Kafka record."""

    @property
    def topic(self) -> str:
        """The topic that holds it."""
        ...

    @property
    def partition(self) -> int:
        """The partition that holds it."""
        ...


class TopicRecord(NamedTuple):
    """A record with its coordinates; see `Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class UnreadableRecords(TopicRecord):
    """Stands for a batch that cannot be read, for example after an error of a disk, and has its first offset."""

    why = ""
    #: The first offset of the batch, which may lie before the offset from which it was read, and the first behind it.
    begin, end = -1, -1

    @property
    def place(self) -> str:
        """Its offsets and the reason."""
        return f"partition {self.partition}, offsets {self.offset} to {self.end - 1}: {self.why}"


@dataclass(slots=True, kw_only=True, eq=False)
class PartitionBatch:
    """Records of one partition, in offset order, fetched together and acked together.

    It is not empty until its records are released. Offsets may have gaps (compaction, transaction markers).
    """

    topic: str
    partition: int
    #: The topic id (KIP-516), 22 characters of base64url; None from a broker without topic ids.
    topic_id: str | None
    #: Number of the assignment: grows with each assignment of the partition and with each rewind of its offsets. The
    #: batches of one assignment come in offset order, each beginning where the one before it ended.
    assignment: int
    #: The end of the batch before it, or the start of the assignment: no offset between here and the end of the batch
    #: holds another record. None if unknown.
    begin: int | None
    records: Sequence[BatchRecord]
    #: Bytes of memory that the records take up.
    size: int
    #: Called with the bytes that stay in memory when the records are released.
    on_release: Callable[[int], None] = lambda _: None
    #: The replayed dead letters among the records: offset of the record → first coordinates of the event. None: judge
    #: by the offsets alone; see `origin_of`.
    replays: Mapping[int, Origin] | None = None

    @property
    def has_offset_gaps(self) -> bool:
        """Whether any offset of the batch holds no record."""
        begin = self.records[0].offset if self.begin is None else self.begin
        return self.records[-1].offset - begin + 1 != len(self.records)

    def with_coordinates(self, record: BatchRecord) -> Record:
        """One of its records, with topic and partition."""
        fields = (record.offset, record.timestamp, record.key, record.value, record.headers)
        return TopicRecord(self.topic, self.partition, *fields)

    def origin_of(self, record: Record) -> Origin:
        """The coordinates in the headers of one of its records if it is a replayed dead letter, its own otherwise."""
        if self.replays is None:
            return origin_of(record, self.topic_id)
        return self.replays.get(record.offset) or own_origin(record, self.topic_id)

    def release_records(self, remaining_bytes: int) -> None:
        """Free the memory of the records once each has its fate; the batch may then wait for its rollups and the ack.

        Args:
            remaining_bytes: bytes that stay in memory for the rollups.
        """
        self.records = ()
        self.on_release(remaining_bytes)


class PartitionId(NamedTuple):
    """A partition of a topic, from the creation of the topic to its deletion."""

    #: The topic id (KIP-516); the topic's name where the broker has no topic ids.
    topic_id: str
    partition: int


class Origin(NamedTuple):
    """The first coordinates of an event in Kafka: those of its record, or those that a replayed dead letter carries."""

    topic: str
    partition: int
    offset: int
    #: Milliseconds since the epoch, UTC; UNKNOWN_TIMESTAMP if the record has none.
    timestamp: int
    #: See `PartitionBatch.topic_id`.
    topic_id: str | None
    #: How often the event was a dead letter before.
    failures: int = 0

    def differs_from(self, record: Record, topic_id: str | None) -> bool:
        """Whether these are not the record's own coordinates, under this topic id: it is a replayed dead letter."""
        own = (record.topic, record.partition, record.offset, topic_id)
        return own != (self.topic, self.partition, self.offset, self.topic_id)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class DeadLetter:
    """A record that can never be stored, with the reason."""

    record: Record
    origin: Origin
    reason: Reason
    error: str
    #: The schema id on the wire; None if it could not be read.
    schema_id: int | None


def origin_of(record: Record, topic_id: str | None) -> Origin:
    """The coordinates in the record's headers if it is a replayed dead letter, its own otherwise.

    It is one if its headers name an earlier offset of its partition. `streamapp.model.replays` knows other proofs.
    """
    place = (record.topic, record.partition, record.offset, topic_id)
    if record.headers and (replayed := origin_from_headers(record.headers)) and is_settled_before(replayed, *place):
        return replayed
    return own_origin(record, topic_id)


def is_settled_before(origin: Origin, topic: str, partition: int, offset: int, topic_id: str | None) -> bool:
    """Whether these coordinates of a failed event lie before an offset in the same partition of the same topic.

    Records have their fate in the order of their offsets:
    such coordinates take the place of no event that is still to come.
    """
    here = (topic, partition, topic_id)
    return origin.failures > 0 and (origin.topic, origin.partition, origin.topic_id) == here and origin.offset < offset


def own_origin(record: Record, topic_id: str | None) -> Origin:
    """The record's own coordinates."""
    return Origin(record.topic, record.partition, record.offset, max(record.timestamp, UNKNOWN_TIMESTAMP), topic_id)


def origin_from_headers(headers: Sequence[tuple[str, bytes | None]]) -> Origin | None:
    """The coordinates in the headers of a dead letter, replayed or not; None if they are missing or invalid."""
    values = streamapp_headers(headers)
    try:
        return Origin(
            topic=values["topic"].decode(),
            partition=_parse_int64(values["partition"]),
            offset=_parse_int64(values["offset"]),
            timestamp=_parse_timestamp(values["timestamp"]),
            topic_id=values["incarnation"].decode() or None,
            failures=_parse_int64(values["attempt"]),
        )
    except (KeyError, ValueError):
        return None  # headers of another program with the same prefix


def streamapp_headers(headers: Sequence[tuple[str, bytes | None]]) -> Mapping[str, bytes]:
    """The headers that streamapp has added, by their name without the prefix."""
    return {
        name.removeprefix(HEADER_PREFIX): value
        for name, value in headers
        if value is not None and name.startswith(HEADER_PREFIX)
    }


def _parse_timestamp(text: bytes) -> int:
    return UNKNOWN_TIMESTAMP if int(text) == UNKNOWN_TIMESTAMP else _parse_int64(text)


def _parse_int64(text: bytes) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(number)
    return number
