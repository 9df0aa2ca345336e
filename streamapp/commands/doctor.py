"""`streamapp doctor`: check settings, servers and ports; name each fault and its remedy."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from streamapp.commands.options import handle_errors, is_json, json_option, load_settings, report
from streamapp.doctor.checks.finding import Finding, Verdict, count_verdicts
from streamapp.doctor.runner import run_checks


@click.command("doctor")
@json_option
@handle_errors
def command(*, as_json: bool) -> None:
    """Check settings, Kafka, registry, MongoDB and ports; name each fault and its remedy. Write nothing."""
    began = time.monotonic()
    findings = run_checks(load_settings(), os.environ, Path.cwd())
    _print(findings, seconds=round(time.monotonic() - began, 3), as_json=as_json)
    sys.stdout.flush()
    sys.exit(1 if count_verdicts(findings, Verdict.FAULT) else 0)


def _print(findings: Sequence[Finding], *, seconds: float, as_json: bool) -> None:
    facts = {
        "faults": count_verdicts(findings, Verdict.FAULT),
        "warnings": count_verdicts(findings, Verdict.WARNING),
        "skipped": count_verdicts(findings, Verdict.SKIPPED),
        "seconds": seconds,
    }
    if is_json(as_json=as_json):
        report({**facts, "checks": [asdict(finding) for finding in findings]}, as_json=True)
        return
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        click.echo(f"{finding.verdict:<7}  {finding.check:<{width}}  {finding.seen}")
        if finding.fix:
            click.echo(f"{'':<{width + 9}}  → {finding.fix}")
    click.echo(", ".join(f"{name}: {value}" for name, value in facts.items()))
