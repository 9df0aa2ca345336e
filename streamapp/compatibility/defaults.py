"""Whether a default value fits the type of its field.

Source: Avro specification 1.12, "Records", the table of default values; a union takes the value of any branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from streamapp.compatibility.json_form import shown
from streamapp.compatibility.schema import MISSING, AvroType, Field

_INT: Final = 2**31
_LONG: Final = 2**63
#: A character of a default of bytes or fixed stands for one byte.
_MAX_BYTE: Final = 0xFF


def problem_of(value: Any, type_: AvroType) -> str | None:
    """Why a JSON value is not a valid default of the type; None if it is valid."""
    return _PROBLEMS[type_.kind](value, type_)


def first_branch_of(value: Any, union: AvroType) -> int:
    """The index of the branch that a default has; the number of branches if none takes it."""
    fitting = (index for index, branch in enumerate(union.parts) if problem_of(value, branch) is None)
    return next(fitting, len(union.parts))


def _wants(kind: str, *, is_fitting: Callable[[Any], bool]) -> Callable[[Any, AvroType], str | None]:
    return lambda value, _type: None if is_fitting(value) else f"{shown(value)} is not {kind}"


def _is_integer(value: Any, limit: int) -> bool:
    return type(value) is int and -limit <= value < limit


def _is_bytes(value: Any) -> bool:
    return isinstance(value, str) and all(ord(character) <= _MAX_BYTE for character in value)


def _fixed(value: Any, type_: AvroType) -> str | None:
    if not _is_bytes(value):
        return f"{shown(value)} is not a text of the characters U+0000 to U+00FF"
    return None if len(value) == type_.size else f"{shown(value)} has {len(value)} bytes, not {type_.size}"


def _enum(value: Any, type_: AvroType) -> str | None:
    return None if value in type_.symbols else f"{shown(value)} is not a symbol of {type_}"


def _array(value: Any, type_: AvroType) -> str | None:
    if not isinstance(value, list):
        return f"{shown(value)} is not an array"
    return next(filter(None, (problem_of(item, type_.parts[0]) for item in value)), None)


def _map(value: Any, type_: AvroType) -> str | None:
    if not isinstance(value, dict):
        return f"{shown(value)} is not an object"
    return next(filter(None, (problem_of(item, type_.parts[0]) for item in value.values())), None)


def _union(value: Any, type_: AvroType) -> str | None:
    return None if first_branch_of(value, type_) < len(type_.parts) else f"{shown(value)} fits no branch of {type_}"


def _record(value: Any, type_: AvroType) -> str | None:
    if not isinstance(value, dict):
        return f"{shown(value)} is not an object"
    return next(filter(None, (_field(value, field) for field in type_.fields)), None)


def _field(value: Mapping[str, Any], field: Field) -> str | None:
    item = value.get(field.name, field.default)
    if item is MISSING:
        return f"{shown(value)} lacks {field.name}"
    found = problem_of(item, field.type)
    return f"{field.name}: {found}" if found else None


_PROBLEMS: Final[Mapping[str, Callable[[Any, AvroType], str | None]]] = {
    "null": _wants("null", is_fitting=lambda value: value is None),
    "boolean": _wants("a boolean", is_fitting=lambda value: isinstance(value, bool)),
    "int": _wants("an integer of 32 bits", is_fitting=lambda value: _is_integer(value, _INT)),
    "long": _wants("an integer of 64 bits", is_fitting=lambda value: _is_integer(value, _LONG)),
    "float": _wants("a number", is_fitting=lambda value: type(value) in {int, float}),
    "double": _wants("a number", is_fitting=lambda value: type(value) in {int, float}),
    "string": _wants("a text", is_fitting=lambda value: isinstance(value, str)),
    "bytes": _wants("a text of the characters U+0000 to U+00FF", is_fitting=_is_bytes),
    "fixed": _fixed,
    "enum": _enum,
    "array": _array,
    "map": _map,
    "union": _union,
    "record": _record,
}
