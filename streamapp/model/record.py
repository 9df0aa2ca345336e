"""What Kafka hands over: records with their coordinates, in batches of one partition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

#: Every header that we add to a dead letter starts with this.
OURS = "streamapp."


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
    """One record of a batch, whose topic and partition are the batch's. What aiokafka decodes has this shape."""

    @property
    def offset(self) -> int:
        """Its offset in the partition."""
        ...

    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...

    @property
    def key(self) -> bytes | None:
        """As on the wire."""
        ...

    @property
    def value(self) -> bytes | None:
        """As on the wire; None is a tombstone."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Names may come more than once."""
        ...


class Record(BatchRecord, Protocol):
    """One Kafka record."""

    @property
    def topic(self) -> str:
        """The topic it stands in."""
        ...

    @property
    def partition(self) -> int:
        """The partition it stands in."""
        ...


class TopicRecord(NamedTuple):
    """A record, and where it stands; see `Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(slots=True, kw_only=True, eq=False)
class PartitionBatch:
    """Records of one partition, in offset order, fetched together and acked together.

    Never empty before its records are forgotten. Offsets may have gaps (compaction, transaction markers).
    """

    topic: str
    partition: int
    #: The topic's UUID, 22 characters of base64url; None where the broker has none.
    topic_id: str | None
    #: Grows with each assignment of the partition, and whenever its offsets go back. The batches of one assignment come
    #: in order, each where the one before it ends.
    assignment: int
    #: Where the batch before it ended, or the assignment began: offsets from here on that no record has hold none any
    #: more. None where that is not known.
    begin: int | None
    records: Sequence[BatchRecord]
    #: Bytes that they hold, see `ledger.size`.
    size: int
    #: Called with what is left in memory, once the records are forgotten.
    on_forgotten: Callable[[int], None] = lambda _: None

    @property
    def lacks_offsets(self) -> bool:
        """Whether there are offsets without a record."""
        begin = self.records[0].offset if self.begin is None else self.begin
        return self.records[-1].offset - begin + 1 != len(self.records)

    def placed(self, record: BatchRecord) -> Record:
        """One of its records, and where it stands."""
        own = (record.offset, record.timestamp, record.key, record.value, record.headers)
        return TopicRecord(self.topic, self.partition, *own)

    def forget_records(self, left: int) -> None:
        """Give their memory back once each has its fate: until it is acked, the batch may wait for the rollups.

        Args:
            left: bytes that are held for the rollups.
        """
        self.records = ()
        self.on_forgotten(left)


class PartitionId(NamedTuple):
    """A partition of a topic, from the creation of the topic to its deletion."""

    #: The topic id (KIP-516); the topic's name where the broker has no topic ids.
    topic_id: str
    partition: int


class Origin(NamedTuple):
    """Where an event first stood in Kafka: a record's own coordinates, or those a replayed dead letter carries."""

    topic: str
    partition: int
    offset: int
    #: Milliseconds since the epoch, UTC.
    timestamp: int
    #: See `Batch.topic id`.
    topic_id: str | None
    #: How often the event has been a dead letter before.
    failures: int = 0

    def is_elsewhere(self, record: Record, topic_id: str | None) -> bool:
        """Whether the record, of this topic id of its topic, is a replayed dead letter of another place."""
        own = (record.topic, record.partition, record.offset, topic_id)
        return own != (self.topic, self.partition, self.offset, self.topic_id)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class DeadLetter:
    """A record that can never succeed, and why."""

    record: Record
    origin: Origin
    reason: Reason
    error: str
    #: The id on the wire; None where it could not be read.
    schema_id: int | None


def origin_of(record: Record, topic_id: str | None) -> Origin:
    """The record's own coordinates, or those in its headers if it is a replayed dead letter."""
    if record.headers and (replayed := origin_in(record.headers)):
        return replayed
    return Origin(record.topic, record.partition, record.offset, record.timestamp, topic_id)


def origin_in(headers: Sequence[tuple[str, bytes | None]]) -> Origin | None:
    """The coordinates in a dead letter's headers, or in those of one that is replayed; None if these are no such."""
    ours = ours_in(headers)
    try:
        return Origin(
            topic=ours["topic"].decode(),
            partition=_int64(ours["partition"]),
            offset=_int64(ours["offset"]),
            timestamp=_int64(ours["timestamp"]),
            topic_id=ours["incarnation"].decode() or None,
            failures=_int64(ours["attempt"]),
        )
    except (KeyError, ValueError):
        return None  # someone else's headers, that happen to look like ours


def ours_in(headers: Sequence[tuple[str, bytes | None]]) -> Mapping[str, bytes]:
    """Our headers among them, by their name without the prefix."""
    return {name.removeprefix(OURS): value for name, value in headers if value is not None and name.startswith(OURS)}


def _int64(text: bytes) -> int:
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(number)
    return number
