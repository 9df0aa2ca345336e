"""Read the dead-letter topic, and find the state of each dead letter in Kafka and MongoDB; writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager

from streamapp.connections import mongodb
from streamapp.connections.kafka import KafkaConnection
from streamapp.decode.document import id_of
from streamapp.dlq.index import DeadLetterIndex, Letter
from streamapp.dlq.originals import restored
from streamapp.errors import StreamappError
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model import replays
from streamapp.model.omitted import is_omitted
from streamapp.model.record import TopicRecord, UnreadableRecords, origin_from_headers
from streamapp.mongodb.client import Mongo
from streamapp.mongodb.event_store import EventStore
from streamapp.settings import Settings

_IDS_PER_QUERY = 1_000
_ADVANCE_EVERY = 100

#: Shows the progress of a task, given its name and number of records; yields a function to call with each increment.
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class DeadLetterBrowser:
    """The dead-letter topic, its original topic, the worker's consumer group and the event store."""

    def __init__(self, settings: Settings, *, progress: Progress) -> None:
        kafka = KafkaConnection.of(settings)
        self.letters = TopicReader(kafka, settings.dead_letter_topic, group=settings.app_id)
        self.originals = TopicReader(kafka, settings.topic, group=settings.app_id)
        self._group = settings.app_id
        self._topic_id: str | None = None
        self._signing_key = settings.signing_key
        self._admin = KafkaAdmin(kafka)
        self._mongo_uri, self._database = mongodb.uri(settings), settings.mongo_database
        self._progress = progress

    def read(self) -> DeadLetterIndex:
        """Read the whole dead-letter topic."""
        index = DeadLetterIndex(signing_key=self._signing_key)
        bounds = {partition: self.letters.bounds(partition) for partition in self.letters.partitions()}
        spans = [(partition, low, high) for partition, (low, high) in bounds.items()]
        for record in self._read_spans(self.letters, "reading dead letters", spans):
            index.add(record)
        return index

    def record(self, partition: int, offset: int) -> TopicRecord | None:
        """Return the record at a partition and offset of the dead-letter topic; None if there is none."""
        if partition not in self.letters.partitions():
            return None
        low, high = self.letters.bounds(partition)
        if not low <= offset < high:
            return None
        found = next(self.letters.read(partition, offset, high), None)
        if isinstance(found, UnreadableRecords):
            raise StreamappError(f"The batch cannot be read: {self.letters.topic}, {found.place}.")
        return found if found and found.offset == offset else None

    def restored(self, record: TopicRecord) -> TopicRecord:
        """The dead letter with its content, which is read from the original topic; raises OriginalLost."""
        origin = origin_from_headers(record.headers)
        if origin is None or not is_omitted(record):
            return record
        if self._topic_id is None:
            self._topic_id = asyncio.run(self._admin.topic_id_of(self.originals.topic))
        return restored(record, origin, self.originals, self._topic_id)

    def stored_ids(self, letters: Iterable[Letter]) -> AbstractSet[str]:
        """Return the ids of those events that are stored; raise StoreUnavailable if MongoDB is unreachable."""
        ids = [letter.event_id for letter in letters]
        mongo = Mongo(self._mongo_uri, self._database)
        try:
            return asyncio.run(_find_stored(EventStore(mongo), ids))
        finally:
            mongo.close()

    def committed(self) -> Mapping[int, int]:
        """Return the committed offset of the worker's group for each partition that has one."""
        return self.originals.committed(self._group)

    def unread_ids(self, letters: Sequence[Letter], committed: Mapping[int, int]) -> AbstractSet[str]:
        """Return the ids of events with a record, original or replayed, that the group has not committed yet."""
        if not letters or not self.originals.partitions():
            return set()
        spans = self._unread_spans(committed)
        topic_id = asyncio.run(self._admin.topic_id_of(self.originals.topic))
        unread = {partition: start for partition, start, _ in spans}
        found = {letter.event_id for letter in letters if _is_original_unread(letter, unread, topic_id)}
        for record in self._read_spans(self.originals, "reading uncommitted records", spans):
            claims = replays.claims([record], record.topic, record.partition, topic_id, self._signing_key)
            found.update(id_of(origin) for origin in (*claims.believed.values(), *claims.doubtful.values()))
        return found

    def close(self) -> None:
        """Close the connections."""
        self.letters.close()
        self.originals.close()

    def _unread_spans(self, committed: Mapping[int, int]) -> Sequence[tuple[int, int, int]]:
        bounds = {partition: self.originals.bounds(partition) for partition in self.originals.partitions()}
        return [(partition, max(low, committed.get(partition, low)), high) for partition, (low, high) in bounds.items()]

    def _read_spans(
        self, reader: TopicReader, task: str, spans: Sequence[tuple[int, int, int]]
    ) -> Iterable[TopicRecord]:
        with self._progress(task, sum(max(end - start, 0) for _, start, end in spans)) as advance:
            for span in spans:
                for done, record in enumerate(reader.read(*span), start=1):
                    yield record
                    if done % _ADVANCE_EVERY == 0:
                        advance(_ADVANCE_EVERY)


def _is_original_unread(letter: Letter, unread: dict[int, int], topic_id: str | None) -> bool:
    """Whether the worker will read the event's original record: same topic id, and not committed yet."""
    origin = letter.origin
    return origin.topic_id == topic_id and origin.offset >= unread.get(origin.partition, origin.offset + 1)


async def _find_stored(store: EventStore, ids: Sequence[str]) -> AbstractSet[str]:
    found: set[str] = set()
    for start in range(0, len(ids), _IDS_PER_QUERY):
        found |= (await store.known(ids[start : start + _IDS_PER_QUERY])).keys()
    return found
