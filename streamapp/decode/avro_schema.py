"""Parse Avro schemas as leniently as Avro's Java library does.

What reading with the writer's schema does not need cannot make a schema invalid: default values, aliases, the
characters of names and symbols. An invalid logical type is ignored, as the specification says.

Source: Avro specification 1.12, "Schema Declaration", "Names" and "Logical Types".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from streamapp.model.event import Schema

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
#: Types within types, unions included. A schema with more is refused: the parser would exceed Python's stack.
MAX_NESTING = 150

_UNITS = ("millis", "micros", "nanos")
#: Logical types with a meaning to streamapp, by the type that they annotate; any other is read without it.
_LOGICAL = {
    "int": frozenset({"date"}),
    "long": frozenset({f"{prefix}timestamp-{unit}" for prefix in ("", "local-") for unit in _UNITS}),
}
_UUID_SIZE = 16
#: Shared: most types have none of these, and a schema can have very many types.
_NONE: Mapping[str, Any] = MappingProxyType({})


class SchemaError(ValueError):
    """Not an Avro schema, or one that is not supported."""


@dataclass(frozen=True, slots=True)
class UnreadableSchema:
    """In place of a schema that has no JSON form."""

    problem: str


@dataclass(slots=True, eq=False, repr=False)
class AvroType:
    """A type of a schema, with all names resolved; a recursive type contains itself."""

    #: A primitive type, record, enum, array, map, fixed or union.
    kind: str
    #: Full name of a record, an enum or a fixed.
    name: str = ""
    #: A valid logical type that streamapp supports; "" for none.
    logical: str = ""
    #: Of a decimal.
    scale: int = 0
    #: Bytes of a fixed.
    size: int = 0
    #: Of an enum.
    symbols: Sequence[str] = ()
    #: Of a record: name and type of each field.
    fields: list[tuple[str, AvroType]] = field(default_factory=list)
    #: Of a record: the default values (JSON) of its fields, and their aliases, whatever they are.
    defaults: Mapping[str, Any] = field(default_factory=lambda: _NONE)
    aliases: Mapping[str, Sequence[str]] = field(default_factory=lambda: _NONE)
    #: Of a record that is stored in another shape than it is written in, see `streamapp.decode.shape`: fields that are
    #: added with a constant value, fields that repeat another one, and the written names of renamed fields.
    constants: Mapping[str, Any] = field(default_factory=lambda: _NONE)
    copies: Mapping[str, str] = field(default_factory=lambda: _NONE)
    written_names: Mapping[str, str] = field(default_factory=lambda: _NONE)
    #: Of a union its branches; of an array or a map its only item.
    parts: Sequence[AvroType] = ()

    @property
    def branches(self) -> Sequence[AvroType]:
        """The types that a value may have: those of a union, or the type itself."""
        if self.kind != "union":
            return [self]
        return [branch for part in self.parts for branch in part.branches]


@dataclass(frozen=True, slots=True)
class ParsedSchema:
    """A schema, and all records in it, each after the records that are defined within it."""

    root: AvroType
    records: Sequence[AvroType]


def from_text(text: object, *, kind: object = "AVRO") -> Schema:
    """The JSON form of a schema in a registry's answer; never raises, see `UnreadableSchema`.

    Args:
        text: its `schema`.
        kind: its `schemaType`; None is Avro.
    """
    if kind not in ("AVRO", None):
        return UnreadableSchema(f"it is a schema of type {kind}, not AVRO")
    try:
        return json.loads(text)  # pyright: ignore[reportArgumentType] - whatever the registry answers
    except RecursionError:
        return UnreadableSchema("its JSON is nested too deeply")
    except (TypeError, ValueError) as exc:
        return UnreadableSchema(f"it is not JSON: {exc}")


def parse(schema: Schema, definitions: Sequence[Schema] = ()) -> ParsedSchema:
    """Parse a schema in JSON form.

    Args:
        schema: the schema.
        definitions: schemas that it refers to by name, each after the schemas that it refers to.

    Raises:
        SchemaError: it cannot be read.
        RecursionError: likewise.
    """
    parser = _Parser()
    for definition in definitions:
        parser.parse(definition, "", 0)
    return ParsedSchema(parser.parse(schema, "", 0), parser.records)


class _Parser:
    def __init__(self) -> None:
        self.records: list[AvroType] = []
        #: By full name, with the JSON form of the definition.
        self._named: dict[str, tuple[AvroType, Schema]] = {}
        self._complex: Mapping[str, Callable[[Mapping[str, Any], str, int], AvroType]] = {
            "record": self._record,
            "error": self._record,
            "enum": self._enum,
            "fixed": self._fixed,
            "array": lambda schema, *at: self._container("array", schema, "items", *at),
            "map": lambda schema, *at: self._container("map", schema, "values", *at),
        }

    def parse(self, schema: Schema, namespace: str, depth: int) -> AvroType:
        if depth > MAX_NESTING:
            message = f"types are nested more than {MAX_NESTING} deep"
            raise SchemaError(message)
        if isinstance(schema, str):
            return self._resolved(schema, namespace)
        if isinstance(schema, list):
            parts = [self.parse(part, namespace, depth + 1) for part in cast("list[Any]", schema)]
            return AvroType("union", parts=parts)
        if isinstance(schema, UnreadableSchema):
            raise SchemaError(schema.problem)
        if not isinstance(schema, dict):
            message = f"a type is neither text, nor an object, nor a list, but {type(schema).__name__}"
            raise SchemaError(message)
        return self._object(cast("dict[str, Any]", schema), namespace, depth)

    def _object(self, schema: Mapping[str, Any], namespace: str, depth: int) -> AvroType:
        kind = schema.get("type")
        if isinstance(kind, str) and kind in self._complex:
            return self._complex[kind](schema, namespace, depth)
        if isinstance(kind, str) and kind in PRIMITIVES:
            return _annotated(AvroType(kind), schema)
        if kind is None:
            message = "an object without a type"
            raise SchemaError(message)
        return self.parse(kind, namespace, depth + 1)

    def _resolved(self, name: str, namespace: str) -> AvroType:
        if name in PRIMITIVES:
            return AvroType(name)
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        # As Java does: a name that the namespace does not have may be one without a namespace.
        found = self._named.get(full) or self._named.get(name.rpartition(".")[2])
        if found is None:
            message = f"unknown type {name[:200]!r}"
            raise SchemaError(message)
        return found[0]

    def _define(self, made: AvroType, schema: Mapping[str, Any], namespace: str) -> tuple[AvroType, str, bool]:
        """The type of a definition, the namespace within it, and whether it was defined before."""
        name = schema.get("name")
        if not isinstance(name, str) or not name:
            message = f"a type {made.kind} without a name"
            raise SchemaError(message)
        own = schema.get("namespace")
        space, _, short = (
            name.rpartition(".") if "." in name else (own if isinstance(own, str) else namespace, "", name)
        )
        made.name = f"{space}.{short}" if space else short
        known = self._named.setdefault(made.name, (made, schema))
        if known[0] is not made and known[1] != schema:
            message = f"{made.name[:200]} is defined twice"
            raise SchemaError(message)
        return known[0], space, known[0] is not made

    def _record(self, schema: Mapping[str, Any], namespace: str, depth: int) -> AvroType:
        made, space, is_known = self._define(AvroType("record"), schema, namespace)
        fields = schema.get("fields")
        if not isinstance(fields, list):
            message = f"record {made.name[:200]} has no list of fields"
            raise SchemaError(message)
        if not is_known:
            made.fields = [self._field(each, space, depth) for each in cast("list[Any]", fields)]
            made.defaults = {each["name"]: each["default"] for each in fields if "default" in each}
            made.aliases = {each["name"]: found for each in fields if (found := _texts(each.get("aliases")))}
            self.records.append(made)
        return made

    def _field(self, found: Any, namespace: str, depth: int) -> tuple[str, AvroType]:
        if not isinstance(found, dict) or not isinstance(cast("dict[str, Any]", found).get("name"), str):
            message = "a field without a name"
            raise SchemaError(message)
        name: str = found["name"]
        try:
            return name, self.parse(cast("dict[str, Any]", found).get("type"), namespace, depth + 1)
        except SchemaError as exc:
            message = f"{name[:200]}: {exc}"
            # The path of a deep field would be longer than what is wrong.
            raise SchemaError(message if depth < MAX_NESTING // 10 else str(exc)) from None

    def _enum(self, schema: Mapping[str, Any], namespace: str, _: int) -> AvroType:
        made, _space, _is_known = self._define(AvroType("enum"), schema, namespace)
        symbols = schema.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(each, str) for each in cast("list[Any]", symbols)):
            message = f"enum {made.name[:200]} has no list of symbols"
            raise SchemaError(message)
        made.symbols = [*cast("list[str]", symbols)]
        return made

    def _fixed(self, schema: Mapping[str, Any], namespace: str, _: int) -> AvroType:
        made, _space, _is_known = self._define(AvroType("fixed"), schema, namespace)
        size = schema.get("size")
        if type(size) is not int or size < 0:
            message = f"fixed {made.name[:200]} has no size"
            raise SchemaError(message)
        made.size = size
        return _annotated(made, schema)

    def _container(self, kind: str, schema: Mapping[str, Any], key: str, namespace: str, depth: int) -> AvroType:
        if key not in schema:
            message = f"a type {kind} without {key}"
            raise SchemaError(message)
        return AvroType(kind, parts=[self.parse(schema[key], namespace, depth + 1)])


def _texts(found: Any) -> Sequence[str]:
    return [each for each in cast("list[Any]", found) if isinstance(each, str)] if isinstance(found, list) else ()


def _annotated(made: AvroType, schema: Mapping[str, Any]) -> AvroType:
    """The type with its logical type, if that is valid and has a meaning here."""
    logical = schema.get("logicalType")
    if not isinstance(logical, str):
        return made
    if logical == "decimal" and made.kind in {"bytes", "fixed"}:
        scale = _scale(made, schema)
        if scale is not None:
            made.logical, made.scale = logical, scale
    elif logical in _LOGICAL.get(made.kind, ()) or (
        logical == "uuid" and made.kind == "fixed" and made.size == _UUID_SIZE
    ):
        made.logical = logical
    return made


def _scale(made: AvroType, schema: Mapping[str, Any]) -> int | None:
    """The scale of a decimal; None if it is not valid, so that the logical type must be ignored."""
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision or precision == 0:
        return None
    # As Java computes it.
    if made.kind == "fixed" and precision > math.floor(math.log10(2) * (8 * made.size - 1)):
        return None
    return scale
