"""`streamapp rollups check` and `streamapp rollups rebuild`: compare the rollups with the events, and mend them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice

import click

from streamapp.commands.options import is_json, json_option, load_settings, report, told
from streamapp.commands.progress import progress
from streamapp.mongo import Mongo, translated
from streamapp.reconcile import Findings, Reconciliation
from streamapp.rollup import LEVELS, Level, Rollup
from streamapp.rollups import Rollups
from streamapp.settings import Settings
from streamapp.store import Store
from streamapp.stretch import Key

#: Rollups that are told one by one, of those that differ.
TOLD = 20

_levels = click.option(
    "--level",
    "names",
    type=click.Choice([level.name for level in LEVELS]),
    multiple=True,
    help="Only this level; may be given again.  [default: all]",
)


@click.group("rollups")
def command() -> None:
    """Compare the rollups with the events, or count them anew."""


@command.command()
@_levels
@json_option
@told
def check(*, names: tuple[str, ...], as_json: bool) -> None:
    """Compare each rollup with the events; exit code 1 if one differs."""
    findings = _run("comparing", Reconciliation.check, names, as_json=as_json)
    if findings.different:
        click.echo("Rollups differ from the events; `streamapp rollups rebuild` counts them anew.", err=True)
        sys.exit(1)


@command.command()
@_levels
@json_option
@told
def rebuild(*, names: tuple[str, ...], as_json: bool) -> None:
    """Count the events anew and write each rollup that differs; workers may go on."""
    _run("counting", Reconciliation.rebuild, names, as_json=as_json, prepare=True)


def _run(
    what: str, go: Callable[[Reconciliation], Findings], names: tuple[str, ...], *, as_json: bool, prepare: bool = False
) -> Findings:
    settings, began = load_settings(), time.monotonic()
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    try:
        if prepare:
            asyncio.run(_prepare(mongo, settings))
        levels = [level for level in LEVELS if not names or level.name in names]
        findings = translated(lambda: _shown(what, go, mongo, settings, levels))
    finally:
        mongo.close()
    _report(findings, seconds=time.monotonic() - began, as_json=as_json)
    return findings


async def _prepare(mongo: Mongo, settings: Settings) -> None:
    await Store(mongo).prepare()
    await Rollups(mongo, keep=settings.keep).prepare()


def _shown(
    what: str, go: Callable[[Reconciliation], Findings], mongo: Mongo, settings: Settings, levels: list[Level]
) -> Findings:
    with progress(what, mongo.primary["events"].estimated_document_count()) as advance:
        now = lambda: datetime.now(UTC)  # noqa: E731 - a clock
        return go(Reconciliation(mongo, keep=settings.keep, now=now, levels=levels, on_read=advance))


def _report(findings: Findings, *, seconds: float, as_json: bool) -> None:
    facts = {
        "events": findings.events,
        "rollups": findings.rollups,
        "different": len(findings.different),
        "older_than_events": findings.older,
        "without_time": findings.untimed,
        "seconds": round(seconds, 3),
    }
    told_ones = [*islice(findings.different.items(), TOLD)]
    if is_json(as_json=as_json):
        differences = [{"collection": level.collection, "id": id_, "why": why} for (level, id_), why in told_ones]
        report({**facts, "differences": differences}, as_json=True)
        return
    report(facts, as_json=False)
    for key, why in told_ones:
        click.echo(f"{_named(key)}: {why}")
    if len(findings.different) > TOLD:
        click.echo(f"… and {len(findings.different) - TOLD} more")


def _named(key: Key) -> str:
    level, id_ = key
    rollup = Rollup(id_)
    bucket = datetime.fromtimestamp(rollup.bucket_ms / 1000, UTC)
    return f"{level.collection} of {bucket:%Y-%m-%d %H:%M} UTC, partition {rollup.lane.partition} ({id_})"
