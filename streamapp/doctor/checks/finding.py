"""A finding: what one check saw, its verdict, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check has found."""

    #: `<area>.<what>`, such as kafka.address.
    check: str
    verdict: Verdict
    seen: str
    #: A command or a setting to copy; empty unless something is wrong.
    fix: str = ""

    def changed(self, change: Callable[[str], str]) -> Finding:
        """The same with other texts."""
        return replace(self, seen=change(self.seen), fix=change(self.fix))


Findings = Iterator[Finding]


def ok(check: str, seen: str) -> Finding:
    """All is well."""
    return Finding(check=check, verdict=Verdict.OK, seen=seen)


def warning(check: str, seen: str, fix: str) -> Finding:
    """It works, but not as well or not as long as one would think."""
    return Finding(check=check, verdict=Verdict.WARNING, seen=seen, fix=fix)


def fault(check: str, seen: str, fix: str) -> Finding:
    """Events are not stored, or are lost."""
    return Finding(check=check, verdict=Verdict.FAULT, seen=seen, fix=fix)


def skipped(check: str, needs: str) -> Finding:
    """Not tried, for want of something else."""
    return Finding(check=check, verdict=Verdict.SKIPPED, seen=f"needs {needs}")


def count(findings: Sequence[Finding], verdict: Verdict) -> int:
    """How many findings have this verdict."""
    return sum(finding.verdict is verdict for finding in findings)
