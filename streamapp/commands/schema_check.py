"""`streamapp schema check`: whether a new schema is compatible with earlier ones."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

import click

from streamapp.commands.options import is_json, json_option, load_settings
from streamapp.commands.schema_text import print_notes, unusable_input, verdict_json, verdict_lines
from streamapp.compatibility.check import Verdict, check
from streamapp.compatibility.modes import Mode
from streamapp.connections.registry import RegistryConnection
from streamapp.evolution import registering, sources
from streamapp.evolution.sources import NamedSchema
from streamapp.registry.client import RegistryClient

#: The level of a registry that nobody has configured.
_DEFAULT_MODE = Mode.BACKWARD


@click.command("check")
@click.argument("new", metavar="NEW.avsc")
@click.option(
    "--against",
    "files",
    metavar="OLD.avsc",
    multiple=True,
    help="A schema file that is in use; can be repeated, the latest first.",
)
@click.option("--against-registry", is_flag=True, help="Compare with the versions of the subject in the registry.")
@click.option("--subject", metavar="S", help="Subject in the registry.  [default: <STREAMAPP_TOPIC>-value]")
@click.option("--against-git", "revision", metavar="REV", help="Compare with NEW.avsc as it was at this Git revision.")
@click.option(
    "--mode",
    type=click.Choice([*Mode], case_sensitive=False),
    help="Compatibility level.  [default: BACKWARD; with --against-registry, the level of the subject]",
)
@json_option
def command(  # noqa: PLR0913 - its options
    *,
    new: str,
    files: Sequence[str],
    against_registry: bool,
    subject: str | None,
    revision: str | None,
    mode: str | None,
    as_json: bool,
) -> None:
    """Check whether a new schema is compatible with earlier ones.

    BACKWARD: consumers with the new schema can read events of the old one. FORWARD: consumers with the old schema can
    read events of the new one. FULL: both. The levels compare with the latest schema only, and those that end in
    _TRANSITIVE with all.

    Exit codes: 0 compatible, 1 not compatible, 2 unusable input.
    """
    if sum((bool(files), against_registry, revision is not None)) != 1:
        raise click.UsageError("Give one of --against OLD.avsc, --against-registry and --against-git REV.")
    if subject is not None and not against_registry:
        raise click.UsageError("--subject is for --against-registry.")
    with unusable_input():
        schema = sources.from_file(new)
        if against_registry:
            earlier, level = _read_subject(subject)
        else:
            earlier, level = _read_files(new, files, revision), _DEFAULT_MODE
        verdict = check(schema.parsed, [each.parsed for each in earlier], Mode(mode.upper()) if mode else level)
    _print(verdict, schema, earlier, as_json=as_json)
    sys.stdout.flush()
    sys.exit(0 if verdict.is_compatible else 1)


def _read_files(new: str, files: Sequence[str], revision: str | None) -> Sequence[NamedSchema]:
    if revision is not None:
        return [sources.from_git(new, revision)]
    return [sources.from_file(file) for file in files]


def _read_subject(subject: str | None) -> tuple[Sequence[NamedSchema], Mode]:
    settings = load_settings()
    registry = RegistryClient(RegistryConnection.of(settings), subject or settings.subject)

    async def read() -> tuple[Sequence[NamedSchema], Mode]:
        return await sources.from_registry(registry), await registering.level_of(registry)

    try:
        return asyncio.run(read())
    finally:
        registry.close()


def _print(verdict: Verdict, schema: NamedSchema, earlier: Sequence[NamedSchema], *, as_json: bool) -> None:
    if is_json(as_json=as_json):
        click.echo(json.dumps(verdict_json(verdict)))
    else:
        click.echo("\n".join(verdict_lines(verdict, schema, earlier)))
    print_notes(verdict)
