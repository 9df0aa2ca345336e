"""Collect what is known of one event: its document or dead letter, its record, its schemas and its rollups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from streamapp.compatibility.check import levels_of
from streamapp.compatibility.diff import Change, changes_of
from streamapp.compatibility.modes import Direction
from streamapp.decode import document, wire_format
from streamapp.decode.document import EventTimes
from streamapp.decode.writer_schema import WriterSchema
from streamapp.dlq.index import Letter
from streamapp.errors import Undecodable
from streamapp.evolution.sources import NamedSchema
from streamapp.explain.byte_layout import Layout
from streamapp.explain.reader_changes import ReaderChange, reader_changes
from streamapp.model.record import Origin, TopicRecord
from streamapp.model.user_event import TIME
from streamapp.rollups.keys import id_of, partition_id_of
from streamapp.rollups.levels import LEVELS, Level


class Fate(StrEnum):
    """Where an event is."""

    STORED = "stored"
    DEAD_LETTER = "dead letter"
    #: The group of the workers has not committed its record yet.
    WAITING = "waiting"
    #: Its record is committed, and it is neither stored nor dead-lettered.
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFacts:
    """The schema of an event, and the latest one of its subject."""

    writer: WriterSchema
    #: None if it is not a schema that can be compared.
    named: NamedSchema | None
    latest: NamedSchema | None

    def changes(self) -> Sequence[Change]:
        """In what the latest schema differs."""
        return changes_of(self.named.parsed.root, self.latest.parsed.root) if self.named and self.latest else []

    def levels(self) -> Sequence[Direction]:
        """The levels that allow the change to the latest schema."""
        return levels_of(self.latest.parsed, self.named.parsed) if self.named and self.latest else []


class Bucket(NamedTuple):
    """A rollup that must count an event."""

    level: Level
    id: str
    #: Events of the rollup; None if there is no such rollup.
    n: int | None
    #: Whether it counts this event.
    counts_it: bool


class Diagnosis(NamedTuple):
    """What would happen to a dead letter now, and what its bytes fit."""

    #: Why it would fail again; None if a replay would store it.
    problem: str | None
    #: Labels of the subject's versions that read all its bytes.
    fits: Sequence[str]


@dataclass(slots=True, kw_only=True)
class Explanation:
    """What is known of an event."""

    event_id: str
    origin: Origin
    fate: Fate
    document: Mapping[str, Any] | None = None
    letter: Letter | None = None
    #: What Kafka has of it: its record, or that of its dead letter.
    record: TopicRecord | None = None
    #: Why Kafka has no record of it.
    record_problem: str = ""
    schema_id: int | None = None
    schema: SchemaFacts | None = None
    layout: Layout | None = None
    buckets: Sequence[Bucket] = ()
    diagnosis: Diagnosis | None = None
    #: What could not be read, and why.
    notes: list[str] = field(default_factory=list[str])

    def reader_changes(self) -> Sequence[ReaderChange]:
        """What the worker added, renamed or moved."""
        if self.document is None or self.schema is None or self.schema.named is None:
            return []
        latest = self.schema.latest.parsed.root if self.schema.latest else None
        return reader_changes(self.document, self.schema.named.parsed.root, latest)


def bucket_ids(stored: Mapping[str, Any]) -> Mapping[Level, str]:
    """Return the `_id` of the rollup of each level that counts a document; none if it has no event time."""
    at = stored.get(TIME)
    if not isinstance(at, int):
        return {}
    return {level: id_of(partition_id_of(stored), level.start_of(at)) for level in LEVELS}


def bucket_of(level: Level, id_: str, rollup: Mapping[str, Any] | None, stored: Mapping[str, Any]) -> Bucket:
    """Return whether a rollup counts a document, which it should count.

    It has counted all events of its partition and its bucket up to its offset, and those out of order when they were
    stored.
    """
    if rollup is None:
        return Bucket(level, id_, None, counts_it=False)
    place: Mapping[str, Any] = stored["kafka"]
    counts_it = bool(place.get("apart")) or rollup.get("offset", -1) >= place["offset"]
    return Bucket(level, id_, rollup.get("n", 0), counts_it=counts_it)


def diagnose(  # noqa: PLR0913 - a record, and what it is read with
    value: bytes | None,
    origin: Origin,
    writers: Mapping[int, WriterSchema],
    versions: Sequence[WriterSchema],
    *,
    times: EventTimes,
    now: datetime,
) -> Diagnosis:
    """Try to read a dead letter again, as a worker would now.

    Args:
        value: its value.
        origin: its first coordinates.
        writers: the schemas of the registry, at least the one of the value, by id.
        versions: all versions of the subject.
        times: the limits of event times.
        now: when a worker would receive it.
    """
    fits = [each.version for each in versions if _reads(each, value)]
    try:
        writer, event = wire_format.decode(value, writers)
        document.build(event, writer=writer, origin=origin, received_at=now, times=times)
    except Undecodable as exc:
        return Diagnosis(str(exc), fits)
    return Diagnosis(None, fits)


def _reads(writer: WriterSchema, value: bytes | None) -> bool:
    try:
        writer.read(value or b"", wire_format.HEADER.size)
    except Undecodable:
        return False
    return True
