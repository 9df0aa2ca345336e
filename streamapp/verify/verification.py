"""Compare a topic with the documents and dead letters that its records have become: `streamapp verify`.

In this order, so that a worker beside it raises no false alarm: what its group has committed; the dead letters; where
the topic ends, so that it has the records of these; each partition, in which every record below the commit must have
its fate by now; then all documents, each of which must have a record; then the counts of dead letters. Nothing is
written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from streamapp.decode import wire_format
from streamapp.decode.document import id_of
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import StreamappError
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.record import Origin, Record, TopicRecord, origin_of
from streamapp.mongodb.client import Mongo
from streamapp.registry.client import RegistryClient
from streamapp.settings import Settings
from streamapp.verify.checks import counts, document_diff
from streamapp.verify.checks.offsets import Bits
from streamapp.verify.checks.verdict import PartitionFates, Problem, Verdict
from streamapp.verify.letter_index import LetterIndex
from streamapp.verify.orphans import OrphanSearch

#: Records compared at the same time, and bytes of them.
MAX_IDS_PER_QUERY = 5_000
MAX_BYTES_PER_QUERY = 16 * 1024 * 1024

Advance = Callable[[int], None]


class Verification:
    """One comparison of all that is still retained; raises BrokerUnavailable, RegistryUnavailable and PyMongoError."""

    def __init__(self, settings: Settings, mongo: Mongo) -> None:
        servers = settings.kafka_bootstrap_servers
        self._settings = settings
        self._broker = KafkaAdmin(servers)
        self._reader = TopicReader(servers, settings.topic)
        self._letter_reader = TopicReader(servers, settings.dead_letter_topic)
        self._registry = RegistryClient(settings.schema_registry_url, settings.subject)
        self._mongo = mongo
        self._events = mongo.primary["events"]
        self._dead_letters = mongo.primary["dead_letters"]
        self._runner = asyncio.Runner()
        self._schemas: dict[int, WriterSchema] = {}
        self._asked: set[int] = set()
        self._records: dict[int, Bits] = {}
        self._fates: dict[int, PartitionFates] = {}
        self._nowhere = PartitionFates(partition=None)
        self.letters = LetterIndex()
        self.committed: Mapping[int, int] = {}
        self.topic_id: str | None = None

    def close(self) -> None:
        """Give up the connections."""
        self._runner.close()
        self._registry.close()
        self._reader.close()
        self._letter_reader.close()

    def begin(self) -> int:
        """Find what there is to compare, and read the dead letters; how many records and documents there are."""
        if not self._reader.partitions():
            message = f"Kafka has no topic {self._reader.topic} (STREAMAPP_TOPIC): there is nothing to compare."
            raise StreamappError(message)
        self.topic_id = self._ask_topic_id()
        self.committed = self._ask_committed()
        self.letters.read(self._letter_reader)
        self._counted_first = self.letters.counted_of(self._reader.topic)
        partitions = self._reader.partitions()
        self._records = {partition: Bits(*self._reader.bounds(partition)) for partition in partitions}
        self._fates = {partition: PartitionFates(partition=partition) for partition in partitions}
        self._is_compacted = self._runner.run(self._broker.is_compacted(self._reader.topic))
        return sum(bits.end - bits.start for bits in self._records.values()) + self._events.estimated_document_count()

    def go(self, advance: Advance) -> Verdict:
        """Compare everything; tells how many records and documents it has read."""
        for partition, fates in self._fates.items():
            self._go_through(partition, fates, advance)
            if not fates.is_settled:
                raise AssertionError(fates.counts())
        self._find_orphans(advance)
        others = self._compare_counts()
        if self._ask_topic_id() != self.topic_id:
            message = f"The topic {self._reader.topic} was deleted and made again meanwhile; verify again."
            raise StreamappError(message)
        partition_ids = [*self._fates.values(), *([self._nowhere] if any(self._nowhere.counts().values()) else [])]
        return Verdict(partition_ids=partition_ids, others=others)

    def _ask_topic_id(self) -> str | None:
        return self._runner.run(self._broker.topic_id_of(self._reader.topic))

    def _ask_committed(self) -> Mapping[int, int]:
        return self._reader.committed(self._settings.app_id)

    # Every record has its fate

    def _go_through(self, partition: int, fates: PartitionFates, advance: Advance) -> None:
        bits, settled = self._records[partition], self.committed.get(partition, 0)
        for records in _chunks(self._reader.read(partition, bits.start, bits.end)):
            fates.records += len(records)
            ours = [record for record in records if record.offset < settled]
            fates.not_settled += len(records) - len(ours)
            for record in records[len(ours) :]:
                bits.add(record.offset)
            if ours:
                self._judge(ours, fates, bits)
            advance(len(records))

    def _judge(self, records: Sequence[TopicRecord], fates: PartitionFates, bits: Bits) -> None:
        origins = [origin_of(record, self.topic_id) for record in records]
        ids = [id_of(origin) for origin in origins]
        stored = self.stored(ids)
        self._learn({record.value for record, id_ in zip(records, ids, strict=True) if id_ in stored})
        for record, origin, id_ in zip(records, origins, ids, strict=True):
            is_replay = bool(record.headers) and origin.differs_from(record, self.topic_id)
            if not is_replay:
                bits.add(record.offset)
            self._judge_one(record, origin, id_, stored.get(id_), fates, is_replay=is_replay)

    def _judge_one(  # noqa: PLR0913 - a record, and all that is known of it
        self,
        record: Record,
        origin: Origin,
        id_: str,
        raw: bytes | None,
        fates: PartitionFates,
        *,
        is_replay: bool,
    ) -> None:
        failure = self.letters.failures.get(id_)
        if raw is not None:
            if why := document_diff.difference(raw, record, origin, self._schemas):
                fates.differing.add(record.offset, why)
        elif failure is None or failure.origin.failures <= origin.failures:
            fates.missing.add(record.offset, f"a replay of {id_}" if is_replay else "")
            return
        elif not failure.is_of(record):
            fates.differing.add(record.offset, "its dead letter has another key or value")
        if is_replay:
            fates.replays += 1
        elif raw is not None:
            fates.stored += 1
        else:
            fates.dead_lettered += 1

    def stored(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """Those of the documents that are stored, as bytes."""
        batches = self._events.find_raw_batches({"_id": {"$in": ids}}, batch_size=MAX_IDS_PER_QUERY)
        return {
            document_diff.id_in(raw): raw for batch in batches for raw in document_diff.documents_in(cast("Any", batch))
        }

    def _learn(self, values: set[bytes | None]) -> None:
        headers = {
            value[: wire_format.HEADER.size] for value in values if value and len(value) >= wire_format.HEADER.size
        }
        # Ids are positive: another is not asked for.
        new = {id_ for header in headers if (id_ := wire_format.HEADER.unpack(header)[1]) > 0} - self._asked
        self._asked |= new
        self._schemas.update(self._runner.run(self._look_up(new)))

    async def _look_up(self, schema_ids: Iterable[int]) -> Mapping[int, WriterSchema]:
        found = await asyncio.gather(*map(self._registry.look_up, schema_ids))
        return {writer.schema_id: writer for writer in found if writer}

    # Every document and dead letter has its record

    def _find_orphans(self, advance: Advance) -> None:
        orphans = OrphanSearch(
            self._reader,
            self._mongo,
            topic_id=self.topic_id,
            is_compacted=self._is_compacted,
            records=self._records,
            fates=self._fates,
            nowhere=self._nowhere,
        )
        orphans.find(self.letters.failures, advance)

    # Dead letters are counted once

    def _compare_counts(self) -> list[Problem]:
        # What a worker has sent and not committed yet, it may still have to count.
        at_least = self._counted_first if self._is_all_settled() else {}
        documents = [*self._dead_letters.find()]
        self.letters.read(self._letter_reader)
        at_most = {key: len(ids) for key, ids in self.letters.counted.items()}
        return [*counts.wrong(documents, least=at_least, most=at_most, may_count_others=self._may_count_others)]

    def _is_all_settled(self) -> bool:
        """Whether the group has committed by now what the topic held when its dead letters were read."""
        if not any(fates.not_settled for fates in self._fates.values()):
            return True
        committed = self._ask_committed()
        return all(committed.get(partition, 0) >= bits.end for partition, bits in self._records.items())

    def _may_count_others(self, offsets: Iterable[str]) -> bool:
        """Whether dead letters of other topics, or such as are deleted by now, may be counted with these."""
        partition_ids = {f"{self.topic_id or self._reader.topic.replace('.', '_')}-{p}" for p in self._records}
        return self.letters.is_cut or not {*offsets} <= partition_ids


def _chunks(records: Iterator[TopicRecord]) -> Iterator[Sequence[TopicRecord]]:
    chunk: list[TopicRecord] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record.value or b"")
        if len(chunk) >= MAX_IDS_PER_QUERY or size >= MAX_BYTES_PER_QUERY:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
