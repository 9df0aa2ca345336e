"""Find an event by its id or its coordinates, and read what explains it; writes nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple, Self

from bson import DatetimeMS

from streamapp.connections import mongodb
from streamapp.connections.kafka import KafkaConnection
from streamapp.connections.registry import RegistryConnection
from streamapp.decode import avro_schema, wire_format
from streamapp.decode.avro_schema import AvroType, SchemaError
from streamapp.decode.document import EventTimes, id_of
from streamapp.decode.writer_schema import WriterSchema
from streamapp.dlq.browser import DeadLetterBrowser, Progress
from streamapp.dlq.index import Letter, parse_letter
from streamapp.dlq.originals import OriginalLost
from streamapp.errors import StreamappError, Undecodable
from streamapp.evolution import sources, version_list
from streamapp.evolution.sources import NamedSchema, UnusableInput
from streamapp.explain.byte_layout import layout_of
from streamapp.explain.explanation import (
    Bucket,
    Diagnosis,
    Explanation,
    Fate,
    SchemaFacts,
    bucket_ids,
    bucket_of,
    diagnose,
)
from streamapp.kafka.admin import KafkaAdmin
from streamapp.model.record import Origin, TopicRecord, UnreadableRecords, origin_of, own_origin
from streamapp.mongodb.client import Mongo, translate_errors
from streamapp.registry.client import RegistryClient
from streamapp.settings import Settings

_PLACE = re.compile(r"(.+):(\d{1,9}):(\d{1,18})")
#: What follows topic id or topic in an `_id`; after an offset that Kafka gave twice, more follows.
_ID_END = re.compile(r"-(\d{1,9})-(\d{1,18})(?:-.*)?")


class EventNotFound(StreamappError):  # noqa: N818 - named by what happened
    """There is no such event; the message says where it was looked for."""


class _Found(NamedTuple):
    """An event in MongoDB, in the dead-letter topic, or only in the topic."""

    event_id: str
    origin: Origin
    document: Mapping[str, Any] | None = None
    letter: Letter | None = None


class Explainer:
    """Explains events; a context manager."""

    def __init__(self, settings: Settings, *, progress: Progress) -> None:
        self._settings = settings
        self._browser = DeadLetterBrowser(settings, progress=progress)
        self._registry = RegistryClient(RegistryConnection.of(settings), settings.subject)
        self._admin = KafkaAdmin(KafkaConnection.of(settings))
        self._mongo = Mongo(mongodb.uri(settings), settings.mongo_database)
        self._runner = asyncio.Runner()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for resource in (self._browser, self._registry, self._mongo, self._runner):
            self._stack.callback(resource.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def explain(self, text: str) -> Explanation:
        """Explain the event with this `_id`, or with the coordinates TOPIC:PARTITION:OFFSET.

        Raises:
            EventNotFound: there is none.
            Transient: a server does not answer.
        """
        place = _PLACE.fullmatch(text)
        found = self._at(place[1], int(place[2]), int(place[3])) if place else self._by_id(text)
        explanation = Explanation(
            event_id=found.event_id,
            origin=found.origin,
            fate=self._fate(found),
            document=found.document,
            letter=found.letter,
        )
        self._read_record(explanation)
        self._read_schema(explanation)
        if found.document is not None:
            explanation.buckets = self._buckets(found.document)
        elif found.letter is not None and explanation.record is not None:
            explanation.diagnosis = self._diagnosis(explanation, explanation.record)
        return explanation

    # Where the event is

    def _at(self, topic: str, partition: int, offset: int) -> _Found:
        if topic == self._settings.dead_letter_topic:
            return self._of_letter(partition, offset)
        if topic != self._settings.topic:
            raise EventNotFound(
                f"{topic!r} is neither {self._settings.topic} (STREAMAPP_TOPIC) nor {self._settings.dead_letter_topic}"
            )
        record = self._record(partition, offset)
        if record is None:
            # Kafka may have deleted the record of an event that is stored.
            origin = Origin(topic, partition, offset, -1, self._topic_id)
        else:
            origin = origin_of(record, self._topic_id)
        return self._with_fate(origin, is_in_kafka=record is not None)

    def _by_id(self, text: str) -> _Found:
        document = translate_errors(lambda: self._mongo.primary["events"].find_one({"_id": text}))
        if document is not None:
            return _of_document(document)
        for prefix in (self._topic_id, self._settings.topic):
            if prefix and (found := _ID_END.fullmatch(text.removeprefix(prefix))):
                return self._at(self._settings.topic, int(found[1]), int(found[2]))
        raise EventNotFound(
            f"No event {text!r} is stored. Give the _id of an event or a dead letter, which begins with the topic id"
            f" (that of {self._settings.topic} is {self._topic_id}), or TOPIC:PARTITION:OFFSET, such as"
            f" {self._settings.topic}:0:42"
        )

    def _with_fate(self, origin: Origin, *, is_in_kafka: bool) -> _Found:
        event_id = id_of(origin)
        wanted = {"_id": {"$regex": f"^{re.escape(event_id)}(-|$)"}}
        documents = translate_errors(lambda: [*self._mongo.primary["events"].find(wanted)])
        if documents:  # several if Kafka gave the offset twice: the last one has the longest _id
            return _of_document(max(documents, key=lambda each: str(each["_id"])))
        letter = self._browser.read().latest_of(*origin[:3]) if self._browser.letters.partitions() else None
        if letter is not None and letter.event_id == event_id:
            return _Found(event_id, letter.origin, letter=letter)
        if not is_in_kafka:
            raise EventNotFound(
                f"There is no event at {origin.topic}:{origin.partition}:{origin.offset}: it is neither stored nor"
                " dead-lettered, and Kafka has no such record"
            )
        return _Found(event_id, origin)

    def _of_letter(self, partition: int, offset: int) -> _Found:
        record = self._browser.record(partition, offset)
        letter = record and parse_letter(record, self._settings.signing_key)
        if not letter:
            topic = self._settings.dead_letter_topic
            raise EventNotFound(f"{topic}:{partition}:{offset} is not a dead letter of streamapp")
        # The dead letter may have been replayed since.
        document = translate_errors(lambda: self._mongo.primary["events"].find_one({"_id": letter.event_id}))
        return _Found(letter.event_id, letter.origin, document=document, letter=letter)

    def _fate(self, found: _Found) -> Fate:
        if found.document is not None:
            return Fate.STORED
        if found.letter is not None:
            return Fate.DEAD_LETTER
        committed = self._browser.committed().get(found.origin.partition, 0)
        return Fate.WAITING if found.origin.offset >= committed else Fate.MISSING

    # What Kafka has

    @cached_property
    def _topic_id(self) -> str | None:
        return self._runner.run(self._admin.topic_id_of(self._settings.topic))

    def _record(self, partition: int, offset: int) -> TopicRecord | None:
        reader = self._browser.originals
        if partition not in reader.partitions():
            return None
        low, high = reader.bounds(partition)
        if not low <= offset < high:
            return None
        found = next(reader.read(partition, offset, offset + 1), None)
        return None if isinstance(found, UnreadableRecords) else found

    def _read_record(self, explanation: Explanation) -> None:
        letter, origin = explanation.letter, explanation.origin
        if letter is not None:
            record = self._browser.record(letter.partition, letter.offset)
            try:
                explanation.record = record and self._browser.restored(record)
            except OriginalLost as exc:
                explanation.record_problem = str(exc)
            return
        if origin.topic_id != self._topic_id:
            explanation.record_problem = f"{origin.topic} was deleted and re-created since"
            return
        record = self._record(origin.partition, origin.offset)
        if record is None:
            explanation.record_problem = "Kafka has deleted the record, or cannot read its batch"
        elif not explanation.event_id.startswith(id_of(own_origin(record, self._topic_id))):
            explanation.record_problem = "Kafka has another record at its offset"
        else:
            explanation.record = record

    # What the registry has

    def _read_schema(self, explanation: Explanation) -> None:
        explanation.schema_id = _schema_id(explanation)
        root: AvroType | None = None
        if explanation.schema_id is not None and explanation.schema_id > 0:
            root = self._runner.run(self._schema(explanation, explanation.schema_id))
        if explanation.record is not None and explanation.record.value is not None:
            explanation.layout = layout_of(explanation.record.value, root)

    async def _schema(self, explanation: Explanation, schema_id: int) -> AvroType | None:
        writer, found = await self._registry.look_up(schema_id), await self._registry.read_id(schema_id)
        if writer is None or found is None:
            explanation.notes.append(f"The registry has no schema with the id {schema_id}.")
            return None
        named = await self._named(explanation, sources.from_id(self._registry, schema_id))
        numbers = await self._registry.versions()
        latest = sources.from_version(self._registry, max(numbers)) if numbers else None
        named = named and replace(named, label=f"{writer.version}, id {schema_id}")
        explanation.schema = SchemaFacts(
            writer=writer, named=named, latest=await self._named(explanation, latest) if latest else None
        )
        try:
            return avro_schema.parse(found.schema, found.definitions).root
        except (SchemaError, RecursionError):
            return None

    async def _named(self, explanation: Explanation, reading: Any) -> NamedSchema | None:
        try:
            return await reading
        except UnusableInput as exc:
            explanation.notes.append(f"Not compared: {exc}.")
            return None

    # Rollups, and another attempt

    def _buckets(self, document: Mapping[str, Any]) -> Sequence[Bucket]:
        def read() -> Sequence[Bucket]:
            database = self._mongo.primary
            return [
                bucket_of(level, id_, database[level.collection].find_one({"_id": id_}), document)
                for level, id_ in bucket_ids(document).items()
            ]

        return translate_errors(read)

    def _diagnosis(self, explanation: Explanation, record: TopicRecord) -> Diagnosis:
        versions = self._runner.run(version_list.registered_versions(self._registry))
        writers: dict[int, WriterSchema] = {each.schema_id: each for each in versions}
        if explanation.schema is not None:
            writers[explanation.schema.writer.schema_id] = explanation.schema.writer
        times = EventTimes.of(self._settings.min_event_time, ahead_seconds=self._settings.max_event_lead_seconds)
        return diagnose(record.value, explanation.origin, writers, versions, times=times, now=datetime.now(UTC))


def _of_document(document: Mapping[str, Any]) -> _Found:
    event_id, place = str(document["_id"]), document.get("kafka") or {}
    topic_id = event_id.partition(f"-{place.get('partition')}-{place.get('offset')}")[0]
    at = place.get("timestamp")
    origin = Origin(
        str(place.get("topic")),
        int(place.get("partition", -1)),
        int(place.get("offset", -1)),
        -1 if at is None else int(at if isinstance(at, DatetimeMS) else DatetimeMS(at)),
        None if topic_id == place.get("topic") else topic_id,
    )
    return _Found(event_id, origin, document=document)


def _schema_id(explanation: Explanation) -> int | None:
    if explanation.document is not None:
        return explanation.document.get("schema_id")
    if explanation.record is None:
        return explanation.letter.schema_id if explanation.letter else None
    try:
        return wire_format.schema_id_of(explanation.record.value)
    except Undecodable:
        return None
