"""Compare a topic with the documents and dead letters of its records: `streamapp verify`; writes nothing.

The order of the reads avoids false alarms while a worker runs: first the committed offsets, then the dead letters, then
the end offsets of the topic, which cover the records of these dead letters. Every record below the committed offset
must be stored or dead-lettered. Then every document must have a record. Last, the counts of dead letters are compared.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.registry import RegistryConnection
from streamapp.decode import wire_format
from streamapp.decode.document import id_of
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import StreamappError
from streamapp.kafka.admin import KafkaAdmin
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model import replays
from streamapp.model.expiry import Expiry
from streamapp.model.record import UNKNOWN_TIMESTAMP, Origin, Record, TopicRecord, UnreadableRecords, own_origin
from streamapp.mongodb import canonical_schemas, event_retention, failed_offsets, schema_versions
from streamapp.mongodb.client import Mongo
from streamapp.registry.client import RegistryClient
from streamapp.settings import Settings
from streamapp.verify.checks import counts, document_diff
from streamapp.verify.checks.document_diff import SchemaVersion
from streamapp.verify.checks.offsets import OffsetBitmap
from streamapp.verify.checks.result import PartitionFates, Problem, VerificationResult
from streamapp.verify.checks.shape_history import ShapeHistory
from streamapp.verify.failure_index import FailureIndex
from streamapp.verify.orphans import OrphanSearch
from streamapp.verify.record_chunks import MAX_RECORDS, chunks
from streamapp.verify.reused_offsets import ReusedOffsets, is_of_lost_record
from streamapp.verify.unreadable_batches import UnreadableBatches

Advance = Callable[[int], None]


class Verification:
    """One comparison of all retained records; raises BrokerUnavailable, RegistryUnavailable and PyMongoError."""

    def __init__(self, settings: Settings, mongo: Mongo) -> None:
        kafka = KafkaConnection.of(settings)
        self._settings = settings
        self._admin = KafkaAdmin(kafka)
        self._reader = TopicReader(kafka, settings.topic, group=settings.app_id)
        self._dead_letter_reader = TopicReader(kafka, settings.dead_letter_topic, group=settings.app_id)
        self._registry = RegistryClient(RegistryConnection.of(settings), settings.subject)
        self._mongo = mongo
        self._events = mongo.primary["events"]
        self._dead_letters = mongo.primary["dead_letters"]
        self._runner = asyncio.Runner()
        self._schemas: dict[int, WriterSchema] = {}
        self._requested_ids: set[int] = set()
        #: What workers have seen in the registry, with fingerprints; the registry may have lost it since.
        self._noted: Mapping[SchemaVersion, str | None] = {}
        #: Schema id → stored records that cannot be compared, because the registry has lost their schema.
        self._of_lost_schemas: Counter[int] = Counter()
        #: Dead letters that have only a part of their record.
        self._cut = 0
        self._reused = ReusedOffsets(self.find_documents)
        self._records: dict[int, OffsetBitmap] = {}
        self._fates: dict[int, PartitionFates] = {}
        self._outside = PartitionFates(partition=None)
        self.failures = FailureIndex()
        self._unreadable = UnreadableBatches(self.find_documents, failed=self.failures.by_event_id)
        self.committed: Mapping[int, int] = {}
        self.expiry = Expiry()
        self.topic_id: str | None = None

    def close(self) -> None:
        """Close the connections."""
        self._runner.close()
        self._registry.close()
        self._reader.close()
        self._dead_letter_reader.close()

    def prepare(self) -> int:
        """Read offsets and dead letters; return the number of records and documents to compare."""
        if not self._reader.partitions():
            message = f"Kafka has no topic {self._reader.topic} (STREAMAPP_TOPIC), so there is nothing to compare."
            raise StreamappError(message)
        self.topic_id = self._fetch_topic_id()
        self.committed = self._fetch_committed()
        self._noted = schema_versions.fingerprints(self._mongo.primary, self._settings.subject)
        self._reused.history = ShapeHistory(canonical_schemas.read(self._mongo.primary, self._settings.subject))
        self.expiry = event_retention.expiry(self._mongo.primary)
        self.failures.read(self._dead_letter_reader)
        self._counts_at_start = self.failures.counted_of(self._reader.topic)
        partitions = self._reader.partitions()
        self._records = {partition: OffsetBitmap(*self._reader.bounds(partition)) for partition in partitions}
        self._fates = {partition: PartitionFates(partition=partition) for partition in partitions}
        self._is_compacted = self._runner.run(self._admin.is_compacted(self._reader.topic))
        return (
            sum(bitmap.end - bitmap.start for bitmap in self._records.values())
            + self._events.estimated_document_count()
        )

    def run(self, advance: Advance) -> VerificationResult:
        """Compare records, documents and counts; call `advance` with each number of records or documents read."""
        for partition, fates in self._fates.items():
            self._compare_partition(partition, fates, advance)
            if not fates.is_complete:
                raise AssertionError(fates.counts())
        self._find_orphans(advance)
        others = self._compare_counts()
        if self._fetch_topic_id() != self.topic_id:
            message = (
                f"The topic {self._reader.topic} was deleted and re-created during the comparison."
                " Run `streamapp verify` again."
            )
            raise StreamappError(message)
        partitions = [*self._fates.values(), *([self._outside] if any(self._outside.counts().values()) else [])]
        return VerificationResult(
            partitions=partitions,
            others=others,
            of_lost_schemas=self._of_lost_schemas,
            unreadable=[*self._unreadable.places, *self.failures.unreadable],
            cut=self._cut,
        )

    def _fetch_topic_id(self) -> str | None:
        return self._runner.run(self._admin.topic_id_of(self._reader.topic))

    def _fetch_committed(self) -> Mapping[int, int]:
        return self._reader.committed(self._settings.app_id)

    # Every committed record is stored or dead-lettered

    def _compare_partition(self, partition: int, fates: PartitionFates, advance: Advance) -> None:
        bitmap, end = self._records[partition], self.committed.get(partition, 0)
        last_ms = UNKNOWN_TIMESTAMP
        for records in chunks(self._reader.read(partition, bitmap.start, bitmap.end)):
            self._aged_out_before = self.expiry.before_ms(datetime.now(UTC))
            readable = [record for record in records if not isinstance(record, UnreadableRecords)]
            fates.records += len(readable)
            committed = [record for record in readable if record.offset < end]
            fates.not_settled += len(readable) - len(committed)
            for record in readable[len(committed) :]:
                bitmap.add(record.offset)
            if committed:
                self._compare(committed, fates, bitmap)
            for record in records:
                if isinstance(record, UnreadableRecords):
                    for offset in range(record.offset, record.end):
                        bitmap.add(offset)
                    self._unreadable.compare(
                        record,
                        fates,
                        topic_id=self.topic_id,
                        is_settled=record.offset < end,
                        # The time of the record before it stands for its own, which nobody can read.
                        may_be_aged_out=last_ms < self._aged_out_before,
                    )
                else:
                    last_ms = record.timestamp
            advance(len(records))

    def _compare(self, records: Sequence[TopicRecord], fates: PartitionFates, bitmap: OffsetBitmap) -> None:
        replayed = self._find_replays(records)
        origins = [replayed.get(record.offset) or own_origin(record, self.topic_id) for record in records]
        ids = [id_of(origin) for origin in origins]
        stored = self.find_documents(ids)
        self._look_up_schemas({record.value for record, id_ in zip(records, ids, strict=True) if id_ in stored})
        replays_at = {
            record.offset: own_origin(record, self.topic_id)
            for record, origin in zip(records, origins, strict=True)
            if record.headers and origin.differs_from(record, self.topic_id)
        }
        lost = self._reused.of_lost_records(replays_at)
        fates.older += len(lost)
        for record, origin, id_ in zip(records, origins, ids, strict=True):
            is_replay = record.offset in replays_at
            if not is_replay or record.offset in lost:
                bitmap.add(record.offset)
            self._compare_record(record, origin, id_, stored.get(id_), fates, is_replay=is_replay)

    def _find_replays(self, records: Sequence[TopicRecord]) -> Mapping[int, Origin]:
        """The replayed dead letters among the records of one partition, as a worker recognises them."""
        first = records[0]
        claims = replays.claims(records, first.topic, first.partition, self.topic_id, self._settings.signing_key)
        if claims.doubtful:  # hardly ever
            own = {
                id_of(own_origin(each, self.topic_id)): each.offset
                for each in records
                if each.offset in claims.doubtful
            }
            stored = self.find_documents([*own])
            handled = {offset for id_, offset in own.items() if id_ in stored or id_ in self.failures.by_event_id}
            marks = self._mongo.primary[failed_offsets.COLLECTION]
            found = {place: failed_offsets.find(marks, place, offsets) for place, offsets in claims.places().items()}
            claims.resolve({place: each.failed | each.counted for place, each in found.items()}, handled=handled)
        return claims.believed

    def _compare_record(  # noqa: PLR0913 - a record, its document and its fate
        self,
        record: Record,
        origin: Origin,
        id_: str,
        raw: bytes | None,
        fates: PartitionFates,
        *,
        is_replay: bool,
    ) -> None:
        failure = self.failures.by_event_id.get(id_)
        if raw is not None and failure is not None and failure.is_of(record) and is_of_lost_record(raw, origin):
            fates.older += 1
            raw = None
        if raw is not None:
            self._compare_document(raw, record, origin, fates)
        elif failure is None or failure.origin.failures <= origin.failures:
            # Its event was received after the Kafka timestamp.
            if record.timestamp < self._aged_out_before:
                fates.aged_out += 1
            else:
                fates.missing.add(record.offset, f"a replay of {id_}" if is_replay else "")
            return
        elif not failure.is_of(record):
            fates.differing.add(record.offset, "the dead letter has another key or value")
        self._cut += raw is None and failure is not None and failure.is_cut_of(record)
        if is_replay:
            fates.replays += 1
        elif raw is not None:
            fates.stored += 1
        else:
            fates.dead_lettered += 1

    def _compare_document(self, raw: bytes, record: Record, origin: Origin, fates: PartitionFates) -> None:
        history = self._reused.history
        why = document_diff.difference(raw, record, origin, self._schemas, self._noted, history=history)
        if why is None:
            return
        if self._reused.is_stored(record, origin, self._schemas, self._noted):
            fates.older += 1
            return
        if document_diff.has_lost_schema(raw, record, origin, self._schemas, self._noted):
            self._of_lost_schemas[wire_format.schema_id_of(record.value)] += 1
        else:
            fates.differing.add(record.offset, why)

    def find_documents(self, ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the stored documents with these ids as BSON, by id."""
        batches = self._events.find_raw_batches({"_id": {"$in": ids}}, batch_size=MAX_RECORDS)
        return {
            document_diff.id_in(raw): raw for batch in batches for raw in document_diff.documents_in(cast("Any", batch))
        }

    def _look_up_schemas(self, values: set[bytes | None]) -> None:
        headers = {
            value[: wire_format.HEADER.size] for value in values if value and len(value) >= wire_format.HEADER.size
        }
        # Schema ids are positive: the registry is not asked for any other.
        new = {id_ for header in headers if (id_ := wire_format.HEADER.unpack(header)[1]) > 0} - self._requested_ids
        self._requested_ids |= new
        self._schemas.update(self._runner.run(self._look_up(new)))

    async def _look_up(self, schema_ids: Iterable[int]) -> Mapping[int, WriterSchema]:
        found = await asyncio.gather(*map(self._registry.look_up, schema_ids))
        return {writer.schema_id: writer for writer in found if writer}

    # Every document and dead letter has a record

    def _find_orphans(self, advance: Advance) -> None:
        orphans = OrphanSearch(
            self._reader,
            self._mongo,
            topic_id=self.topic_id,
            is_compacted=self._is_compacted,
            records=self._records,
            fates=self._fates,
            outside=self._outside,
            reused=self._reused.found,
        )
        orphans.find(self.failures.by_event_id, advance)

    # Every dead letter is counted once

    def _compare_counts(self) -> list[Problem]:
        # A worker counts a dead letter after it sends it, and before it commits the offset of its record.
        at_least = self._counts_at_start if self._is_all_settled() else {}
        documents = [*self._dead_letters.find()]
        self.failures.read(self._dead_letter_reader)
        at_most = {key: len(ids) for key, ids in self.failures.counted.items()}
        return [
            *counts.count_problems(documents, least=at_least, most=at_most, may_count_others=self._may_count_others)
        ]

    def _is_all_settled(self) -> bool:
        """Whether the group has committed all records that the topic had when its dead letters were read."""
        if not any(fates.not_settled for fates in self._fates.values()):
            return True
        committed = self._fetch_committed()
        return all(committed.get(partition, 0) >= bitmap.end for partition, bitmap in self._records.items())

    def _may_count_others(self, offsets: Iterable[str]) -> bool:
        """Whether the counts may include dead letters of other topics, or dead letters that were deleted."""
        partition_ids = {f"{self.topic_id or self._reader.topic.replace('.', '_')}-{p}" for p in self._records}
        return self.failures.is_truncated or not {*offsets} <= partition_ids
