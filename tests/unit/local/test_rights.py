"""The table of rights, and the access control lists that come from it."""

from __future__ import annotations

import re
from pathlib import Path

from streamapp.commands import COMMANDS, WORKER, schema
from streamapp.local import rights
from streamapp.local.rights import PROGRAMS, KafkaRight, Resource
from streamapp.local.secure_kafka import acls
from tests.support.backends import plain_settings

NAMES = plain_settings(topic="payments", app_id="payments-app")


def test_each_right_is_to_a_name_in_the_settings() -> None:
    """The user gets rights to no other topic and no other group."""
    found = {(str(acl.restype), acl.name) for acl in acls("alice", rights.of_all(), NAMES)}

    assert found == {
        ("ResourceType.TOPIC", "payments"),
        ("ResourceType.TOPIC", "payments.dlq"),
        ("ResourceType.TOPIC", "__consumer_offsets"),
        ("ResourceType.GROUP", "payments-app"),
    }


def test_one_user_for_everything_gets_each_right_once() -> None:
    """The rights of all programs, and those to create the topics."""
    granted = rights.of_all()

    assert len(granted) == len(set(granted))
    assert set(granted) == {
        *(right for program in PROGRAMS for right in program.kafka),
        KafkaRight(Resource.TOPIC, "CREATE"),
        KafkaRight(Resource.DEAD_LETTERS, "CREATE"),
    }


def test_the_smallest_role_with_the_actions_is_named() -> None:
    """A program that writes nothing to MongoDB needs the role `read` only."""
    roles = {program.name: program.role for program in PROGRAMS}

    assert roles["worker"] == "readWrite"
    assert roles["verify"] == "read"
    assert roles["send-sample"] is None


def test_every_command_that_uses_the_servers_is_listed() -> None:
    """The commands that need no rights at Kafka and MongoDB are named here."""
    commands = {*COMMANDS, WORKER}

    assert commands - {"up", "demo", "scenario"} == {program.name.split()[0] for program in PROGRAMS}


def test_each_command_that_uses_the_registry_is_listed() -> None:
    """The table in docs/reference/rights.md says of all others that they need no right there."""
    page = (Path(__file__).parents[3] / "docs/reference/rights.md").read_text("utf-8")
    table = page.partition("## Schema registry")[2]
    listed = {name.partition(" -")[0] for line in table.splitlines() for name in re.findall("`(.*?)`", line[:60])}

    assert {f"schema {name}" for name in schema.command.commands} | {"worker", "send-sample", "verify"} <= listed
