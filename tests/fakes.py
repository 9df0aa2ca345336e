"""Doubles of the sink's ports; each passes the contract tests of the real thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from streamapp.avro import WriterSchema
from streamapp.document import Document
from streamapp.errors import BrokerUnavailable, StoreUnavailable
from streamapp.inserter import Outcome
from streamapp.record import DeadLetter


class FakeSchemas:
    """Knows the schemas that it is given."""

    def __init__(self, *writers: WriterSchema) -> None:
        self.known = {writer.schema_id: writer for writer in writers}

    async def resolve(self, schema_ids: AbstractSet[int]) -> Mapping[int, WriterSchema]:
        """Return what is known."""
        return self.known


class FakeStore:
    """Keeps documents in memory; refuses integers that BSON has no room for, as MongoDB's driver does."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.dead_letters: Counter[str] = Counter()
        self.is_away = False
        self._counted: dict[tuple[str, str | None, int], int] = {}

    async def insert(self, documents: Sequence[Document]) -> Outcome:
        """Insert each document that is new and storable."""
        self._check()
        duplicates: set[int] = set()
        refused: dict[int, str] = {}
        for index, document in enumerate(documents):
            if any(isinstance(value, int) and value.bit_length() > 63 for value in document.values()):
                refused[index] = "OverflowError"
            elif document["_id"] in self.documents:
                duplicates.add(index)
            else:
                self.documents[document["_id"]] = document
        return Outcome(duplicates=frozenset(duplicates), refused=refused)

    async def count_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Count those past the last offset counted."""
        self._check()
        for letter in letters:
            key = (letter.reason.value, letter.origin.incarnation, letter.origin.partition)
            if letter.origin.offset > self._counted.get(key, -1):
                self._counted[key] = letter.origin.offset
                self.dead_letters[letter.reason.value] += 1

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")


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
