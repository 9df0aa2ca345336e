"""Commands of Kafka's own tools, which error messages name as the fix, ready to copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Topic configuration that keeps all records.
UNLIMITED_RETENTION = "retention.ms=-1,retention.bytes=-1"
#: Name of the file with the properties that Kafka's own tools read.
PROPERTIES = "client.properties"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaCli:
    """Commands for one cluster."""

    servers: str
    #: Whether the tools need a file of properties with the credentials: docs/how-to/connect.md.
    is_secured: bool = False

    @property
    def _options(self) -> str:
        return f"--bootstrap-server {self.servers}{f' --command-config {PROPERTIES}' if self.is_secured else ''}"

    def alter_config(self, topic: str, added: str) -> str:
        """Change a topic's configuration."""
        return f"kafka-configs {self._options} --alter --entity-type topics --entity-name {topic} --add-config {added}"

    def create_topic(self, topic: str, partitions: int | None = None, config: Mapping[str, str] | None = None) -> str:
        """Create a topic."""
        options = "" if partitions is None else f" --partitions {partitions}"
        options += "".join(f" --config {name}={value}" for name, value in (config or {}).items())
        return f"kafka-topics {self._options} --create --topic {topic}{options}"

    def read_record(self, topic: str, partition: int, offset: int) -> str:
        """Print one record."""
        # Kafka 4.2 calls the option --command-config, too, and still has this name.
        options = self._options.replace("--command-config", "--consumer.config")
        return (
            f"kafka-console-consumer {options} --topic {topic} --partition {partition} --offset {offset}"
            " --max-messages 1 --property print.key=true --property print.headers=true"
        )

    def describe_topic(self, topic: str) -> str:
        """Show which brokers hold a topic."""
        return f"kafka-topics {self._options} --describe --topic {topic}"

    def add_partitions(self, topic: str, total: int) -> str:
        """Add partitions, up to `total`."""
        return f"kafka-topics {self._options} --alter --topic {topic} --partitions {total}"

    def reset_offsets(self, topic: str, group: str) -> str:
        """Set the offsets of a group to the first records."""
        return (
            f"stop the workers, then: kafka-consumer-groups {self._options} --group {group}"
            f" --topic {topic} --reset-offsets --to-earliest --execute"
        )
