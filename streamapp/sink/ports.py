"""What the sink calls, and what it returns: the ports, the outcome of an insert, and the fates of records."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from streamapp.decode.document import Document
from streamapp.decode.writer_schema import WriterSchema
from streamapp.model.record import BatchRecord, DeadLetter, PartitionId
from streamapp.retry import OutageRetrier


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of an insert, by the index of the document: stored, unless listed here."""

    #: Already stored.
    duplicates: frozenset[int] = frozenset()
    #: Index → why MongoDB will never accept the document.
    refused: dict[int, str] = field(default_factory=dict[int, str])
    #: Stored under an `_id` of their own, because another event has theirs: Kafka used their offset again.
    reused: frozenset[int] = frozenset()

    def joined(self, other: Outcome, start: int) -> Outcome:
        """The outcome of both: `other` is the outcome of the documents from index `start` on."""
        return Outcome(
            duplicates=self.duplicates | {start + index for index in other.duplicates},
            refused={**self.refused, **{start + index: why for index, why in other.refused.items()}},
            reused=self.reused | {start + index for index in other.reused},
        )

    def part(self, start: int, length: int) -> Outcome:
        """The outcome of the `length` documents from index `start` on; their indexes begin at 0 again."""
        if not self.duplicates and not self.refused:
            return self
        here = range(start, start + length)
        return Outcome(
            duplicates=frozenset(i - start for i in self.duplicates if i in here),
            refused={i - start: why for i, why in self.refused.items() if i in here},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """The number of records per fate."""

    stored: int = 0
    #: Already stored.
    duplicates: int = 0
    dead_lettered: int = 0

    def __add__(self, other: Fates) -> Fates:
        return Fates(
            stored=self.stored + other.stored,
            duplicates=self.duplicates + other.duplicates,
            dead_lettered=self.dead_lettered + other.dead_lettered,
        )

    @property
    def records(self) -> int:
        """The number of records with a fate."""
        return self.stored + self.duplicates + self.dead_lettered


class SchemaPort(Protocol):
    """Resolves writer schemas."""

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        """The schemas of those ids that exist; waits while the registry is unreachable."""
        ...


class EventLookupPort(Protocol):
    """Looks up stored events; raises StoreUnavailable."""

    async def known(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """The stored events by `_id`, as far as they are counted and compared; `kafka.apart`: counted out of order."""
        ...

    async def failed_before(self, partition_id: PartitionId, offsets: Sequence[int]) -> AbstractSet[int]:
        """The offsets whose records were dead letters, or whose events were counted out of order."""
        ...

    async def highest_failed(self, partition_id: PartitionId) -> int:
        """The highest offset that `failed_before` can return, -1 for none."""
        ...

    async def uncounted(self, ids: Sequence[str]) -> Sequence[Document]:
        """The stored events that were not counted out of order, with the fields that rollups need."""
        ...


class EventPort(EventLookupPort, Protocol):
    """Stores events. All methods raise StoreUnavailable while MongoDB takes no writes; all may be repeated."""

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Store each document that is new; the outcome is per document."""
        ...

    async def mark_failed(self, letters: Sequence[DeadLetter]) -> None:
        """Make `failed_before` return the offsets of records that failed for the first time."""
        ...

    async def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Count each dead letter once, on repeated calls too; callers must keep offset order per partition."""
        ...


class OutOfOrderPort(Protocol):
    """Stores events that arrive out of order; raises StoreUnavailable; may be repeated."""

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Store and count each event that is not stored yet."""
        ...


class DeadLetterPort(Protocol):
    """Delivers dead letters."""

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Deliver all of them; raises BrokerUnavailable and DeadLetterRefused."""
        ...


class HighWatermarkPort(Protocol):
    """Knows which offsets the rollups hold; raises StoreUnavailable."""

    async def high_watermark(self, partition_id: PartitionId) -> int:
        """The highest offset of a partition in any rollup, -1 for none: every record up to it had its fate."""
        ...


class ObserverPort(Protocol):
    """Counts what the sink did; called once per insert or batch."""

    def inserted(self, seconds: float) -> None:
        """An insert, successful or not, took this time."""
        ...

    def stored(self, records: Sequence[BatchRecord], versions: Sequence[str]) -> None:
        """These records were stored; `versions` are their schema versions in the same order."""
        ...

    def reused(self, count: int) -> None:
        """So many events were stored under an `_id` of their own, because Kafka used their offset again."""
        ...

    def settled(self, records: Sequence[BatchRecord], dead: Sequence[DeadLetter]) -> None:
        """Every record of a batch has its fate; `dead` were delivered as dead letters."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkPorts:
    """Everything outside that the sink calls."""

    schemas: SchemaPort
    events: EventPort
    out_of_order: OutOfOrderPort
    dead_letters: DeadLetterPort
    observer: ObserverPort
    #: With a key, a record is a replayed dead letter only if its headers are signed with it.
    signing_key: bytes | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    #: Seconds; only differences count.
    stopwatch: Callable[[], float] = time.perf_counter


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOutages:
    """How the sink waits while a dependency is unreachable."""

    store: OutageRetrier
    dead_letters: OutageRetrier
