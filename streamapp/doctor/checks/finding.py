"""A finding: the verdict of one check, what is wrong, and how to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Verdict(StrEnum):
    """The verdict of a check."""

    OK = "ok"
    #: Events are stored, but something is slower, less safe or shorter-lived than expected.
    WARNING = "warning"
    #: Events are not stored, or are lost.
    FAULT = "fault"
    #: The check needs something that is missing.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    #: `<area>.<what>`, such as kafka.address.
    check: str
    verdict: Verdict
    #: What is wrong and why it matters, or what was found to be right.
    seen: str
    #: What to do, with the command or setting to copy; empty unless the verdict is warning or fault.
    fix: str = ""

    def with_texts(self, change: Callable[[str], str]) -> Finding:
        """Return a copy whose texts are changed by a function."""
        return replace(self, seen=change(self.seen), fix=change(self.fix))


Findings = Iterator[Finding]


def ok(check: str, seen: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(check=check, verdict=Verdict.OK, seen=seen)


def warning(check: str, seen: str, fix: str) -> Finding:
    """Return a finding of the verdict warning."""
    return Finding(check=check, verdict=Verdict.WARNING, seen=seen, fix=fix)


def fault(check: str, seen: str, fix: str) -> Finding:
    """Return a finding of the verdict fault."""
    return Finding(check=check, verdict=Verdict.FAULT, seen=seen, fix=fix)


def skipped(check: str, needs: str) -> Finding:
    """Return the finding of a check that did not run, with what it needs."""
    return Finding(check=check, verdict=Verdict.SKIPPED, seen=f"needs {needs}")


def count_verdicts(findings: Sequence[Finding], verdict: Verdict) -> int:
    """Return the number of findings with a verdict."""
    return sum(finding.verdict is verdict for finding in findings)
