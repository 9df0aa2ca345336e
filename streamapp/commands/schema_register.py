"""`streamapp schema register`: register a schema, if it is compatible."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from streamapp.commands.options import handle_errors, is_json, json_option, load_settings
from streamapp.commands.schema_text import print_notes, unusable_input, verdict_json, verdict_lines
from streamapp.connections.registry import RegistryConnection
from streamapp.decode.writer_schema import writer_schema
from streamapp.errors import SettingsError
from streamapp.evolution import registering, sources
from streamapp.evolution.registering import Plan
from streamapp.registry.client import RegistryClient
from streamapp.settings import Settings


@click.command("register")
@click.argument("file", metavar="FILE")
@click.option("--subject", metavar="S", help="Subject in the registry.  [default: <STREAMAPP_TOPIC>-value]")
@click.option("--dry-run", is_flag=True, help="Check the schema and say what would be done; register nothing.")
@json_option
@handle_errors
def command(*, file: str, subject: str | None, dry_run: bool, as_json: bool) -> None:
    """Register a schema as a new version of the subject.

    It is first checked against the versions of the subject, under the level of the subject, and refused with the
    reason if it is not compatible. STREAMAPP_REGISTER_SCHEMAS=false forbids the command, except with --dry-run.

    Exit codes: 0 registered (now or before), 1 refused, 2 unusable input.
    """
    with unusable_input():
        schema = sources.from_file(file)
    settings = load_settings()
    if not (settings.register_schemas or dry_run):
        raise SettingsError(
            "STREAMAPP_REGISTER_SCHEMAS is false: nothing may be registered. --dry-run checks the schema; to register"
            " it, set STREAMAPP_REGISTER_SCHEMAS=true for this command"
        )
    registry = RegistryClient(RegistryConnection.of(settings), subject or settings.subject)
    try:
        _run(registry, asyncio.run(registering.plan(registry, schema)), settings, dry_run=dry_run, as_json=as_json)
    finally:
        registry.close()


def _run(registry: RegistryClient, plan: Plan, settings: Settings, *, dry_run: bool, as_json: bool) -> None:
    as_json, label, subject = is_json(as_json=as_json), plan.schema.label, registry.subject
    facts: dict[str, Any] = {"subject": subject, "registered": False, "version": None, "id": None}
    if plan.registered:
        text = f"{label} is registered already, as {plan.registered.label}"
        facts["version"] = plan.registered.label.partition(" ")[0]
    elif not plan.verdict.is_compatible:
        text = "\n".join([*verdict_lines(plan.verdict, plan.schema, plan.earlier), "", "Nothing was registered."])
    elif dry_run:
        text = f"{label} would be a new version of {subject}, which has {len(plan.earlier)}. Nothing was registered."
    else:
        facts["id"], facts["version"] = asyncio.run(registering.register(registry, plan.schema))
        facts["registered"] = True
        text = f"{label} is registered as {facts['version']} of {subject}, id {facts['id']}"
    _print(text, {**facts, "check": verdict_json(plan.verdict)}, as_json=as_json)
    print_notes(plan.verdict)
    _note_events(plan, settings, subject)
    sys.stdout.flush()
    sys.exit(1 if not (plan.registered or plan.verdict.is_compatible) else 0)


def _print(text: str, facts: Mapping[str, Any], *, as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else text)


def _note_events(plan: Plan, settings: Settings, subject: str) -> None:
    problem = writer_schema(plan.schema.json, schema_id=0, version="").problem
    if problem and subject == settings.subject:
        click.echo(
            f"Note: a worker makes records of {plan.schema.label} dead letters (incompatible-schema): {problem}",
            err=True,
        )
