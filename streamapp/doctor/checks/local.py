"""Judge this machine: the settings' names, its clock, the ports of worker and page."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, warning

#: Seconds between this machine's clock and MongoDB's.
SKEW_WARNING = 2.0
SKEW_FAULT = 60.0


def judge_settings(
    names: Collection[str], known: Collection[str], *, renamed: Mapping[str, str], env_file: str | None, summary: str
) -> Findings:
    """The source of the settings, unknown variables, and deprecated variables; all names in upper case."""
    yield ok("settings.load", f"{summary}; {f'{env_file} is read' if env_file else 'there is no .env in this folder'}")
    unknown = sorted(set(names) - set(known) - renamed.keys())
    old = sorted(set(names) & renamed.keys())
    if unknown or old:
        seen = [f"unknown settings: {', '.join(unknown)}"] if unknown else []
        seen += [f"deprecated settings: {', '.join(old)}"] if old else []
        fixes = [*_instead(unknown, known), *(f"rename {name} to {renamed[name]}" for name in old)]
        yield warning("settings.names", "; ".join(seen), "; ".join(fixes))
    else:
        yield ok("settings.names", f"{len(set(names))} variables set, all of them known")


def _instead(unknown: Collection[str], known: Collection[str]) -> Iterator[str]:
    for name in unknown:
        near = get_close_matches(name, known, n=1, cutoff=0.7)
        yield f"rename {name} to {near[0]}" if near else f"unset {name}"


def judge_clock(behind: float) -> Finding:
    """How many seconds this machine's clock is behind MongoDB's; negative if it is ahead."""
    seen = f"this machine's clock is {abs(behind):.1f} s {'behind' if behind > 0 else 'ahead of'} MongoDB's"
    fix = "set both clocks by NTP, on systemd: timedatectl set-ntp true"
    if abs(behind) > SKEW_FAULT:
        return fault("mongodb.clock", seen, fix)
    return warning("mongodb.clock", seen, fix) if abs(behind) > SKEW_WARNING else ok("mongodb.clock", seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """Who answers on a port of ours."""

    #: Host and port; of an address that is not this machine's, the host.
    address: str
    is_open: bool
    #: Whether it is an address of this machine.
    is_here: bool = True
    #: Our own program's /readyz; None if somebody else answers.
    ready: bool | None = None
    #: What its /readyz complains of.
    trouble: str = ""


def judge_port(check: str, port: PortFacts, *, who: str, settings: str) -> Finding:
    """Whether the port is free, or ours; `settings` is what the names of its two settings begin with."""
    if not port.is_here:
        fix = f"{settings}_HOST=127.0.0.1, or another address of this machine"
        return fault(check, f"this machine has no address {port.address} ({settings}_HOST)", fix)
    if not port.is_open:
        return ok(check, f"{port.address} is free: no {who} runs there")
    if port.ready is None:
        fix = f"end that program, or choose another port: {settings}_PORT=<port>"
        return fault(check, f"{port.address} is taken by another program than our {who}", fix)
    if not port.ready:
        return warning(check, f"our {who} answers on {port.address}, and is not ready: {port.trouble}", "see its log")
    return ok(check, f"our {who} answers on {port.address}, and is ready")
