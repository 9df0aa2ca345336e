"""Commands of Kafka's own tools that messages name."""

from __future__ import annotations

import pytest

from streamapp.kafka.cli_hints import KafkaCli


@pytest.mark.parametrize(
    ("is_secured", "options"),
    [(False, "kafka:1"), (True, "kafka:1 --consumer.config client.properties")],
)
def test_command_that_prints_a_record(is_secured: bool, options: str) -> None:
    """The console consumer has another name for the file of properties than the other tools."""
    command = KafkaCli(servers="kafka:1", is_secured=is_secured).read_record("events", 1, 7)

    assert command.startswith(f"kafka-console-consumer --bootstrap-server {options} --topic events")
    assert "--partition 1 --offset 7 --max-messages 1" in command
