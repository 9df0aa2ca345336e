"""Give every record of a slice its one fate: stored, already stored, or dead-lettered.

settle(slice), in order:
    1. the writer schemas of its records are looked up (waits while the registry is away)
    2. decode and build: each record becomes a document or a dead letter
    3. insert: a duplicate is already stored; a document that MongoDB refuses becomes a dead letter
    then, in the order of the partition:
    4. events that come out of their turn are stored and counted
    5. the dead letters are delivered and counted, unless there are too many
    6. the events are added to the rollups
Whoever calls acks after that, never before.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from streamapp.decode import wire_format
from streamapp.decode.batch import Built, build
from streamapp.decode.document import Document, EventTimes
from streamapp.decode.writer_schema import WriterSchema
from streamapp.model.record import DeadLetter, Slice, SliceRecord
from streamapp.retry import Outages
from streamapp.rollups.pending import Tally
from streamapp.rollups.writer import Accumulator
from streamapp.sink.circuit_breaker import Breaker
from streamapp.sink.insert_batcher import Inserter, Outcome
from streamapp.sink.partition_order import Turn, Turns
from streamapp.sink.redelivery import History, Stored, lane
from streamapp.sink.weighted_semaphore import Room

#: Documents in memory at the same time: those that did not come the short way are twenty times as large as records.
BUILT_AT_ONCE = 24_000
#: Records that are larger, with what Python needs for them, leave little of themselves behind.
_LARGE_RECORD_BYTES = 800


class Schemas(Protocol):
    """Where writer schemas come from."""

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        """The schemas of those ids that exist; waits while the registry is away."""
        ...


class Store(Stored, Protocol):
    """Where documents go. All raise StoreUnavailable while MongoDB takes no writes; all may be repeated."""

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Store each document, with its own verdict."""
        ...

    async def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Count each once, however often it comes; each partition's come in offset order."""
        ...


class Apart(Protocol):
    """Where events go that come out of their turn; raises StoreUnavailable, and may be repeated."""

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Store and count each event that is not stored yet."""
        ...


class DeadLetters(Protocol):
    """Where dead letters go."""

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Deliver them. Raises BrokerUnavailable while Kafka is away, DeadLetterTopicTooSmall for good."""
        ...


class Observer(Protocol):
    """Hears of what was done, once per slice or insert."""

    def inserted(self, seconds: float) -> None:
        """An insert took so long, whether it failed or not."""
        ...

    def stored(self, records: Sequence[SliceRecord], versions: Sequence[str]) -> None:
        """Events are new in MongoDB; these are their schema versions."""
        ...

    def settled(self, records: Sequence[SliceRecord], dead: Sequence[DeadLetter]) -> None:
        """The records of a slice have their fate; these are dead letters now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """How many records met which fate."""

    stored: int = 0
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
        """All of them."""
        return self.stored + self.duplicates + self.dead_lettered


@dataclass(frozen=True, slots=True, eq=False)
class _Inserted:
    """What is left to do once a slice's documents are stored; they are not held any longer."""

    tally: Tally | None
    apart: Built
    fates: Fates


class Sink:
    """Settles slices; several at a time, each independent of the others but for what has an order."""

    def __init__(  # noqa: PLR0913 - its ports
        self,
        *,
        schemas: Schemas,
        store: Store,
        accumulator: Accumulator,
        apart: Apart,
        dead_letters: DeadLetters,
        breaker: Breaker,
        times: EventTimes,
        store_outages: Outages,
        dead_letter_outages: Outages,
        observer: Observer,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.fates = Fates()
        self._schemas = schemas
        self._store = store
        self._inserter = Inserter(self._timed_insert)
        self._accumulator = accumulator
        self._history = History(store, accumulator, store_outages)
        self._apart = apart
        self._dead_letters = dead_letters
        self._breaker = breaker
        self._times = times
        self._store_outages = store_outages
        self._dead_letter_outages = dead_letter_outages
        self._now = now
        self._observer = observer
        self._stopwatch = stopwatch
        self._room = Room(BUILT_AT_ONCE)
        self._turns = Turns()

    async def settle(self, slice_: Slice) -> Fates:
        """Give each record its fate, waiting out every outage; all of them are durable when it returns.

        Raises:
            PoisonFlood: too many of the last records are poison; nothing may be acked.
            DeadLetterTopicTooSmall: a dead letter does not fit its topic; nothing may be acked.
        """
        turn = self._turns.queue_up(slice_)
        try:
            fates, counted = await self._settle(slice_, turn)
            await counted
        except BaseException:
            turn.give_up()
            raise
        self.fates += fates
        return fates

    async def _timed_insert(self, documents: Sequence[Document]) -> Outcome:
        began = self._stopwatch()
        try:
            return await self._store.insert(documents)
        finally:
            self._observer.inserted(self._stopwatch() - began)

    async def _settle(self, slice_: Slice, turn: Turn) -> tuple[Fates, Awaitable[None]]:
        schemas = await self._schemas.resolve(_schema_ids(slice_.records))
        async with self._room.take(len(slice_.records)):
            inserted = await self._insert(slice_, schemas)
        self._breaker.expect(lane(slice_), slice_.records, _for_the_first_time(inserted.apart.dead))
        await turn.come()
        fates = inserted.fates
        if inserted.apart.documents:
            outcome = await self._store_outages.insist(lambda: self._apart.insert(inserted.apart.documents))
            fates += self._note(outcome, inserted.apart, slice_)
        dead = sorted(inserted.apart.dead, key=lambda letter: letter.record.offset)
        await self._breaker.judge(lane(slice_), slice_.records, _for_the_first_time(dead))
        if dead:
            await self._bury(dead)
        counted = self._accumulator.add(lane(slice_), inserted.tally) if inserted.tally else _nothing()
        turn.end()
        self._observer.settled(slice_.records, dead)
        fates += Fates(dead_lettered=len(dead))
        if fates.records != len(slice_.records):
            message = f"{len(slice_.records)} records met {fates.records} fates: {fates}"
            raise AssertionError(message)
        slice_.forget_records(_left(slice_, inserted.tally))
        return fates, counted

    async def _insert(self, slice_: Slice, schemas: Mapping[int, WriterSchema]) -> _Inserted:
        built = build(slice_, schemas, times=self._times, received_at=self._now())
        if missed := await self._history.missed(slice_, built.places()):
            built.apart.update(index for index, made in enumerate(built.documents) if made["_id"] in missed)
        ours, apart = built.split()
        outcome = await self._store_outages.insist(lambda: self._inserter.insert(ours.documents))
        fates = self._note(outcome, ours, slice_)
        counted = await self._history.countable(ours.documents, outcome)
        if orphans := await self._history.orphans(slice_):
            counted = sorted([*counted, *orphans], key=lambda event: event["kafka"]["offset"])
        return _Inserted(Tally.of(counted) if counted else None, apart, fates)

    def _note(self, outcome: Outcome, built: Built, slice_: Slice) -> Fates:
        for index, why in outcome.refused.items():
            built.refuse(index, why, slice_)
        records, versions = built.records, built.versions
        if outcome.duplicates or outcome.refused:
            new = [i for i in range(len(records)) if i not in outcome.duplicates and i not in outcome.refused]
            records, versions = [records[i] for i in new], [versions[i] for i in new]
        if records:
            self._observer.stored(records, versions)
        return Fates(stored=len(records), duplicates=len(outcome.duplicates))

    async def _bury(self, dead: Sequence[DeadLetter]) -> None:
        await self._dead_letter_outages.insist(lambda: self._dead_letters.send(dead))
        await self._store_outages.insist(lambda: self._store.count_dead_letters(dead))


def _for_the_first_time(dead: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
    """Those that flood: what fails again was replayed on purpose, and would hold up every worker until it is read."""
    return [letter for letter in dead if not letter.origin.failures]


def _left(slice_: Slice, tally: Tally | None) -> int:
    """Bytes that are held for the rollups once the records are forgotten, at the most."""
    if tally is None:
        return 0
    # Of small events a quarter is left; but to look at each takes time, and a larger bound would make nothing faster.
    return tally.size if slice_.size > _LARGE_RECORD_BYTES * len(slice_.records) else slice_.size


async def _nothing() -> None:
    """Be done at once."""


def _schema_ids(records: Sequence[SliceRecord]) -> set[int]:
    # By the five header bytes: far fewer distinct ones than records.
    size = wire_format.HEADER.size
    headers = {record.value[:size] for record in records if record.value}
    unpacked = [wire_format.HEADER.unpack(header) for header in headers if len(header) == size]
    return {schema_id for magic_byte, schema_id in unpacked if magic_byte == wire_format.MAGIC_BYTE}
