"""`streamapp verify`: whether every record is stored or dead-lettered, once, and counted; and all that was sent."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click

from streamapp.commands.options import is_json, json_option, load_settings, report, told
from streamapp.commands.progress import progress
from streamapp.dlq.letter_text import columns
from streamapp.errors import StreamappError
from streamapp.mongodb.client import Mongo, translate_errors
from streamapp.reconcile.reconciliation import Reconciliation, ReconciliationResult
from streamapp.settings import Settings
from streamapp.verify import manifest_file
from streamapp.verify.checks.manifest import Manifest, NoManifestError
from streamapp.verify.checks.manifest_check import ManifestCheck
from streamapp.verify.checks.result import Problem, VerificationResult
from streamapp.verify.verification import Verification

#: Problems that are told one by one.
TOLD = 20
TOLD_AS_JSON = 200


@dataclass(slots=True, kw_only=True)
class Found:
    """All that a run of the command has found."""

    verdict: VerificationResult
    topic_id: str | None
    manifest_check: ManifestCheck | None = None
    rollups: ReconciliationResult | None = None
    problems: list[Problem] = field(default_factory=list[Problem])

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return self.verdict.is_good and not self.problems


def _ledgers(_context: click.Context, parameter: click.Parameter, paths: Sequence[Path]) -> Sequence[Manifest]:
    runs: list[Manifest] = []
    for path in paths:
        try:
            found = manifest_file.read(path)
        except (OSError, NoManifestError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else exc
            raise click.BadParameter(f"{path}: {why}", param=parameter) from None
        for run in found:
            if run not in runs:  # it may be there twice, or in two files
                runs.append(run)
    return runs


@click.command("verify")
@click.option(
    "--manifest",
    "--ledger",
    "sent",
    type=click.Path(path_type=Path),
    multiple=True,
    callback=_ledgers,
    help="Prove also what was sent, by this file of `send-sample --manifest`; may be given again.",
)
@click.option("--no-rollups", is_flag=True, help="Leave out the comparison of the rollups with the events.")
@json_option
@told
def command(*, sent: Sequence[Manifest], no_rollups: bool, as_json: bool) -> None:
    """Compare the topic with documents, dead letters and rollups: exit 1 if anything is missing, double or changed."""
    settings, began = load_settings(), time.monotonic()
    mongo = Mongo(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    try:
        found = translate_errors(lambda: _verify(settings, mongo, sent))
        if not no_rollups:
            translate_errors(lambda: _check_rollups(found, mongo, settings))
    finally:
        mongo.close()
    _report(found, settings, seconds=time.monotonic() - began, as_json=as_json)
    if not found.is_good:
        sys.exit(1)


def _verify(settings: Settings, mongo: Mongo, sent: Sequence[Manifest]) -> Found:
    with closing(Verification(settings, mongo)) as verification:
        total = verification.prepare()
        _refuse_others(sent, settings.topic, verification.topic_id)
        with progress("comparing", total) as advance:
            found = Found(verdict=verification.run(advance), topic_id=verification.topic_id)
        if sent:
            found.manifest_check = ManifestCheck(
                find_documents=verification.find_documents,
                dead_lettered=verification.failures.by_event_id,
                committed=verification.committed,
            )
            for run in sent:
                found.problems += found.manifest_check.check(run)
        return found


def _refuse_others(sent: Sequence[Manifest], topic: str, topic_id: str | None) -> None:
    for run in sent:
        if run.topic != topic:
            message = f"The ledger is of the topic {run.topic}, and STREAMAPP_TOPIC is {topic}."
            raise StreamappError(message)
        if run.topic_id != topic_id:
            message = (
                f"The ledger's run of {run.started_at} went to an earlier topic {topic}, which was deleted and made"
                f" again since (it was {run.topic_id}, and is {topic_id}): its offsets mean nothing any more."
            )
            raise StreamappError(message)


def _check_rollups(found: Found, mongo: Mongo, settings: Settings) -> None:
    with progress("counting", mongo.primary["events"].estimated_document_count()) as advance:
        found.rollups = Reconciliation(
            mongo, keep=settings.keep, now=lambda: datetime.now(UTC), on_read=advance
        ).check()
    different = sorted(found.rollups.different.items())
    found.problems += [
        Problem("rollup", None, "", f"{level.collection} {id_}: {why}") for (level, id_), why in different
    ]


def _report(found: Found, settings: Settings, *, seconds: float, as_json: bool) -> None:
    problems = [*found.verdict.problems(), *found.problems]
    facts = {
        "topic": settings.topic,
        "group": settings.app_id,
        "incarnation": found.topic_id,
        **found.verdict.totals(),
        **_further(found),
        "seconds": round(seconds, 3),
        "wrong": not found.is_good,
    }
    if is_json(as_json=as_json):
        partitions = [{"partition": fates.partition, **fates.counts()} for fates in found.verdict.partitions]
        told = [problem._asdict() for problem in problems[:TOLD_AS_JSON]]
        report({**facts, "partitions": partitions, "problems": told, "problems_total": len(problems)}, as_json=True)
        return
    click.echo(_table(found.verdict))
    report({name: facts[name] for name in ("topic", "group", *_further(found), "seconds")}, as_json=False)
    _tell(found, settings, problems)


def _further(found: Found) -> Mapping[str, Any]:
    facts: dict[str, Any] = {}
    if found.rollups:
        facts |= {"rollups": found.rollups.rollups, "rollups_different": len(found.rollups.different)}
    if found.manifest_check:
        facts |= {"sent": found.manifest_check.records, "sent_not_settled": found.manifest_check.not_settled}
    return facts


def _table(verdict: VerificationResult) -> str:
    rows = [["partition", *(name.replace("_", " ") for name in verdict.totals())]]
    for fates in verdict.partitions:
        name = "none" if fates.partition is None else str(fates.partition)
        rows.append([name, *(f"{n:,}" for n in fates.counts().values())])
    rows.append(["all", *(f"{n:,}" for n in verdict.totals().values())])
    return "\n".join(columns(rows, right=range(len(rows[0]))))


def _tell(found: Found, settings: Settings, problems: Sequence[Problem]) -> None:
    for problem in islice(problems, TOLD):
        click.echo(problem)
    if len(problems) > TOLD:
        click.echo(f"… and {len(problems) - TOLD} more")
    if lag := found.verdict.totals()["not_settled"]:
        click.echo(f"{lag:,} records are not judged: the group {settings.app_id} has not committed them yet.", err=True)
    if not found.is_good:
        click.echo("Something is wrong.", err=True)
