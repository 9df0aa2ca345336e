"""Fakes of the sink's ports; each passes the contract tests of the real implementation (tests/contract/)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from copy import deepcopy
from typing import Any

from streamapp.decode.document import Document, decoded
from streamapp.decode.identity import is_another_event, with_id_of_its_own
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import BrokerUnavailable, StoreUnavailable
from streamapp.model.record import DeadLetter, Origin, PartitionId, Record
from streamapp.mongodb.event_store import KNOWN_FIELDS
from streamapp.rollups.keys import id_of, partition_id_of
from streamapp.rollups.levels import LEVELS, Level
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.recount import PROJECTION
from streamapp.rollups.rollup import ConditionalWrite, Rollup
from streamapp.sink.ports import Outcome


class FakeSchemas:
    """Knows the schemas that it is given."""

    def __init__(self, *writers: WriterSchema) -> None:
        self.known = {writer.schema_id: writer for writer in writers}

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        """Return all known schemas."""
        return self.known


class FakeEventStore:
    """Keeps documents in memory; refuses integers that do not fit into 64 bits, as MongoDB's driver does."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.dead_letters: Counter[str] = Counter()
        self.is_unreachable = False
        #: How many of the next inserts fail.
        self.failing_inserts = 0
        #: Events of this type are refused, as by a validator of the collection.
        self.refused_type: str | None = None
        self._counted: set[tuple[str, Origin]] = set()
        self._failed: set[tuple[PartitionId, int]] = set()
        #: Events that were counted out of order.
        self.counted: set[tuple[PartitionId, int]] = set()

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Insert each document that is new and storable."""
        self._check()
        if self.failing_inserts:
            self.failing_inserts -= 1
            raise StoreUnavailable("unreachable")
        duplicates: set[int] = set()
        refused: dict[int, str] = {}
        for index, document in enumerate(documents):
            if any(isinstance(value, int) and value.bit_length() > 63 for value in document.values()):
                refused[index] = "OverflowError"
            elif self.refused_type is not None and document["event_type"] == self.refused_type:
                refused[index] = "Document failed validation"
            elif document["_id"] in self.documents:
                duplicates.add(index)
            else:
                self.documents[document["_id"]] = decoded(document)
        return Outcome(duplicates=frozenset(duplicates), refused=refused)

    async def known(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return the stored events."""
        self._check()
        return {id_: _projected(self.documents[id_], KNOWN_FIELDS) for id_ in ids if id_ in self.documents}

    async def failed_before(self, partition_id: PartitionId, offsets: Sequence[int]) -> AbstractSet[int]:
        """Return the offsets of dead letters and of events counted out of order."""
        self._check()
        return {offset for offset in offsets if (partition_id, offset) in self._failed | self.counted}

    async def highest_failed(self, partition_id: PartitionId) -> int:
        """Return the highest of them."""
        self._check()
        return max((offset for key, offset in self._failed | self.counted if key == partition_id), default=-1)

    async def uncounted(self, ids: Sequence[str]) -> Sequence[Document]:
        """Return the stored events that were not counted out of order."""
        self._check()
        found = [self.documents[id_] for id_ in ids if id_ in self.documents]
        return [_projected(document) for document in found if not _is_out_of_order(document)]

    async def mark_failed(self, letters: Sequence[DeadLetter]) -> None:
        """Mark the offsets of records that failed for the first time."""
        self._check()
        first = [each.origin for each in letters if not each.origin.failures]
        self._failed |= {(PartitionId(each.topic_id or each.topic, each.partition), each.offset) for each in first}

    async def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Count each event once for each reason."""
        self._check()
        self._counted |= {(letter.reason.value, letter.origin._replace(failures=0)) for letter in letters}
        self.dead_letters = Counter(reason for reason, _ in self._counted)

    def _check(self) -> None:
        if self.is_unreachable:
            raise StoreUnavailable("unreachable")


def _is_out_of_order(document: Document) -> bool:
    return document.get("kafka", {}).get("apart") is True


def _projected(document: Document, fields: Sequence[str] = PROJECTION) -> dict[str, Any]:
    """Return the document with `_id` and some fields."""
    found: dict[str, Any] = {"_id": document["_id"]}
    for parent, _, child in (field.partition(".") for field in fields):
        if not child and parent in document:
            found[parent] = document[parent]
        elif child in document.get(parent, {}):
            found.setdefault(parent, {})[child] = document[parent][child]
    return found


class FakeObserver:
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.inserts: list[float] = []
        self.new: list[tuple[int, str]] = []
        self.batches: list[tuple[int, list[str]]] = []
        self.reused_offsets = 0

    def inserted(self, seconds: float) -> None:
        """Keep the duration of an insert."""
        self.inserts.append(seconds)

    def stored(self, records: Sequence[Record], versions: Sequence[str]) -> None:
        """Keep the offsets and schema versions of new events."""
        self.new += zip([record.offset for record in records], versions, strict=True)

    def reused(self, count: int) -> None:
        """Keep the number of events whose offset was used again."""
        self.reused_offsets += count

    def settled(self, records: Sequence[Record], dead: Sequence[DeadLetter]) -> None:
        """Keep the size of a batch and the reasons of its dead letters."""
        self.batches.append((len(records), [letter.reason.value for letter in dead]))


class FakeRollupStore:
    """Keeps rollups in memory, as documents."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Document]] = {level.name: {} for level in LEVELS}
        self.is_unreachable = self.is_read_only = False
        #: Called before each write.
        self.before_write: Callable[[], None] = lambda: None

    async def load(self, level: Level, ids: Sequence[str]) -> Mapping[str, Rollup]:
        """Return the rollups that are stored."""
        self._check()
        found = self.documents[level.name]
        return {id_: Rollup(id_, deepcopy(found[id_])) for id_ in ids if id_ in found}

    async def write_if_unchanged(self, level: Level, writes: Sequence[ConditionalWrite]) -> bool:
        """Write each rollup whose expected version is stored; return whether that were all."""
        self._check()
        if self.is_read_only:
            raise StoreUnavailable("read-only")
        self.before_write()
        written = [self._write(self.documents[level.name], each) for each in writes]
        return all(written)

    def _write(self, stored: dict[str, Document], write: ConditionalWrite) -> bool:
        id_ = write.document["_id"]
        version = (stored[id_]["offset"], stored[id_]["n"]) if id_ in stored else None
        if version == write.expected_version:
            # The writer goes on adding to the rollup whose maps the document has.
            stored[id_] = deepcopy(write.document)
        return version == write.expected_version

    async def high_watermark(self, partition_id: PartitionId) -> int:
        """Return the highest offset of a partition at any level."""
        self._check()
        start = f"{partition_id.topic_id}:{partition_id.partition}:"
        rollups = (each for level in self.documents.values() for each in level.items())
        return max((rollup["offset"] for id_, rollup in rollups if id_.startswith(start)), default=-1)

    def total(self, level: str) -> int:
        """Return the number of events in all rollups of a level."""
        return sum(document["n"] for document in self.documents[level].values())

    def _check(self) -> None:
        if self.is_unreachable:
            raise StoreUnavailable("unreachable")


class FakeOutOfOrderStore:
    """Stores and counts events in the fakes of the two stores."""

    def __init__(self, events: FakeEventStore, rollups: FakeRollupStore) -> None:
        self._events = events
        self._rollups = rollups

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Store and count each event that is not stored yet."""
        known = await self._events.known([document["_id"] for document in documents])
        reused = {
            index
            for index, document in enumerate(documents)
            if document["_id"] in known and is_another_event(document, known[document["_id"]])
        }
        given = [with_id_of_its_own(each) if index in reused else each for index, each in enumerate(documents)]
        marked = [{**document, "kafka": {**document["kafka"], "apart": True}} for document in given]
        outcome = await self._events.insert(marked)
        new = [index for index in range(len(marked)) if index not in outcome.duplicates | outcome.refused.keys()]
        for index in new:
            place = (partition_id_of(marked[index]), marked[index]["kafka"]["offset"])
            if index in reused or place not in self._events.counted:
                self._count(marked[index])
            if index not in reused:
                self._events.counted.add(place)
        return Outcome(
            duplicates=outcome.duplicates, refused=outcome.refused, reused=frozenset(reused).intersection(new)
        )

    def _count(self, document: Document) -> None:
        partition_id = partition_id_of(document)
        for level in LEVELS:
            for start, delta in PendingCounts.of([document]).after(-1, level).items():
                id_ = id_of(partition_id, start)
                rollup = Rollup(id_, self._rollups.documents[level.name].get(id_))
                rollup.add_out_of_order(delta)
                self._rollups.documents[level.name][id_] = rollup.document()


class FakeDeadLetters:
    """Keeps dead letters in memory."""

    def __init__(self) -> None:
        self.sent: list[DeadLetter] = []
        self.is_unreachable = False

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Keep those that were not sent before."""
        if self.is_unreachable:
            raise BrokerUnavailable("unreachable")
        sent = {*self.sent}
        self.sent += [letter for letter in letters if letter not in sent]
