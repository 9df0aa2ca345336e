"""`streamapp schema list`: the versions of the subject, and who uses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click

from streamapp.commands.options import handle_errors, is_json, json_option, load_settings
from streamapp.connections import mongodb
from streamapp.connections.registry import RegistryConnection
from streamapp.decode.writer_schema import UNREGISTERED, WriterSchema
from streamapp.dlq.letter_text import columns
from streamapp.errors import StoreUnavailable
from streamapp.evolution import registering, version_list
from streamapp.evolution.version_list import ListedVersion, StoredCounts
from streamapp.mongodb.client import Mongo
from streamapp.registry.client import RegistryClient
from streamapp.settings import Settings

_HEAD = ("version", "id", "first seen", "events", "last 24 h", "share", "file of this checkout")

_UNLISTED = {UNREGISTERED: "schemas of other subjects"}


@click.command("list")
@json_option
@handle_errors
def command(*, as_json: bool) -> None:
    """List the versions of the subject with the events that are stored of each.

    First seen is the time at which a worker first read an event of the version. Events are counted by the rollups, the
    last 24 hours by event time.
    """
    settings = load_settings()
    with closing(RegistryClient(RegistryConnection.of(settings), settings.subject)) as registry:
        versions, level = asyncio.run(_read(registry))
    stored = _stored(settings)
    found = version_list.listed(versions, stored or StoredCounts(), version_list.known_files())
    if is_json(as_json=as_json):
        click.echo(json.dumps(_json(settings, level, found, is_counted=stored is not None)))
    elif not found:
        click.echo(f"{settings.subject} has no versions at {registry.url}.", err=True)
    else:
        click.echo(f"{settings.subject}, level {level}\n")
        click.echo("\n".join(_lines(found, is_counted=stored is not None)))


async def _read(registry: RegistryClient) -> tuple[Sequence[WriterSchema], str]:
    return await version_list.registered_versions(registry), await registering.level_of(registry)


def _stored(settings: Settings) -> StoredCounts | None:
    mongo = Mongo(mongodb.uri(settings), settings.mongo_database)
    try:
        return version_list.stored_counts(mongo, settings.subject, datetime.now(UTC))
    except StoreUnavailable as exc:
        click.echo(f"The events are not counted: {exc}", err=True)
        return None
    finally:
        mongo.close()


def _share(one: ListedVersion, found: Sequence[ListedVersion]) -> float | None:
    total = sum(each.last_day for each in found)
    return one.last_day / total if total else None


def _json(settings: Settings, level: str, found: Sequence[ListedVersion], *, is_counted: bool) -> Mapping[str, Any]:
    return {
        "subject": settings.subject,
        "level": level,
        "versions": [
            {
                "version": each.label,
                "id": each.schema_id,
                "first_seen_at": each.first_seen_at.isoformat() if each.first_seen_at else None,
                "events": each.events if is_counted else None,
                "events_24h": each.last_day if is_counted else None,
                "share_24h": _share(each, found),
                "file": each.file,
                "registered": each.is_registered,
            }
            for each in found
        ],
    }


def _lines(found: Sequence[ListedVersion], *, is_counted: bool) -> Sequence[str]:
    rows = [_cells(each, _share(each, found), is_counted=is_counted) for each in found]
    return columns([_HEAD, *rows], right=(1, 3, 4, 5))


def _cells(one: ListedVersion, share: float | None, *, is_counted: bool) -> Sequence[str]:
    return (
        one.label,
        "" if one.schema_id is None else str(one.schema_id),
        f"{one.first_seen_at:%Y-%m-%dT%H:%M:%SZ}" if one.first_seen_at else "–",
        f"{one.events:,}" if is_counted else "?",
        f"{one.last_day:,}" if is_counted else "?",
        "–" if share is None else f"{share:.1%}",
        one.file or ("–" if one.is_registered else f"– ({_UNLISTED.get(one.label, 'not in the registry')})"),
    )
