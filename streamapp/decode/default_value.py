"""Default values of fields as MongoDB stores them: as a written value of the field's type would be.

Source: Avro specification 1.12, "Records", the table of default values; a union takes the value of any branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, cast

from streamapp.decode.avro_schema import AvroType
from streamapp.decode.cursor import MAX_DEPTH, BodyError
from streamapp.decode.logical_types import conversion

_LIMITS = {"int": 2**31, "long": 2**63}
#: A float of Avro has fewer digits than a number of JSON.
_FLOAT = Struct("<f")


class UnfitDefaultError(ValueError):
    """The value does not fit the type of the field, or MongoDB cannot store it."""


def default_value(json: Any, type_: AvroType, depth: int = 0) -> Any:
    """The value of a default.

    Args:
        json: the default in the schema.
        type_: the type of the field.
        depth: documents and arrays around it.

    Raises:
        UnfitDefaultError: it is none of this type.
    """
    if depth > MAX_DEPTH:
        raise UnfitDefaultError
    if type_.kind == "union":
        return _of_union(json, type_, depth)
    if type_.kind in _CONTAINERS:
        return _CONTAINERS[type_.kind](json, type_, depth + 1)
    convert = conversion(type_)
    try:
        value = _PLAIN[type_.kind](json, type_)
        return value if convert is None else convert(value)
    except (BodyError, TypeError, ValueError, OverflowError):
        raise UnfitDefaultError from None


def _of_union(json: Any, type_: AvroType, depth: int) -> Any:
    for branch in type_.branches:
        try:
            return default_value(json, branch, depth)
        except UnfitDefaultError:
            pass
    raise UnfitDefaultError


def _array(json: Any, type_: AvroType, depth: int) -> list[Any]:
    if not isinstance(json, list):
        raise UnfitDefaultError
    return [default_value(each, type_.parts[0], depth) for each in cast("list[Any]", json)]


def _map(json: Any, type_: AvroType, depth: int) -> dict[str, Any]:
    return {name: default_value(each, type_.parts[0], depth) for name, each in _object(json).items()}


def _record(json: Any, type_: AvroType, depth: int) -> dict[str, Any]:
    given = {**type_.defaults, **_object(json)}
    if any(name not in given for name, _ in type_.fields):
        raise UnfitDefaultError
    return {name: default_value(given[name], each, depth) for name, each in type_.fields}


def _object(json: Any) -> Mapping[str, Any]:
    if not isinstance(json, dict):
        raise UnfitDefaultError
    return cast("Mapping[str, Any]", json)


def _exactly(python_type: type) -> Callable[[Any, AvroType], Any]:
    def check(json: Any, _: AvroType) -> Any:
        if type(json) is not python_type:
            raise UnfitDefaultError
        return json

    return check


def _integer(json: Any, type_: AvroType) -> int:
    if type(json) is not int or not -_LIMITS[type_.kind] <= json < _LIMITS[type_.kind]:
        raise UnfitDefaultError
    return json


def _number(json: Any, _: AvroType) -> float:
    if type(json) not in {int, float}:
        raise UnfitDefaultError
    return float(json)


def _float(json: Any, type_: AvroType) -> float:
    return _FLOAT.unpack(_FLOAT.pack(_number(json, type_)))[0]


def _bytes(json: Any, type_: AvroType) -> bytes:
    data = json.encode("latin-1") if isinstance(json, str) else None
    if data is None or (type_.kind == "fixed" and len(data) != type_.size):
        raise UnfitDefaultError
    return data


def _symbol(json: Any, type_: AvroType) -> str:
    if json not in type_.symbols:
        raise UnfitDefaultError
    return json


_CONTAINERS: Mapping[str, Callable[[Any, AvroType, int], Any]] = {"array": _array, "map": _map, "record": _record}
_PLAIN: Mapping[str, Callable[[Any, AvroType], Any]] = {
    "null": _exactly(type(None)),
    "boolean": _exactly(bool),
    "int": _integer,
    "long": _integer,
    "float": _float,
    "double": _number,
    "string": _exactly(str),
    "bytes": _bytes,
    "fixed": _bytes,
    "enum": _symbol,
}
