"""Doubles of the sink's ports; each passes the contract tests of the real thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from streamapp.decode.document import Document, LazyDocument
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import BrokerUnavailable, StoreUnavailable
from streamapp.model.record import DeadLetter, Origin, PartitionId, Record
from streamapp.rollups.keys import id_of, partition_id_of
from streamapp.rollups.levels import LEVELS, Level
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.rollup import ConditionalWrite, Rollup
from streamapp.sink.ports import Outcome


class FakeSchemas:
    """Knows the schemas that it is given."""

    def __init__(self, *writers: WriterSchema) -> None:
        self.known = {writer.schema_id: writer for writer in writers}

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        """Return what is known."""
        return self.known


class FakeEventStore:
    """Keeps documents in memory; refuses integers that BSON has no room for, as MongoDB's driver does."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.dead_letters: Counter[str] = Counter()
        self.is_away = False
        #: How many of the next inserts find it away.
        self.away_for = 0
        self._counted: set[tuple[str, Origin]] = set()

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Insert each document that is new and storable."""
        self._check()
        if self.away_for:
            self.away_for -= 1
            raise StoreUnavailable("away")
        duplicates: set[int] = set()
        refused: dict[int, str] = {}
        for index, document in enumerate(documents):
            if any(isinstance(value, int) and value.bit_length() > 63 for value in document.values()):
                refused[index] = "OverflowError"
            elif document["_id"] in self.documents:
                duplicates.add(index)
            else:
                self.documents[document["_id"]] = document.decoded() if isinstance(document, LazyDocument) else document
        return Outcome(duplicates=frozenset(duplicates), refused=refused)

    async def known(self, ids: Sequence[str]) -> Mapping[str, bool]:
        """Those that are there, and whether they are marked."""
        self._check()
        return {id_: "apart" in self.documents[id_]["kafka"] for id_ in ids if id_ in self.documents}

    async def uncounted(self, ids: Sequence[str]) -> Sequence[Document]:
        """Those that are there and not marked."""
        self._check()
        there = [self.documents[id_] for id_ in ids if id_ in self.documents]
        return [document for document in there if "apart" not in document["kafka"]]

    async def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Count each event once for each reason."""
        self._check()
        self._counted |= {(letter.reason.value, letter.origin._replace(failures=0)) for letter in letters}
        self.dead_letters = Counter(reason for reason, _ in self._counted)

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")


class FakeObserver:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.inserts: list[float] = []
        self.new: list[tuple[int, str]] = []
        self.batches: list[tuple[int, list[str]]] = []

    def inserted(self, seconds: float) -> None:
        """Note an insert."""
        self.inserts.append(seconds)

    def stored(self, records: Sequence[Record], versions: Sequence[str]) -> None:
        """Note the offsets and schema versions of new events."""
        self.new += zip([record.offset for record in records], versions, strict=True)

    def settled(self, records: Sequence[Record], dead: Sequence[DeadLetter]) -> None:
        """Note a batch."""
        self.batches.append((len(records), [letter.reason.value for letter in dead]))


class FakeRollups:
    """Keeps rollups in memory, as documents."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Document]] = {level.name: {} for level in LEVELS}
        self.is_away = self.is_read_only = False
        #: Called before each write.
        self.before_swap: Callable[[], None] = lambda: None

    async def load(self, level: Level, ids: Sequence[str]) -> Mapping[str, Rollup]:
        """Those that are there."""
        self._check()
        found = self.documents[level.name]
        return {id_: Rollup(id_, found[id_]) for id_ in ids if id_ in found}

    async def write_if_unchanged(self, level: Level, writes: Sequence[ConditionalWrite]) -> bool:
        """Write those whose guard holds."""
        self._check()
        if self.is_read_only:
            raise StoreUnavailable("read-only")
        self.before_swap()
        written = [self._swap(self.documents[level.name], write_if_unchanged) for write_if_unchanged in writes]
        return all(written)

    def _swap(self, stored: dict[str, Document], write_if_unchanged: ConditionalWrite) -> bool:
        id_ = write_if_unchanged.document["_id"]
        expected_version = (stored[id_]["offset"], stored[id_]["n"]) if id_ in stored else None
        if expected_version == write_if_unchanged.expected_version:
            stored[id_] = write_if_unchanged.document
        return expected_version == write_if_unchanged.expected_version

    async def high_watermark(self, partition_id: PartitionId) -> int:
        """The last offset of a partition in the coarsest level."""
        self._check()
        ours = [
            each
            for id_, each in self.documents["1d"].items()
            if id_.startswith(f"{partition_id.topic_id}:{partition_id.partition}:")
        ]
        return max((each["offset"] for each in ours), default=-1)

    def total(self, level: str) -> int:
        """Events in all rollups of a level."""
        return sum(document["n"] for document in self.documents[level].values())

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")


class FakeOutOfOrderStore:
    """Stores and counts in the doubles."""

    def __init__(self, store: FakeEventStore, rollups: FakeRollups) -> None:
        self._store = store
        self._rollups = rollups

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Store and count what is new."""
        outcome = await self._store.insert(documents)
        for index, document in enumerate(documents):
            if index not in outcome.duplicates and index not in outcome.refused:
                document["kafka"]["apart"] = True
                self._count(document)
        return outcome

    def _count(self, document: Document) -> None:
        partition_id = partition_id_of(document)
        for level in LEVELS:
            for start, deltas in PendingCounts.of([document]).after(-1, level).items():
                id_ = id_of(partition_id, start)
                rollup = Rollup(id_, self._rollups.documents[level.name].get(id_))
                rollup.add(deltas)
                self._rollups.documents[level.name][id_] = rollup.document()


class FakeDeadLetters:
    """Keeps dead letters in memory."""

    def __init__(self) -> None:
        self.sent: list[DeadLetter] = []
        self.is_away = False

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Keep them."""
        if self.is_away:
            raise BrokerUnavailable("away")
        self.sent += letters
