"""Say what a fault of a comparison means for producers and consumers, and what to do about it.

The new schema is not registered yet and can be changed; the old one is in use and stays as it is. So the remedy is a
change of the new schema, or another order of changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from streamapp.compatibility.modes import Direction
from streamapp.compatibility.rules import PROMOTIONS, Fault, Kind
from streamapp.compatibility.schema import PRIMITIVES


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A reason why a new schema is not compatible."""

    #: Names of fields from the root on, with `[]` and `{}`; "" is the whole schema.
    path: str
    kind: Kind
    #: Why, in one sentence.
    message: str
    #: Index of the old schema; 0 is the latest.
    against: int
    #: What to change, and which side must get the new schema first then.
    remedy: str
    direction: Direction


class _Words(NamedTuple):
    message: str
    remedy: str


_ORDER: Final = {
    Direction.BACKWARD: "Then upgrade the consumers first.",
    Direction.FORWARD: "Then upgrade the producers first.",
}
_READS: Final = {
    Direction.BACKWARD: "a consumer with the new schema cannot read events of the old one",
    Direction.FORWARD: "a consumer with the old schema cannot read events of the new one",
}


def problem(fault: Fault, direction: Direction, *, against: int, is_full: bool = False) -> Problem:
    """Word a fault.

    Args:
        fault: of a comparison in the direction.
        direction: who reads whom.
        against: index of the old schema.
        is_full: whether the schemas must be compatible in both directions.
    """
    words = _WORDS[fault.kind](fault, direction is Direction.BACKWARD)
    order = "Then either side can be upgraded first." if is_full else _ORDER[direction]
    return Problem(
        path=fault.path,
        kind=fault.kind,
        message=f"{words.message}: {_READS[direction]}.",
        against=against,
        remedy=f"{words.remedy} {order}",
        direction=direction,
    )


def _name(fault: Fault) -> str:
    return fault.path.rpartition(".")[2]


def _default(fault: Fault, backward: bool) -> _Words:
    reader, writer = ("new", "old") if backward else ("old", "new")
    enum = " (the default of its enum does not count)" if fault.reader.default_symbol is not None else ""
    message = (
        f"{fault.path} of the {reader} schema has no default{enum}, and {fault.writer} of the {writer} one lacks it"
    )
    if not backward:
        later = "To remove it later, first give it a default, and upgrade all consumers."
        if fault.names:
            return _Words(message, f"Keep {_name(fault)}, also if {fault.names[0]} replaces it. {later}")
        return _Words(message, f"Keep {_name(fault)} in the new schema. {later}")
    rename = f', or the alias "{fault.names[0]}" if it is that field under a new name' if fault.names else ""
    return _Words(message, f"Give {_name(fault)} a default in the new schema{rename}.")


def _type(fault: Fault, backward: bool) -> _Words:
    message = f"{fault.writer} does not read as {fault.reader}"
    new, old = (fault.reader, fault.writer) if backward else (fault.writer, fault.reader)
    if backward:
        wider = [kind for kind in PRIMITIVES if old.kind in PROMOTIONS.get(kind, ())]
        keep = f"Keep {old}" + (f", or change it to {' or '.join(wider)}" if wider else "")
        if old.kind == "null":
            keep = f"Keep null in the type: [null, {new}]"
    else:
        narrower = [kind for kind in PRIMITIVES if kind in PROMOTIONS.get(old.kind, ())]
        keep = f"Keep {old}" + (f", or change it to {' or '.join(narrower)}" if narrower else "")
    return _Words(message, f"{keep}. For {new}, add another field with a default.")


def _names(fault: Fault, backward: bool) -> _Words:
    message = f"the names differ, and {fault.reader} has no alias for {fault.writer.name}"
    if backward:
        return _Words(message, f'Keep the name {fault.writer.short_name}, or add "aliases": ["{fault.writer.name}"].')
    return _Words(
        message, f"Keep the name {fault.reader.short_name}: consumers with the old schema do not know another one."
    )


def _symbols(fault: Fault, backward: bool) -> _Words:
    which = ", ".join(fault.names)
    message = f"{fault.reader} lacks {which} and has no default symbol"
    if backward:
        return _Words(message, f"Keep {which}, or give the enum in the new schema a default symbol.")
    return _Words(
        message,
        f"Leave {which} out. To add it later, first give the enum a default symbol, and upgrade all consumers.",
    )


def _size(fault: Fault, backward: bool) -> _Words:
    new, old = (fault.reader, fault.writer) if backward else (fault.writer, fault.reader)
    message = f"{old} has {old.size} bytes in the old schema and {new.size} in the new one"
    return _Words(message, f"Keep {old.size} bytes, and add another field with a default for {new.size}.")


def _branch(fault: Fault, backward: bool) -> _Words:
    message = f"{fault.reader} has no branch that reads {fault.writer}"
    if backward:
        return _Words(message, f"Keep {fault.writer} as a branch in the new schema.")
    return _Words(
        message,
        f"Do not write {fault.writer} yet: first add the branch to the schema of all consumers.",
    )


def _ambiguous(fault: Fault, backward: bool) -> _Words:
    fields = " and ".join(fault.names)
    message = f"{_name(fault)} stands for several fields, {fields}, by its name and its aliases"
    if backward:
        return _Words(message, "Leave out the aliases of all but one of them.")
    return _Words(message, "Keep one of these fields only.")


_WORDS: Final[Mapping[Kind, Callable[[Fault, bool], _Words]]] = {
    Kind.READER_FIELD_MISSING_DEFAULT_VALUE: _default,
    Kind.TYPE_MISMATCH: _type,
    Kind.NAME_MISMATCH: _names,
    Kind.MISSING_ENUM_SYMBOLS: _symbols,
    Kind.FIXED_SIZE_MISMATCH: _size,
    Kind.MISSING_UNION_BRANCH: _branch,
    Kind.AMBIGUOUS_ALIAS: _ambiguous,
}
