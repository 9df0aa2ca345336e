"""Check that sample events, and the newest record of each partition, can be decoded and stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import fastavro

from streamapp.connections.kafka import KafkaConnection
from streamapp.decode import foreign_format, wire_format
from streamapp.decode.document import EventTimes, build
from streamapp.decode.writer_schema import WriterSchema, writer_schema
from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, skipped, warning
from streamapp.doctor.checks.kafka import Bounds
from streamapp.doctor.kafka import CORRECT_ACCESS
from streamapp.errors import BrokerAccessRefused, RegistryUnavailable, Undecodable
from streamapp.kafka.admin import cli_of
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model import event
from streamapp.model.record import Origin, Record, UnreadableRecords, origin_of
from streamapp.model.user_event import USER, VERSIONS
from streamapp.mongodb.event_store import why_unencodable
from streamapp.samples.generator import example
from streamapp.settings import Settings

#: Offsets that are read before the end: a transaction marker has an offset, but is not a record.
_TAIL_OFFSETS = 5


def sample_documents(settings: Settings) -> Mapping[str, dict[str, Any]]:
    """Return a document of each version, encoded to wire bytes and decoded again.

    Raises:
        Undecodable: a sample cannot be decoded.
    """
    return {f"V{version}": _sample(settings, version, None) for version in VERSIONS}


def _sample(settings: Settings, version: int, registered: WriterSchema | None) -> dict[str, Any]:
    own = writer_schema(event.schema(version), schema_id=version, version=f"v{version}")
    writer, now = registered or own, datetime.now(UTC)
    millis = int(now.timestamp() * 1000)
    values = {**example(version).event(at=millis), USER: "doctor"}
    parsed = fastavro.parse_schema(event.schema(version), named_schemas={})
    wire = wire_format.write(values, schema=parsed, schema_id=writer.schema_id)
    origin = Origin(settings.topic, 0, 0, millis, None)
    return build(
        wire_format.read(wire, writer), writer=writer, origin=origin, received_at=now, times=times_of(settings)
    )


def times_of(settings: Settings) -> EventTimes:
    """Return the limits of event time."""
    return EventTimes.of(settings.min_event_time, ahead_seconds=settings.max_event_lead_seconds)


def sample_findings(settings: Settings, registered: Mapping[int, WriterSchema]) -> Findings:
    """Check that a sample event of each version can be decoded and stored."""
    for version in VERSIONS:
        check, source = f"codec.v{version}", "as registered" if version in registered else "of schemas/"
        try:
            document = _sample(settings, version, registered.get(version))
        except Undecodable as exc:
            yield fault(check, f"a sample event becomes a dead letter: {exc}", _remedy(exc.reason))
        else:
            yield _encodable(check, document, source)


def _encodable(check: str, document: dict[str, Any], source: str) -> Finding:
    if why := why_unencodable(document):
        return fault(check, f"a sample event cannot be stored: {why}", "restore schemas/ and streamapp/model/event.py")
    return ok(check, f"a sample event (schema {source}) can be encoded, decoded and stored")


def _remedy(reason: str) -> str:
    if reason == "timestamp-out-of-range":
        return "STREAMAPP_MIN_EVENT_TIME=2000-01-01T00:00:00Z and STREAMAPP_MAX_EVENT_LEAD_SECONDS=86400"
    return "compare the registered versions of the subject with schemas/"


def newest_findings(
    settings: Settings,
    bounds: Mapping[int, Bounds],
    look_up: Callable[[int], WriterSchema | None],
    is_stored: Callable[[Record], bool],
) -> Findings:
    """Check that the newest record of each partition is an event that is stored or can be stored."""
    bad: dict[int, tuple[int, str]] = {}
    good = 0
    with TopicReader(KafkaConnection.of(settings), settings.topic, group=settings.app_id) as reader:
        for partition, within in bounds.items():
            start = max(within.start, within.end - _TAIL_OFFSETS)
            try:
                records = [*reader.read(partition, start, within.end)]
            except BrokerAccessRefused as exc:
                yield fault("records.newest", str(exc), CORRECT_ACCESS)
                return
            if not records:
                continue
            try:
                why = _defect(records[-1], settings, look_up)
            except RegistryUnavailable as exc:
                yield skipped("records.newest", f"a reachable registry: {exc}")
                return
            # A record that is stored is right, even if the registry has lost its schema since.
            if why and not is_stored(records[-1]):
                bad[partition] = records[-1].offset, why
            else:
                good += 1
    if bad:
        listed = "; ".join(f"partition {partition}, offset {offset}: {why}" for partition, (offset, why) in bad.items())
        seen = f"the newest record becomes a dead letter in {listed}"
        partition = min(bad)
        yield warning("records.newest", seen, _show_command(settings, partition, bad[partition][0]))
    else:
        yield ok("records.newest", f"the newest record of {good} partitions is an event that can be stored")


def _show_command(settings: Settings, partition: int, offset: int) -> str:
    cli = cli_of(KafkaConnection.of(settings))
    return f"read the record to find its producer: {cli.read_record(settings.topic, partition, offset)}"


def _defect(record: Record, settings: Settings, look_up: Callable[[int], WriterSchema | None]) -> str | None:
    if isinstance(record, UnreadableRecords):
        return record.why
    try:
        schema_id = wire_format.schema_id_of(record.value)
        writer = look_up(schema_id) if schema_id > 0 else None
        found, read = wire_format.decode(record.value, {schema_id: writer} if writer else {})
        origin = origin_of(record, None)
        document = build(read, writer=found, origin=origin, received_at=datetime.now(UTC), times=times_of(settings))
    except Undecodable as exc:
        return f"{exc.reason}, {exc}{foreign_format.hint(exc.reason, record.value, record.headers)}"
    return why_unencodable(document)
