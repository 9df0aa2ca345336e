"""Record what a run of `send-sample` sends, for the manifest that `verify` checks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from streamapp.connections.kafka import KafkaConnection
from streamapp.decode.writer_schema import WriterSchema
from streamapp.errors import SettingsError
from streamapp.kafka.admin import KafkaAdmin
from streamapp.samples.faults import REASONS
from streamapp.samples.sender import OutgoingRecord
from streamapp.settings import Settings
from streamapp.verify import manifest_file
from streamapp.verify.checks import manifest
from streamapp.verify.checks.manifest import Manifest


class ManifestRecorder:
    """The manifest of one run: acknowledged records are added, and at the end it is written to a file."""

    def __init__(self, run: Manifest, schemas: Mapping[int, WriterSchema]) -> None:
        self._run = run
        self._schemas = schemas

    @classmethod
    async def begin(cls, settings: Settings, schemas: Mapping[int, WriterSchema]) -> Self:
        """Begin the manifest of a run that sends to the topic of the settings, with these schemas by our version.

        Raises:
            SettingsError: Kafka gives topics no id, so the records of the run could not be found again.
        """
        topic_id = await KafkaAdmin(KafkaConnection.of(settings)).topic_id_of(settings.topic)
        if topic_id is None:
            message = (
                "A manifest identifies the topic by its topic id, and this Kafka gives topics none: it is older than"
                " 2.8. Omit --manifest."
            )
            raise SettingsError(message)
        return cls(Manifest(topic=settings.topic, topic_id=topic_id, started_at=_now()), schemas)

    def add(self, record: OutgoingRecord, partition: int, offset: int) -> None:
        """Add an acknowledged record."""
        if record.fault in REASONS:
            self._run.add(partition, str(record.fault), offset, manifest.value_content(record.value))
        else:
            label = self._schemas[record.version].version
            self._run.add(partition, label, offset, manifest.event_content(record.event))

    def write(self, path: Path, *, unacknowledged: int) -> None:
        """Append the run to a manifest file.

        Raises:
            SettingsError: the file cannot be written.
        """
        self._run.ended_at, self._run.unacknowledged = _now(), unacknowledged
        try:
            manifest_file.append(path, self._run)
        except OSError as exc:
            raise SettingsError(f"{path} cannot be written: {exc.strerror}") from exc


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
