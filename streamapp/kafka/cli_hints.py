"""The commands of Kafka's own tools that remedies name, to be copied."""

from __future__ import annotations

from dataclasses import dataclass

#: What lets a topic keep its records whatever their age and number.
KEEP_ALL = "retention.ms=-1,retention.bytes=-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The tools, and how they name the cluster."""

    servers: str

    def configs(self, topic: str, added: str) -> str:
        """Change a topic's configuration."""
        return (
            f"kafka-configs --bootstrap-server {self.servers} --alter --entity-type topics --entity-name {topic}"
            f" --add-config {added}"
        )

    def make(self, topic: str) -> str:
        """Make a topic."""
        return f"kafka-topics --bootstrap-server {self.servers} --create --topic {topic}"

    def describe(self, topic: str) -> str:
        """Tell which brokers hold a topic."""
        return f"kafka-topics --bootstrap-server {self.servers} --describe --topic {topic}"

    def partitions(self, topic: str, wanted: int) -> str:
        """Add partitions."""
        return f"kafka-topics --bootstrap-server {self.servers} --alter --topic {topic} --partitions {wanted}"

    def rewind(self, topic: str, group: str) -> str:
        """Let a group read from the first record that is there."""
        return (
            f"stop the workers, then: kafka-consumer-groups --bootstrap-server {self.servers} --group {group}"
            f" --topic {topic} --reset-offsets --to-earliest --execute"
        )
