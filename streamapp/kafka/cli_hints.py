"""Commands of Kafka's own tools, which error messages name as the fix, ready to copy."""

from __future__ import annotations

from dataclasses import dataclass

#: Topic configuration that keeps all records.
UNLIMITED_RETENTION = "retention.ms=-1,retention.bytes=-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaCli:
    """Commands for one cluster."""

    servers: str

    def alter_config(self, topic: str, added: str) -> str:
        """Change a topic's configuration."""
        return (
            f"kafka-configs --bootstrap-server {self.servers} --alter --entity-type topics --entity-name {topic}"
            f" --add-config {added}"
        )

    def create_topic(self, topic: str) -> str:
        """Create a topic."""
        return f"kafka-topics --bootstrap-server {self.servers} --create --topic {topic}"

    def describe_topic(self, topic: str) -> str:
        """Show which brokers hold a topic."""
        return f"kafka-topics --bootstrap-server {self.servers} --describe --topic {topic}"

    def add_partitions(self, topic: str, total: int) -> str:
        """Add partitions, up to `total`."""
        return f"kafka-topics --bootstrap-server {self.servers} --alter --topic {topic} --partitions {total}"

    def reset_offsets(self, topic: str, group: str) -> str:
        """Set the offsets of a group to the first records."""
        return (
            f"stop the workers, then: kafka-consumer-groups --bootstrap-server {self.servers} --group {group}"
            f" --topic {topic} --reset-offsets --to-earliest --execute"
        )
