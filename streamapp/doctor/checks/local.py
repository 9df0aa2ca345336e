"""Check this machine: names of settings, clock, ports of worker and dashboard."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from streamapp.doctor.checks.finding import Finding, Findings, fault, ok, warning

#: Differences between the clocks of this machine and of MongoDB.
SKEW_WARNING_SECONDS = 2.0
SKEW_FAULT_SECONDS = 60.0


def check_settings(
    names: Collection[str], known: Collection[str], *, renamed: Mapping[str, str], env_file: str | None, summary: str
) -> Findings:
    """Report the sources of the settings, and check the names of variables, which must be in upper case."""
    yield ok("settings.load", f"{summary}; {f'{env_file} is read' if env_file else 'this folder has no .env file'}")
    unknown = sorted(set(names) - set(known) - renamed.keys())
    old = sorted(set(names) & renamed.keys())
    if unknown or old:
        seen = [f"variables without effect, because no setting has this name: {', '.join(unknown)}"] if unknown else []
        seen += [f"deprecated settings: {', '.join(old)}"] if old else []
        fixes = [*_suggestions(unknown, known), *(f"rename {name} to {renamed[name]}" for name in old)]
        yield warning("settings.names", "; ".join(seen), "; ".join(fixes))
    else:
        yield ok("settings.names", f"{len(set(names))} variables are set, and all are known")


def _suggestions(unknown: Collection[str], known: Collection[str]) -> Iterator[str]:
    for name in unknown:
        near = get_close_matches(name, known, n=1, cutoff=0.7)
        yield f"rename {name} to {near[0]}" if near else f"unset {name}"


def check_decoder(*, is_wanted: bool, is_built: bool) -> Finding:
    """What converts the records; both ways store the same bytes."""
    if is_wanted and is_built:
        return ok("decoder", "compiled")
    if not is_wanted:
        return ok("decoder", "python, because STREAMAPP_COMPILED_DECODER is false")
    return ok(
        "decoder", "python: the compiled kernel was not built, for which this Python needs a C compiler and Python.h"
    )


def check_clock(behind: float) -> Finding:
    """Check the clock; `behind` is by how many seconds it is behind MongoDB's, negative if it is ahead."""
    seen = f"the clock of this machine is {abs(behind):.1f} s {'behind' if behind > 0 else 'ahead of'} that of MongoDB"
    if abs(behind) <= SKEW_WARNING_SECONDS:
        return ok("mongodb.clock", seen)
    seen = f"{seen}: latency and lag in seconds are wrong"
    fix = "synchronize both clocks by NTP; with systemd: timedatectl set-ntp true"
    if abs(behind) > SKEW_FAULT_SECONDS:
        return fault("mongodb.clock", seen, fix)
    return warning("mongodb.clock", seen, fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """What answers on a port of the worker or the dashboard."""

    #: Host and port; only the host if this machine does not have the address.
    address: str
    is_open: bool
    #: Whether this machine has the address.
    is_here: bool = True
    #: Readiness by /readyz; None if another program answers.
    ready: bool | None = None
    #: The parts that are not ready, by /readyz.
    not_ready: str = ""


def check_port(check: str, port: PortFacts, *, program: str, settings: str) -> Finding:
    """Check that the port is free, or used by `program`; `settings` is the common prefix of its two settings."""
    if not port.is_here:
        fix = f"{settings}_HOST=127.0.0.1, or another address of this machine"
        return fault(
            check,
            f"this machine has no address {port.address} ({settings}_HOST): the {program} cannot listen there",
            fix,
        )
    if not port.is_open:
        return ok(check, f"{port.address} is free; the {program} is not running")
    if port.ready is None:
        fix = f"stop that program, or set another port: {settings}_PORT=<port>"
        return fault(check, f"another program listens on {port.address}: the {program} cannot start", fix)
    if not port.ready:
        return warning(
            check,
            f"the {program} on {port.address} is not ready: {port.not_ready}",
            f"read the log of the {program}",
        )
    return ok(check, f"the {program} on {port.address} is ready")
