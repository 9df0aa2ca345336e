"""Commands of ours, one module each: parse, call, print."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

#: What each is for. Its module is `-` as `_`, and has it as `command`.
COMMANDS = {
    "dashboard": "Serve the dashboard until Ctrl-C.",
    "demo": "Run it all on this machine, until Ctrl-C.",
    "dlq": "Look at the dead letters, and replay them.",
    "doctor": "Check settings and servers; name each fault and its remedy.",
    "rollups": "Compare the rollups with the events, or count them anew.",
    "send-sample": "Send sample events to the topic.",
    "up": "Start a local Kafka, schema registry and MongoDB.",
    "verify": "Find events that are missing, double or changed.",
}


def load(name: str) -> click.Command:
    """Import a command."""
    return import_module(f"{__name__}.{name.replace('-', '_')}").command


class Later(click.Command):
    """A command that is imported when it is used: each needs other libraries, a worker none of them."""

    def __init__(self, name: str) -> None:
        super().__init__(name, short_help=COMMANDS[name])

    def make_context(self, info_name: str | None, *args: Any, **kwargs: Any) -> click.Context:
        """Make the context of the command itself, which is what click goes on with."""
        return load(self.name or "").make_context(info_name, *args, **kwargs)
