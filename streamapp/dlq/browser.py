"""What lies in the dead-letter topic, and what has become of it: asked of Kafka and MongoDB, changing nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager

from streamapp.decode.document import id_of
from streamapp.dlq.index import DeadLetterIndex, Letter
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.record import TopicRecord, origin_from_headers
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_store import EventStore
from streamapp.settings import Settings

_ASKED_AT_ONCE = 1_000
_TOLD_EVERY = 100

#: Shows that something is under way and how many records it is; gives what is to be called with how many more are done.
Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class DeadLetterBrowser:
    """The dead-letter topic, beside its original topic, the worker's group and the store."""

    def __init__(self, settings: Settings, *, watch: Watch) -> None:
        servers = settings.kafka_bootstrap_servers
        self.letters = TopicReader(servers, settings.dead_letter_topic)
        self.originals = TopicReader(servers, settings.topic)
        self._group = settings.app_id
        self._broker = KafkaAdmin(servers)
        self._mongo_uri, self._database = settings.mongo_uri.get_secret_value(), settings.mongo_database
        self._watch = watch

    def read(self) -> DeadLetterIndex:
        """All that lies there."""
        index = DeadLetterIndex()
        bounds = {partition: self.letters.bounds(partition) for partition in self.letters.partitions()}
        spans = [(partition, low, high) for partition, (low, high) in bounds.items()]
        for record in self._read(self.letters, "reading dead letters", spans):
            index.add(record)
        return index

    def record(self, partition: int, offset: int) -> TopicRecord | None:
        """The record that lies at this place of the dead-letter topic."""
        if partition not in self.letters.partitions():
            return None
        low, high = self.letters.bounds(partition)
        if not low <= offset < high:
            return None
        found = next(self.letters.read(partition, offset, high), None)
        return found if found and found.offset == offset else None

    def stored(self, letters: Iterable[Letter]) -> AbstractSet[str]:
        """The ids of those whose event is stored; raises StoreUnavailable."""
        ids = [letter.event_id for letter in letters]
        mongo = Mongo(self._mongo_uri, self._database)
        try:
            return asyncio.run(_known(EventStore(mongo), ids))
        finally:
            mongo.close()

    def committed(self) -> Mapping[int, int]:
        """The offset up to which the worker's group has committed, of each partition that it has committed any of."""
        return self.originals.committed(self._group)

    def in_topic(self, letters: Sequence[Letter], committed: Mapping[int, int]) -> AbstractSet[str]:
        """The ids of those that have a record, replayed or the first one, behind what was committed."""
        if not letters or not self.originals.partitions():
            return set()
        spans = self._unread(committed)
        topic_id = asyncio.run(self._broker.topic_id_of(self.originals.topic))
        unread = {partition: start for partition, start, _ in spans}
        found = {letter.event_id for letter in letters if _is_first_unread(letter, unread, topic_id)}
        for record in self._read(self.originals, "reading what the worker has not read yet", spans):
            if record.headers and (origin := origin_from_headers(record.headers)):
                found.add(id_of(origin))
        return found

    def close(self) -> None:
        """Give up the connections."""
        self.letters.close()
        self.originals.close()

    def _unread(self, committed: Mapping[int, int]) -> Sequence[tuple[int, int, int]]:
        bounds = {partition: self.originals.bounds(partition) for partition in self.originals.partitions()}
        return [(partition, max(low, committed.get(partition, low)), high) for partition, (low, high) in bounds.items()]

    def _read(self, reader: TopicReader, what: str, spans: Sequence[tuple[int, int, int]]) -> Iterable[TopicRecord]:
        with self._watch(what, sum(max(end - start, 0) for _, start, end in spans)) as advance:
            for span in spans:
                for done, record in enumerate(reader.read(*span), start=1):
                    yield record
                    if done % _TOLD_EVERY == 0:
                        advance(_TOLD_EVERY)


def _is_first_unread(letter: Letter, unread: dict[int, int], topic_id: str | None) -> bool:
    """Whether the event's own record, of this life of the topic, comes to the worker once more by itself."""
    origin = letter.origin
    return origin.topic_id == topic_id and origin.offset >= unread.get(origin.partition, origin.offset + 1)


async def _known(store: EventStore, ids: Sequence[str]) -> AbstractSet[str]:
    found: set[str] = set()
    for start in range(0, len(ids), _ASKED_AT_ONCE):
        found |= (await store.known(ids[start : start + _ASKED_AT_ONCE])).keys()
    return found
