"""`streamapp rollups check` and `streamapp rollups rebuild`: compare the rollups with the events, and correct them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import click

from streamapp.commands.options import handle_errors, is_json, json_option, load_settings, report
from streamapp.commands.progress import progress
from streamapp.connections import mongodb
from streamapp.connections.kafka import KafkaConnection
from streamapp.errors import StreamappError
from streamapp.kafka.next_offsets import next_offsets
from streamapp.model.record import PartitionId
from streamapp.mongodb.client import Mongo, translate_errors
from streamapp.mongodb.event_store import EventStore
from streamapp.mongodb.rollup_store import RollupStore
from streamapp.reconcile.bucket_range import RollupKey
from streamapp.reconcile.reconciliation import Reconciliation
from streamapp.reconcile.result import ReconciliationResult
from streamapp.rollups.levels import LEVELS, Keep, Level
from streamapp.rollups.rollup import Rollup
from streamapp.settings import Settings

#: Different rollups that are listed one by one.
MAX_LISTED = 20

_levels = click.option(
    "--level",
    "names",
    type=click.Choice([level.name for level in LEVELS]),
    multiple=True,
    help="Only this level; can be repeated.  [default: all]",
)


@click.group("rollups")
def command() -> None:
    """Compare the rollups with the events, or rebuild them."""


@command.command()
@_levels
@json_option
@handle_errors
def check(*, names: Sequence[str], as_json: bool) -> None:
    """Compare each rollup with the events; exit with 1 if any differs."""
    findings = _run(Reconciliation.check, "different", names, as_json=as_json)
    if findings.different:
        click.echo(
            "Some rollups differ from the events. Start a worker if none runs; then `streamapp rollups rebuild`"
            " corrects them.",
            err=True,
        )
    _explain_unrepairable(findings)
    if not findings.is_good:
        sys.exit(1)


@command.command()
@_levels
@json_option
@handle_errors
def rebuild(*, names: Sequence[str], as_json: bool) -> None:
    """Count the events again, and correct the rollups that differ.

    Workers may run meanwhile.
    """
    findings = _run(Reconciliation.rebuild, "rebuilt", names, as_json=as_json)
    if findings.uncounted:
        click.echo(
            f"{findings.uncounted} stored events are not counted yet. Their offsets are not below the committed offset"
            " of the group, so the next worker receives their records and counts them. Start a worker if none runs.",
            err=True,
        )
    _explain_unrepairable(findings)
    if findings.unrepairable:
        sys.exit(1)


def _explain_unrepairable(findings: ReconciliationResult) -> None:
    if findings.unrepairable:
        click.echo(
            f"{len(findings.unrepairable)} rollups count fewer events than are stored, and other events of their bucket"
            " were deleted because of their age (STREAMAPP_EVENTS_RETENTION_DAYS). They cannot be counted again, so the"
            " rollups stay as they are.",
            err=True,
        )


def _run(
    go: Callable[[Reconciliation], ReconciliationResult], what: str, names: Sequence[str], *, as_json: bool
) -> ReconciliationResult:
    settings, began = load_settings(), time.monotonic()
    levels = [level for level in LEVELS if not names or level.name in names]
    mongo = Mongo(mongodb.uri(settings), settings.mongo_database)
    try:
        if go is Reconciliation.rebuild:
            asyncio.run(_prepare(mongo, settings.keep))
            go = partial(Reconciliation.rebuild, next_offsets=_next_offsets(settings))
        findings = translate_errors(lambda: _shown(go, mongo, settings, levels))
    finally:
        mongo.close()
    _report(findings, what, seconds=time.monotonic() - began, as_json=as_json)
    return findings


async def _prepare(mongo: Mongo, keep: Keep) -> None:
    await EventStore(mongo).prepare()
    await RollupStore(mongo, keep=keep).prepare()


def _next_offsets(settings: Settings) -> Mapping[PartitionId, int]:
    """Where the workers go on; none, and a warning, if Kafka does not say it."""
    try:
        return next_offsets(KafkaConnection.of(settings), settings.topic, settings.app_id)
    except StreamappError as exc:
        click.echo(
            f"{exc}\nWithout the committed offsets of the group, all stored events are counted. If all workers were"
            " killed, start one and run this command again: an event that the next worker stores can be missing in the"
            " rollups.",
            err=True,
        )
        return {}


def _shown(
    go: Callable[[Reconciliation], ReconciliationResult], mongo: Mongo, settings: Settings, levels: Sequence[Level]
) -> ReconciliationResult:
    with progress("counting", mongo.primary["events"].estimated_document_count()) as advance:
        return go(
            Reconciliation(
                mongo,
                keep=settings.keep,
                now=lambda: datetime.now(UTC),
                levels=levels,
                max_lead_ms=int(settings.max_event_lead_seconds * 1000),
                on_read=advance,
            )
        )


def _report(findings: ReconciliationResult, what: str, *, seconds: float, as_json: bool) -> None:
    facts = {
        "events": findings.events,
        "rollups": findings.rollups,
        what: len(findings.different),
        **({"not_counted_yet": findings.uncounted} if what == "rebuilt" else {}),
        "not_repairable": len(findings.unrepairable),
        "aged_out": findings.aged_out,
        "older_than_events": findings.older,
        "without_time": findings.untimed,
        "seconds": round(seconds, 3),
    }
    wrong = sorted((findings.different | findings.unrepairable).items())
    first = wrong[:MAX_LISTED]
    if is_json(as_json=as_json):
        differences = [{"collection": level.collection, "id": id_, "why": why} for (level, id_), why in first]
        report({**facts, "differences": differences}, as_json=True)
        return
    report(facts, as_json=False)
    for key, why in first:
        click.echo(f"{_named(key)}: {why}")
    if len(wrong) > MAX_LISTED:
        click.echo(f"… and {len(wrong) - MAX_LISTED} more")


def _named(key: RollupKey) -> str:
    level, id_ = key
    rollup = Rollup(id_)
    bucket = datetime.fromtimestamp(rollup.bucket_ms / 1000, UTC)
    return f"{level.collection} of {bucket:%Y-%m-%d %H:%M} UTC, partition {rollup.partition_id.partition} ({id_})"
