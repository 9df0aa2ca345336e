"""What Kafka hands over: records with their coordinates, in slices of one partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


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


class Record(Protocol):
    """One Kafka record. aiokafka's ConsumerRecord has this shape, so nothing is copied on the way."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Slice:
    """Records of one partition, in offset order, fetched together and acked together.

    Never empty. Offsets may have gaps (compaction, transaction markers).
    """

    topic: str
    partition: int
    #: The topic's UUID, 22 characters of base64url; None where the broker has none.
    incarnation: str | None
    records: Sequence[Record]

    @property
    def next_offset(self) -> int:
        """The offset to commit once every record here has its fate."""
        return self.records[-1].offset + 1
