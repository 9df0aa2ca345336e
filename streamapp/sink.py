"""Give every record of a slice its one fate: stored, already stored, or dead-lettered.

settle(slice), in order:
    1. the writer schemas of its records are looked up (waits while the registry is away)
    2. decode and build: each record becomes a document or a dead letter
    3. insert: a duplicate is already stored; a document that MongoDB refuses becomes a dead letter
    4. the dead letters are delivered and counted, in the order of the partition
Whoever calls acks after that, never before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from streamapp import codec, document
from streamapp.avro import WriterSchema
from streamapp.document import Document, EventTimes
from streamapp.errors import Undecodable
from streamapp.inserter import Inserter, Outcome
from streamapp.record import DeadLetter, Origin, Reason, Record, Slice, origin_of
from streamapp.retry import Outages

log = logging.getLogger(__name__)

#: Slices whose documents are in memory at the same time; documents are some twenty times as large as records.
BUILT_AT_ONCE = 6

#: Resolved when a slice and all earlier ones of its partition have been settled, or given up.
_Done = asyncio.Future[None]


class Schemas(Protocol):
    """Where writer schemas come from."""

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        """The schemas of those ids that exist; waits while the registry is away."""
        ...


class Store(Protocol):
    """Where documents go. Both raise StoreUnavailable while MongoDB takes no writes; both may be repeated."""

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Store each document, with its own verdict."""
        ...

    async def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Count each once, however often it comes; each partition's come in offset order."""
        ...


class DeadLetters(Protocol):
    """Where dead letters go."""

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Deliver them. Raises BrokerUnavailable while Kafka is away, DeadLetterTopicTooSmall for good."""
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


@dataclass(slots=True, eq=False)
class _Built:
    """A slice's records after decoding: each is a document or a dead letter."""

    documents: list[Document]
    #: The records of the documents, in the same order.
    records: list[Record]
    dead: list[DeadLetter]


class Sink:
    """Settles slices; several at a time, each independent of the others but for the order of dead letters."""

    def __init__(  # noqa: PLR0913 - its ports
        self,
        *,
        schemas: Schemas,
        store: Store,
        dead_letters: DeadLetters,
        times: EventTimes,
        store_outages: Outages,
        dead_letter_outages: Outages,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_stored: Callable[[Sequence[Record]], None] = lambda _: None,
    ) -> None:
        self.fates = Fates()
        self._schemas = schemas
        self._store = store
        self._inserter = Inserter(store.insert)
        self._dead_letters = dead_letters
        self._times = times
        self._store_outages = store_outages
        self._dead_letter_outages = dead_letter_outages
        self._now = now
        self._on_stored = on_stored
        self._slots = asyncio.Semaphore(BUILT_AT_ONCE)
        self._last_of: dict[tuple[str, int], _Done] = {}

    async def settle(self, slice_: Slice) -> Fates:
        """Give each record its fate, waiting out every outage; all of them are durable when it returns.

        Raises:
            DeadLetterTopicTooSmall: a dead letter does not fit its topic; nothing may be acked.
        """
        earlier, done = self._queue_up(slice_)
        try:
            fates = await self._settle(slice_, earlier)
        except asyncio.CancelledError:
            _finish(done, after=earlier)
            raise
        # Any other failure ends the worker: until then the partition's later dead letters wait, or, counted before
        # the earlier ones, they would keep those from being counted by the next worker.
        _finish(done, after=earlier)
        if fates.records != len(slice_.records):
            message = f"{len(slice_.records)} records met {fates.records} fates: {fates}"
            raise AssertionError(message)
        self.fates += fates
        return fates

    def _queue_up(self, slice_: Slice) -> tuple[_Done | None, _Done]:
        partition = (slice_.topic, slice_.partition)
        earlier, done = self._last_of.get(partition), asyncio.get_running_loop().create_future()
        self._last_of[partition] = done
        return earlier, done

    async def _settle(self, slice_: Slice, earlier: _Done | None) -> Fates:
        schemas = await self._schemas.resolve(_schema_ids(slice_.records))
        async with self._slots:
            built = self._build(slice_, schemas)
            stored, duplicates = await self._insert(built, slice_)
        if built.dead:
            if earlier is not None:
                # In order: the count of dead letters is kept by the last offset it holds.
                await asyncio.wait([earlier])
            await self._bury(built.dead)
        return Fates(stored=stored, duplicates=duplicates, dead_lettered=len(built.dead))

    def _build(self, slice_: Slice, schemas: Mapping[int, WriterSchema]) -> _Built:
        built = _Built([], [], [])
        received_at, times, incarnation = self._now(), self._times, slice_.incarnation
        for record in slice_.records:
            origin = origin_of(record, incarnation)
            try:
                writer, event = codec.decode(record.value, schemas)
                made = document.build(event, writer=writer, origin=origin, received_at=received_at, times=times)
            except Undecodable as exc:
                built.dead.append(_dead_letter(record, origin, exc))
            except Exception as exc:  # a fault of ours that one record brings out must not stop its partition for good
                log.exception("a record could not be read, for a reason that nobody thought of")
                unforeseen = Undecodable(Reason.UNDECODABLE, f"{type(exc).__name__}: {exc}")
                built.dead.append(_dead_letter(record, origin, unforeseen))
            else:
                built.documents.append(made)
                built.records.append(record)
        return built

    async def _insert(self, built: _Built, slice_: Slice) -> tuple[int, int]:
        outcome = await self._store_outages.insist(lambda: self._inserter.insert(built.documents))
        for index, why in outcome.refused.items():
            record = built.records[index]
            letter = DeadLetter(
                record=record,
                origin=origin_of(record, slice_.incarnation),
                reason=Reason.REFUSED_BY_STORE,
                error=why,
                schema_id=built.documents[index]["schema_id"],
            )
            built.dead.append(letter)
        stored = len(built.documents) - len(outcome.duplicates) - len(outcome.refused)
        if stored:
            self._on_stored(built.records)
        return stored, len(outcome.duplicates)

    async def _bury(self, dead: list[DeadLetter]) -> None:
        dead.sort(key=lambda letter: letter.record.offset)
        await self._dead_letter_outages.insist(lambda: self._dead_letters.send(dead))
        await self._store_outages.insist(lambda: self._store.count_dead_letters(dead))


def _dead_letter(record: Record, origin: Origin, exc: Undecodable) -> DeadLetter:
    try:
        schema_id = codec.schema_id_of(record.value)
    except Undecodable:
        schema_id = None
    return DeadLetter(record=record, origin=origin, reason=Reason(exc.reason), error=str(exc), schema_id=schema_id)


def _finish(done: _Done, *, after: _Done | None) -> None:
    if after is None or after.done():
        done.set_result(None)
    else:
        after.add_done_callback(lambda _: done.set_result(None))


def _schema_ids(records: Sequence[Record]) -> set[int]:
    # By the five header bytes: far fewer distinct ones than records.
    size = codec.HEADER.size
    headers = {record.value[:size] for record in records if record.value}
    unpacked = [codec.HEADER.unpack(header) for header in headers if len(header) == size]
    return {schema_id for magic_byte, schema_id in unpacked if magic_byte == codec.MAGIC_BYTE}
