"""`streamapp schema diff`: in what two schemas differ."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

import click

from streamapp.commands.options import is_json, json_option, load_settings
from streamapp.commands.schema_text import change_lines, diff_json, unusable_input
from streamapp.compatibility.check import levels_of
from streamapp.compatibility.diff import changes_of
from streamapp.connections.registry import RegistryConnection
from streamapp.evolution import sources
from streamapp.evolution.sources import NamedSchema, UnusableInput
from streamapp.registry.client import RegistryClient

_VERSION = re.compile(r"v(\d+)")
_LATEST = "latest"


@click.command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--subject", metavar="S", help="Subject of versions.  [default: <STREAMAPP_TOPIC>-value]")
@json_option
def command(*, a: str, b: str, subject: str | None, as_json: bool) -> None:
    """Show in what the schema B differs from the schema A.

    A and B are files, versions of the subject (v1, v2, latest) or schema ids (7). Exit codes: 0 done, 2 unusable input.
    """
    with unusable_input():
        old, new = asyncio.run(_read(a, b, subject))
        changes, levels = changes_of(old.parsed.root, new.parsed.root), levels_of(new.parsed, old.parsed)
    if is_json(as_json=as_json):
        click.echo(json.dumps(diff_json(old, new, changes, levels)))
    else:
        color = False if os.environ.get("NO_COLOR") else None
        click.echo("\n".join(change_lines(old, new, changes, levels)), color=color)


async def _read(a: str, b: str, subject: str | None) -> tuple[NamedSchema, NamedSchema]:
    if _is_file(a) and _is_file(b):
        return sources.from_file(a), sources.from_file(b)
    settings = load_settings()
    registry = RegistryClient(RegistryConnection.of(settings), subject or settings.subject)
    try:
        return await _one(a, registry), await _one(b, registry)
    finally:
        registry.close()


def _is_file(text: str) -> bool:
    return not (_VERSION.fullmatch(text) or text.isdecimal() or text == _LATEST) or Path(text).is_file()


async def _one(text: str, registry: RegistryClient) -> NamedSchema:
    if _is_file(text):
        return sources.from_file(text)
    if found := _VERSION.fullmatch(text):
        return await sources.from_version(registry, int(found[1]))
    if text != _LATEST:
        return await sources.from_id(registry, int(text))
    versions = await registry.versions()
    if not versions:
        raise UnusableInput(f"the subject {registry.subject} has no versions at {registry.url}")
    return await sources.from_version(registry, max(versions))
