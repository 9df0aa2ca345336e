"""The commands of streamapp, one module each: parse, call, print."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

#: Commands as `streamapp --help` shows them: group → command → one-line help.
GROUPS = {
    "Run": {
        "worker": "Start a worker: it stores the events of the topic in MongoDB.",
        "up": "Start a local Kafka, schema registry and MongoDB.",
        "demo": "Start a local backend, a worker and the dashboard.",
        "dashboard": "Serve the dashboard.",
    },
    "Data": {
        "send-sample": "Send sample events to the topic.",
        "dlq": "List, show and replay dead letters.",
        "verify": "Find events that are missing, duplicated or changed.",
        "explain": "Explain one event or dead letter.",
        "schema": "Check, compare, list, register and migrate Avro schemas.",
        "scenario": "Play lessons about schema evolution over a running pipeline.",
    },
    "Operate": {
        "doctor": "Check settings and servers; name each fault and its remedy.",
        "rollups": "Compare the rollups with the events, or rebuild them.",
        "rewind": "Read records again, from a time or offset on.",
    },
}
#: Implemented by Faust.
WORKER = "worker"
#: Commands implemented here: the module has the command's name, with `_` for `-`, and the attribute `command`.
COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items() if name != WORKER}


def load(name: str) -> click.Command:
    """Import a command."""
    return import_module(f"{__name__}.{name.replace('-', '_')}").command


class LazyCommand(click.Command):
    """A command that is imported when it is used, so that a worker does not import the libraries of all commands."""

    def __init__(self, name: str) -> None:
        super().__init__(name, short_help=COMMANDS[name])

    def make_context(self, info_name: str | None, *args: Any, **kwargs: Any) -> click.Context:
        """Return a context of the imported command; click runs the command of the context."""
        return load(self.name or "").make_context(info_name, *args, **kwargs)
