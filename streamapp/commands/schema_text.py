"""Verdicts and differences of schemas as lines and as JSON, and the exit code of unusable input."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from streamapp.compatibility.check import Verdict, levels_of
from streamapp.compatibility.diff import Change, What
from streamapp.compatibility.modes import Direction, Mode, first_to_upgrade, strictest
from streamapp.errors import StreamappError
from streamapp.evolution.sources import NamedSchema

#: The whole schema, in place of a path.
_ROOT = "(the whole schema)"
_UNUSABLE = 2


@contextmanager
def unusable_input() -> Generator[None]:
    """Exit with 2 and a message, without a traceback, if a schema cannot be read or compared.

    A registry that does not answer is no verdict either: 1 would say "not compatible".
    """
    try:
        yield
    except StreamappError as exc:
        _exit(str(exc))
    except RecursionError:
        _exit("The schemas cannot be compared: their types are nested too deeply.")


def _exit(message: str) -> None:
    error = click.ClickException(message)
    error.exit_code = _UNUSABLE
    raise error from None


def print_notes(verdict: Verdict) -> None:
    """Print the notes of a verdict to standard error."""
    for note in verdict.notes:
        click.echo(f"Note: {note}", err=True)


def verdict_json(verdict: Verdict) -> Mapping[str, Any]:
    """A verdict as `--json` reports it."""
    return {
        "compatible": verdict.is_compatible,
        "mode": verdict.mode.value,
        "problems": [
            {
                "path": each.path,
                "kind": each.kind.value,
                "message": each.message,
                "against": each.against,
                "remedy": each.remedy,
            }
            for each in verdict.problems
        ],
    }


def verdict_lines(verdict: Verdict, schema: NamedSchema, earlier: Sequence[NamedSchema]) -> Iterator[str]:
    """A verdict as text."""
    if verdict.is_compatible:
        yield f"{schema.label} is compatible under {verdict.mode}. {first_to_upgrade(verdict.mode)}"
        return
    count = len(verdict.problems)
    yield f"{schema.label} is not compatible under {verdict.mode}: {count} problem{'s' * (count > 1)}."
    for each in verdict.problems:
        yield ""
        yield f"{each.path or _ROOT}  {each.kind}  against {earlier[each.against].label}"
        yield f"  {each.message}"
        yield f"  → {each.remedy}"
    yield from _other_way(verdict, schema, earlier)


def _other_way(verdict: Verdict, schema: NamedSchema, earlier: Sequence[NamedSchema]) -> Iterator[str]:
    """Say under which level the change is allowed as it is."""
    compared = earlier if verdict.mode.is_transitive else earlier[:1]
    possible = [each for each in Direction if all(each in levels_of(schema.parsed, old.parsed) for old in compared)]
    for direction in possible:
        yield ""
        yield f"Without a change of the schema, {direction} would allow it. {first_to_upgrade(Mode(direction))}"


def diff_json(
    old: NamedSchema, new: NamedSchema, changes: Sequence[Change], levels: Sequence[Direction]
) -> Mapping[str, Any]:
    """Differences as `--json` reports them."""
    return {
        "a": old.label,
        "b": new.label,
        "changes": [
            {"path": each.path, "change": each.what.value, "before": each.before, "after": each.after}
            for each in changes
        ],
        "backward": Direction.BACKWARD in levels,
        "forward": Direction.FORWARD in levels,
    }


def change_lines(
    old: NamedSchema, new: NamedSchema, changes: Sequence[Change], levels: Sequence[Direction]
) -> Iterator[str]:
    """Differences as coloured text: what is added in green, what is removed in red."""
    yield f"{old.label} → {new.label}"
    if not changes:
        yield "  no difference"
    for each in changes:
        yield f"  {_change_text(each)}"
    allowed = strictest(levels)
    yield f"The change is allowed under {allowed}. {first_to_upgrade(allowed)}"


def _change_text(change: Change) -> str:
    path, before, after = change.path or _ROOT, change.before, change.after
    if change.what is What.ADDED:
        return click.style(f"+ {path}: {after}", fg="green")
    if change.what is What.REMOVED:
        return click.style(f"- {path}: {before}", fg="red")
    removed, added = click.style(before or "none", fg="red"), click.style(after or "none", fg="green")
    return f"~ {path}, {change.what}: {removed} → {added}"
