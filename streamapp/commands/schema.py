"""`streamapp schema check`, `diff`, `list`, `register` and `migrate`: change Avro schemas without breaking anybody."""

from __future__ import annotations

import click

from streamapp.commands import schema_check, schema_diff, schema_list, schema_migrate, schema_register


@click.group("schema")
def command() -> None:
    """Check, compare, list, register and migrate Avro schemas."""


command.add_command(schema_check.command)
command.add_command(schema_diff.command)
command.add_command(schema_list.command)
command.add_command(schema_register.command)
command.add_command(schema_migrate.command)
