"""The commands with their options, as click knows them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from generators.markdown import escaped, table
from streamapp.commands import COMMANDS, load


def overview() -> str:
    """Render each command with what it does."""
    rows = [(f"[`streamapp {name}`](#streamapp-{name})", escaped(words)) for name, words in COMMANDS.items()]
    return table(["command", "what it does"], rows)


def sections() -> str:
    """Render a section for each command and subcommand."""
    found = [section for name in COMMANDS for section in _sections(f"streamapp {name}", load(name))]
    return "\n\n".join(found)


def _sections(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    body = escaped("\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n")))
    yield f"{'#' * (path.count(' ') + 1)} {path}\n\n```text\n{usage}\n```\n\n{body}"
    rows = [row for param in command.params for row in _rows(param, context)]
    if rows:
        yield table(["option", "meaning"], rows)
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from _sections(f"{path} {name}", sub)


def _rows(param: click.Parameter, context: click.Context) -> Iterator[tuple[str, str]]:
    if record := param.get_help_record(context):
        name, text = record[0], escaped(" ".join(record[1].split()))
        if isinstance(param.type, click.Choice):
            name = name.partition(" [")[0]
            text += f" One of: {', '.join(f'`{choice}`' for choice in param.type.choices)}."
        yield f"`{name}`", text
