"""Whether a new schema is compatible with the earlier ones under a level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamapp.compatibility.logical import logical_notes
from streamapp.compatibility.modes import Direction, Mode
from streamapp.compatibility.problems import Problem, problem
from streamapp.compatibility.rules import faults_of
from streamapp.compatibility.schema import ParsedSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check has found."""

    mode: Mode
    problems: Sequence[Problem]
    #: What the rules do not forbid and the author should know; each a sentence.
    notes: Sequence[str]

    @property
    def is_compatible(self) -> bool:
        """Whether the level allows the new schema."""
        return not self.problems


def check(new: ParsedSchema, earlier: Sequence[ParsedSchema], mode: Mode) -> Verdict:
    """Compare a new schema with earlier ones, of which the first is the latest.

    Raises:
        RecursionError: the types are nested too deeply.
    """
    compared = earlier if mode.is_transitive else earlier[:1]
    problems = [each for against, old in enumerate(compared) for each in _problems(new, old, mode, against)]
    notes = [note for old in compared for note in logical_notes(old.root, new.root)]
    return Verdict(mode=mode, problems=problems, notes=[*dict.fromkeys((*new.notes, *notes))])


def levels_of(new: ParsedSchema, old: ParsedSchema) -> Sequence[Direction]:
    """The directions in which two schemas are compatible."""
    pairs = {Direction.BACKWARD: (new, old), Direction.FORWARD: (old, new)}
    return [each for each, (reader, writer) in pairs.items() if not faults_of(reader.root, writer.root)]


def _problems(new: ParsedSchema, old: ParsedSchema, mode: Mode, against: int) -> Iterator[Problem]:
    is_full = len(mode.directions) > 1
    for direction in mode.directions:
        reader, writer = (new, old) if direction is Direction.BACKWARD else (old, new)
        for fault in faults_of(reader.root, writer.root):
            yield problem(fault, direction, against=against, is_full=is_full)
