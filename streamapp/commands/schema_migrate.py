"""`streamapp schema migrate`: bring stored events to the shape of the latest schema."""

from __future__ import annotations

import asyncio
import sys
import time

import click

from streamapp.commands.options import handle_errors, json_option, load_settings, report
from streamapp.commands.progress import progress
from streamapp.connections import mongodb
from streamapp.connections.registry import RegistryConnection
from streamapp.errors import StreamappError
from streamapp.evolution.migration import Migration, MigrationResult
from streamapp.mongodb.client import Mongo, translate_errors
from streamapp.mongodb.event_store import EventStore
from streamapp.registry.client import RegistryClient
from streamapp.registry.latest_schema import EventSchema, latest_event_schema
from streamapp.settings import Settings


@click.command("migrate")
@click.option("--dry-run", is_flag=True, help="Count the documents that would be changed; change nothing.")
@json_option
@handle_errors
def command(*, dry_run: bool, as_json: bool) -> None:
    """Bring the stored events to the shape of the latest schema.

    Fields that the latest schema has and a document lacks are added with their defaults; fields that it has renamed,
    with an alias, get their new names. No value is changed. Workers may run meanwhile; a migration that was interrupted
    can be run again.

    Exit codes: 0 done, 1 not done, 2 wrong usage.
    """
    settings, began = load_settings(), time.monotonic()
    if not settings.canonical:
        raise click.UsageError(
            "STREAMAPP_CANONICAL is off: workers store events as written, so there is no shape to migrate to."
            " Set STREAMAPP_CANONICAL=on for the workers and this command"
        )
    registry = RegistryClient(RegistryConnection.of(settings), settings.subject)
    mongo = Mongo(mongodb.uri(settings), settings.mongo_database)
    try:
        latest = _latest(registry)
        result = _run(settings, registry, mongo, latest, is_dry_run=dry_run)
    finally:
        mongo.close()
        registry.close()
    report(
        {
            "latest": f"v{latest.version}",
            "documents": result.documents,
            "to_migrate" if dry_run else "migrated": result.migrated,
            "without_schema": result.without_schema,
            "refused": result.refused,
            "seconds": round(time.monotonic() - began, 3),
        },
        as_json=as_json,
    )
    if result.refused:
        click.echo("MongoDB refuses to change some documents: check validators of the collection `events`.", err=True)
        sys.exit(1)


def _latest(registry: RegistryClient) -> EventSchema:
    latest = asyncio.run(latest_event_schema(registry))
    if latest is None:
        raise StreamappError(f"{registry.subject} has no schema of events at {registry.url}")
    return latest


def _run(
    settings: Settings, registry: RegistryClient, mongo: Mongo, latest: EventSchema, *, is_dry_run: bool
) -> MigrationResult:
    if not is_dry_run:
        asyncio.run(EventStore(mongo).note_canonical(settings.subject, latest.version, latest.texts))

    def migrate() -> MigrationResult:
        migration = Migration(
            mongo,
            latest.writer,
            subject=settings.subject,
            look_up=lambda schema_id: asyncio.run(registry.look_up(schema_id)),
            is_dry_run=is_dry_run,
        )
        with progress("migrating", mongo.primary["events"].estimated_document_count()) as advance:
            return migration.run(advance)

    return translate_errors(migrate)
