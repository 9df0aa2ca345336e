"""`streamapp verify`: check that each record is stored or dead-lettered once, and that nothing sent is lost."""

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

from streamapp.commands.options import handle_errors, is_json, json_option, load_settings, report
from streamapp.commands.progress import progress
from streamapp.connections import mongodb
from streamapp.dlq.letter_text import columns
from streamapp.errors import StreamappError
from streamapp.mongodb.client import Mongo, translate_errors
from streamapp.reconcile.reconciliation import ReconciliationResult
from streamapp.settings import Settings
from streamapp.verify import manifest_file
from streamapp.verify.checks.manifest import Manifest, NoManifestError
from streamapp.verify.checks.manifest_check import ManifestCheck
from streamapp.verify.checks.result import Problem, VerificationResult
from streamapp.verify.rollup_check import check_rollups
from streamapp.verify.verification import Verification

#: Problems that are listed one by one.
MAX_LISTED = 20
MAX_LISTED_AS_JSON = 200


@dataclass(slots=True, kw_only=True)
class VerifyResult:
    """The results of all checks of one run."""

    verdict: VerificationResult
    topic_id: str | None
    manifest_check: ManifestCheck | None = None
    rollups: ReconciliationResult | None = None
    problems: list[Problem] = field(default_factory=list[Problem])

    @property
    def is_good(self) -> bool:
        """Whether there is no problem."""
        return self.verdict.is_good and not self.problems


def _read_manifests(_context: click.Context, parameter: click.Parameter, paths: Sequence[Path]) -> Sequence[Manifest]:
    runs: list[Manifest] = []
    for path in paths:
        try:
            runs_of_file = manifest_file.read(path)
        except (OSError, NoManifestError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else exc
            raise click.BadParameter(f"{path}: {why}", param=parameter) from None
        for run in runs_of_file:
            if run not in runs:  # a run may be in two files
                runs.append(run)
    return runs


@click.command("verify")
@click.option(
    "--manifest",
    "--ledger",
    "sent",
    type=click.Path(path_type=Path),
    multiple=True,
    callback=_read_manifests,
    metavar="FILE",
    help="Check also that everything sent is there, by this file of `send-sample --manifest`; can be repeated. --ledger"
    " is its old name.",
)
@click.option("--no-rollups", is_flag=True, help="Do not compare the rollups with the events.")
@json_option
@handle_errors
def command(*, sent: Sequence[Manifest], no_rollups: bool, as_json: bool) -> None:
    """Compare the topic with documents, dead letters and rollups; exit with 1 if any is missing, double or changed."""
    settings, began = load_settings(), time.monotonic()
    mongo = Mongo(mongodb.uri(settings), settings.mongo_database)
    try:
        result = translate_errors(lambda: _verify(settings, mongo, sent))
        if not no_rollups:
            translate_errors(lambda: _check_rollups(result, mongo, settings))
    finally:
        mongo.close()
    _report(result, settings, seconds=time.monotonic() - began, as_json=as_json)
    if not result.is_good:
        sys.exit(1)


def _verify(settings: Settings, mongo: Mongo, sent: Sequence[Manifest]) -> VerifyResult:
    with closing(Verification(settings, mongo)) as verification:
        total = verification.prepare()
        _refuse_other_topics(sent, settings.topic, verification.topic_id)
        with progress("comparing", total) as advance:
            result = VerifyResult(verdict=verification.run(advance), topic_id=verification.topic_id)
        if sent:
            result.manifest_check = ManifestCheck(
                find_documents=verification.find_documents,
                dead_lettered=verification.failures.by_event_id,
                committed=verification.committed,
                aged_out_before=verification.expiry.before(datetime.now(UTC)),
            )
            for run in sent:
                result.problems += result.manifest_check.check(run)
        return result


def _refuse_other_topics(sent: Sequence[Manifest], topic: str, topic_id: str | None) -> None:
    for run in sent:
        if run.topic != topic:
            message = f"The manifest is of the topic {run.topic}, but STREAMAPP_TOPIC is {topic}."
            raise StreamappError(message)
        if run.topic_id != topic_id:
            message = (
                f"The run of {run.started_at} in the manifest was sent to {topic} before that topic was deleted and"
                f" re-created (topic id {run.topic_id} then, {topic_id} now): its records cannot be checked any more."
            )
            raise StreamappError(message)


def _check_rollups(result: VerifyResult, mongo: Mongo, settings: Settings) -> None:
    with progress("counting", mongo.primary["events"].estimated_document_count()) as advance:
        result.rollups, problems = check_rollups(settings, mongo, advance)
    result.problems += problems


def _report(result: VerifyResult, settings: Settings, *, seconds: float, as_json: bool) -> None:
    problems = [*result.verdict.problems(), *result.problems]
    facts = {
        "topic": settings.topic,
        "group": settings.app_id,
        "incarnation": result.topic_id,
        **result.verdict.totals(),
        **_optional_facts(result),
        "seconds": round(seconds, 3),
        "wrong": not result.is_good,
    }
    if is_json(as_json=as_json):
        partitions = [{"partition": fates.partition, **fates.counts()} for fates in result.verdict.partitions]
        listed = [problem._asdict() for problem in problems[:MAX_LISTED_AS_JSON]]
        report({**facts, "partitions": partitions, "problems": listed, "problems_total": len(problems)}, as_json=True)
        return
    click.echo(_table(result.verdict))
    report({name: facts[name] for name in ("topic", "group", *_optional_facts(result), "seconds")}, as_json=False)
    _print_problems(result, settings, problems)


def _optional_facts(result: VerifyResult) -> Mapping[str, Any]:
    facts: dict[str, Any] = {}
    if result.rollups:
        facts |= {
            "rollups": result.rollups.rollups,
            "rollups_different": len(result.rollups.different | result.rollups.unrepairable),
        }
    if result.verdict.of_lost_schemas:
        facts["schema_lost"] = sum(result.verdict.of_lost_schemas.values())
    if result.verdict.unreadable:
        facts["unreadable_batches"] = len(result.verdict.unreadable)
    if result.verdict.cut:
        facts["dead_letters_cut"] = result.verdict.cut
    if result.manifest_check:
        facts |= {
            "sent": result.manifest_check.records,
            "sent_not_settled": result.manifest_check.not_settled,
            "sent_aged_out": result.manifest_check.aged_out,
        }
    return facts


def _table(verdict: VerificationResult) -> str:
    rows = [["partition", *(name.replace("_", " ") for name in verdict.totals())]]
    for fates in verdict.partitions:
        name = "none" if fates.partition is None else str(fates.partition)
        rows.append([name, *(f"{n:,}" for n in fates.counts().values())])
    rows.append(["all", *(f"{n:,}" for n in verdict.totals().values())])
    return "\n".join(columns(rows, right=range(len(rows[0]))))


def _print_problems(result: VerifyResult, settings: Settings, problems: Sequence[Problem]) -> None:
    for problem in islice(problems, MAX_LISTED):
        click.echo(problem)
    if len(problems) > MAX_LISTED:
        click.echo(f"… and {len(problems) - MAX_LISTED} more")
    if lag := result.verdict.totals()["not_settled"]:
        click.echo(
            f"{lag:,} records were not checked: the group {settings.app_id} (STREAMAPP_APP_ID) has not committed them"
            " yet.",
            err=True,
        )
    if lost := result.verdict.of_lost_schemas:
        ids = ", ".join(map(str, sorted(lost)))
        click.echo(
            f"{sum(lost.values()):,} stored records were compared by coordinates and schema id only: the registry no"
            f" longer has their schemas (id {ids}).",
            err=True,
        )
    for place in result.verdict.unreadable:
        click.echo(f"A batch cannot be read, only the ids of its events were compared: {place}", err=True)
    if cut := result.verdict.cut:
        click.echo(
            f"{cut:,} dead letters were compared in part only, because they have no more of their records, which have"
            " more than 32 MiB or more than 10,000 headers.",
            err=True,
        )
    if not result.is_good:
        click.echo("Problems were found.", err=True)
