"""The results of a soak, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from tests.faults.catalogue import Fault
from tests.soak.run import Run

COLUMNS = ("runs", "seconds", "missing", "extra", "wrong fields", "dead letters wrong", "rollups wrong")
HEAD = f"| fault | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}"


def line(run: Run) -> str:
    """One run in one line, for the terminal."""
    faults = ", ".join(f"{each.name} {each.at:g}+{each.seconds:g}" for each in run.faults)
    verdict = "ok" if run.is_good else "FAILED: " + "; ".join(run.verdict.problems)
    return (
        f"seed {run.seed}: {run.workers} workers, {faults} |"
        f" {run.verdict.events} events, {run.verdict.poisons} poisons,"
        f" back in {run.back_seconds:.1f} s, {run.seconds:.0f} s in all | {verdict}"
    )


def table(runs: Sequence[Run], faults: Mapping[str, Fault]) -> str:
    """All runs: by fault, and together."""
    rows = [
        _row(f"{name}: {fault.sentence}", _with(runs, name), _seconds(runs, name)) for name, fault in faults.items()
    ]
    every = _row("**all**", runs, sum(run.seconds for run in runs))
    return "\n".join([HEAD, *rows, every, "", summary(runs)])


def summary(runs: Sequence[Run]) -> str:
    """All runs in a few sentences."""
    back = sorted(run.back_seconds for run in runs) or [0.0]
    good = sum(run.is_good for run in runs)
    verdicts = [run.verdict for run in runs]
    return (
        f"{good} of {len(runs)} runs good, seeds {_seeds(runs)}, {sum(run.seconds for run in runs) / 60:.0f} minutes;"
        f" {sum(v.events for v in verdicts):,} events and {sum(v.poisons for v in verdicts):,} poisons.\n"
        f"Zero lag after {median(back):.1f} s (median), {back[-1]:.1f} s (maximum)."
        f" {sum(v.letters_again for v in verdicts):,} dead letters were delivered again after a crash or a rebalance;"
        f" {sum(v.lost for v in verdicts):,} records were deleted by Kafka unread, and all of them reported."
        f" The largest worker used {max([run.peak_mib for run in runs] or [0])} MiB."
    )


def _with(runs: Sequence[Run], name: str) -> list[Run]:
    return [run for run in runs if any(each.name == name for each in run.faults)]


def _seconds(runs: Sequence[Run], name: str) -> float:
    return sum(each.seconds for run in runs for each in run.faults if each.name == name)


def _row(name: str, runs: Sequence[Run], seconds: float) -> str:
    verdicts = [run.verdict for run in runs]
    letters = sum(v.letters_missing + v.letters_extra for v in verdicts)
    cells = [
        len(runs),
        f"{seconds:,.0f}",
        sum(v.missing for v in verdicts),
        sum(v.extra for v in verdicts),
        sum(v.wrong for v in verdicts),
        letters,
        sum(v.rollups for v in verdicts),
    ]
    return f"| {name} | " + " | ".join(map(str, cells)) + " |"


def _seeds(runs: Sequence[Run]) -> str:
    return f"{runs[0].seed} to {runs[-1].seed}" if runs else "none"
