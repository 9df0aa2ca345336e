"""Parse Avro writer schemas: how records become values that MongoDB stores, and whether they are events."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cache
from typing import Any, cast
from uuid import UUID

import bson.errors
import fastavro.read
from bson import DatetimeMS, Decimal128
from fastavro import _read_py
from fastavro.schema import to_parsing_canonical_form

from streamapp.decode.transcoder import Transcode, compiled
from streamapp.model.event import RESERVED, Schema, required_types
from streamapp.model.user_event import TIME

UNREGISTERED = "unregistered"

MILLIS_PER_DAY = 86_400_000
_NAMED = ("record", "error", "enum", "fixed")
#: Names of types that are not names of schemas.
_KEYWORDS = frozenset({*_NAMED, "array", "map", "null", "boolean", "int", "long", "float", "double", "bytes", "string"})

# Prefix of the logical types that streamapp adds to fastavro's table of readers, which is one for the process: the
# standard logical types keep fastavro's own readers, whose datetimes overflow and lose their branch of a union.
_PREFIX = "bson-"


def _decimal(data: bytes, schema: Schema, *_: object) -> Decimal128 | Decimal:
    unscaled = int.from_bytes(data, "big", signed=True)
    value = Decimal(unscaled).scaleb(-int(schema.get("scale", 0)), Context(prec=len(str(unscaled)) + 1))
    try:
        return Decimal128(value)
    except (ArithmeticError, bson.errors.BSONError, ValueError):
        return value  # more than 34 digits: MongoDB has no such number, and the insert reports it


def _date(data: int, *_: object) -> DatetimeMS:
    return DatetimeMS(data * MILLIS_PER_DAY)


def _instant(units_per_milli: int) -> Callable[..., DatetimeMS]:
    return lambda data, *_: DatetimeMS(data // units_per_milli)


def _millis(units_per_milli: int) -> Callable[..., int]:
    return lambda data, *_: data // units_per_milli


_UNITS = {"millis": 1, "micros": 1_000, "nanos": 1_000_000}
#: Primitive and logical type → function that the reader calls with the primitive value.
_READERS: dict[str, Callable[..., Any]] = {
    "bytes-decimal": _decimal,
    "fixed-decimal": _decimal,
    "fixed-uuid": lambda data, *_: str(UUID(bytes=data)),
    "int-date": _date,
    **{f"long-timestamp-{unit}": _instant(n) for unit, n in _UNITS.items()},
    **{f"long-local-timestamp-{unit}": _instant(n) for unit, n in _UNITS.items()},
    # The event time is always in milliseconds, regardless of the writer's unit.
    **{f"long-event-{unit}": _millis(n) for unit, n in _UNITS.items() if n > 1},
    "int-event-date": lambda data, *_: data * MILLIS_PER_DAY,
}


@cache
def _register_readers() -> None:
    """Add the readers to fastavro's table: to convert decoded values afterwards would take a quarter more time."""
    for name, reader in _READERS.items():
        primitive, logical = name.split("-", 1)
        fastavro.read.LOGICAL_READERS[f"{primitive}-{_PREFIX}{logical}"] = reader


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSchema:
    """A schema that records are written with, and its id and version in the registry."""

    schema_id: int
    #: "v" + its version under the subject, or "unregistered".
    version: str
    #: The result of `reading_schema`; None if the schema cannot be parsed.
    reading: Schema
    #: Why none of its records can be an event; None if they can.
    problem: str | None
    #: Parsing Canonical Form (Avro specification): equal forms read the same bytes.
    canonical: str
    #: Names of its top-level fields; empty if it has a problem.
    names: frozenset[str]
    #: fastavro's reader for it.
    reader: Callable[..., Any] = fastavro.schemaless_reader
    #: Converts its records to BSON on the fast path; None if the fast path does not support the schema.
    transcode: Transcode | None = None


def writer_schema(schema: Schema, *, schema_id: int, version: str, definitions: Sequence[Schema] = ()) -> WriterSchema:
    """Parse a schema from the registry; never raises, a schema that cannot be parsed has a `problem`.

    Args:
        schema: in JSON form.
        schema_id: see `WriterSchema`.
        version: see `WriterSchema`.
        definitions: the schemas that it refers to by name, each after the schemas that it refers to.
    """
    try:
        return _writer_schema(schema, schema_id, version, definitions)
    except Exception as exc:  # noqa: BLE001 - a foreign schema may make the parser fail in any way; its records are dead letters
        problem = f"the schema cannot be read: {exc}"
    return WriterSchema(
        schema_id=schema_id, version=version, reading=None, problem=problem, canonical="", names=frozenset()
    )


def _writer_schema(schema: Schema, schema_id: int, version: str, definitions: Sequence[Schema]) -> WriterSchema:
    named = _names([*definitions, schema])
    problem = problem_as_event(schema, definitions)
    fields = [] if problem else [field for record in _records(schema, named) for field in record["fields"]]
    reading = reading_schema(schema, definitions)
    return WriterSchema(
        schema_id=schema_id,
        version=version,
        reading=reading,
        problem=problem,
        canonical=canonical_form(schema, definitions),
        names=frozenset(field["name"] for field in fields),
        # Records of a recursive schema have unbounded depth: fastavro's compiled reader would crash the process, its
        # reader in Python raises RecursionError.
        reader=_read_py.schemaless_reader if _is_recursive(schema, named, {}) else fastavro.schemaless_reader,
        transcode=None if problem else compiled(reading, version=version, reserved=RESERVED),
    )


def canonical_form(schema: Schema, definitions: Sequence[Schema] = ()) -> str:
    """The schema's Parsing Canonical Form."""
    return to_parsing_canonical_form(_parse(schema, definitions))


def _parse(schema: Schema, definitions: Sequence[Schema]) -> Schema:
    # An own table of named schemas: the default is one table for the process, in which equal names would collide.
    named: dict[str, Any] = {}
    for definition in definitions:
        fastavro.parse_schema(definition, named_schemas=named)
    return fastavro.parse_schema(schema, named_schemas=named)


def reading_schema(schema: Schema, definitions: Sequence[Schema] = ()) -> Schema:
    """Parse a writer schema so that reading with it gives BSON's values.

    decimal → Decimal128; date, timestamp-*, local-timestamp-* → Date; uuid → string; all else as without its
    logical type. A top-level event_timestamp is always an int of milliseconds.

    Raises:
        fastavro.schema.SchemaParseException: not an Avro schema.
        ValueError: records of the schema have no maximum length.
    """
    _register_readers()
    schema, *definitions = copy.deepcopy([schema, *definitions])
    for part in (*definitions, schema):
        _walk(part, _drop_private)
    for record in _records(schema, _names([*definitions, schema])):
        for field in record["fields"]:
            if field["name"] == TIME:
                _walk(field, _as_event_time)
    for part in (*definitions, schema):
        _walk(part, _refuse_unbounded)
        _walk(part, _as_bson)
    return _parse(schema, definitions)


def _walk(schema: Schema, change: Callable[[dict[str, Any]], None]) -> None:
    if isinstance(schema, dict):
        change(cast("dict[str, Any]", schema))
        for key in ("type", "items", "values", "fields"):
            _walk(cast("dict[str, Any]", schema).get(key), change)
    elif isinstance(schema, list):
        for part in cast("list[Any]", schema):
            _walk(part, change)


def _refuse_unbounded(schema: dict[str, Any]) -> None:
    if schema.get("type") == "array" and schema.get("items") in ("null", {"type": "null"}):
        message = "an array of nulls takes no bytes, so that nothing bounds its length"
        raise ValueError(message)


def _drop_private(schema: dict[str, Any]) -> None:
    if str(schema.get("logicalType", "")).startswith(_PREFIX):
        del schema["logicalType"]


def _as_event_time(schema: dict[str, Any]) -> None:
    logical = str(schema.get("logicalType", ""))
    unit = logical.rsplit("-", 1)[-1]
    if "timestamp-" in logical and unit in _UNITS:
        if unit == "millis":
            del schema["logicalType"]
        else:
            schema["logicalType"] = f"{_PREFIX}event-{unit}"
    elif logical == "date":
        schema["logicalType"] = f"{_PREFIX}event-date"


def _as_bson(schema: dict[str, Any]) -> None:
    logical = schema.get("logicalType")
    if logical is None or str(logical).startswith(_PREFIX):
        return
    if f"{schema.get('type')}-{logical}" in _READERS:
        schema["logicalType"] = f"{_PREFIX}{logical}"
    else:
        del schema["logicalType"]


def problem_as_event(schema: Schema, definitions: Sequence[Schema] = ()) -> str | None:
    """Why no record of this writer schema can be an event; None if some can.

    It must have every required field, nested ones too, with a type that Avro's promotion rules read as the required one
    (Avro specification 1.12, "Schema Resolution"); names of records and namespaces do not matter.
    """
    return _problem(schema, required_types(), _names([*definitions, schema]), path="")


def _names(schemas: Iterable[Schema]) -> dict[str, Schema]:
    named: dict[str, Schema] = {}
    for schema in schemas:
        _collect_names(schema, "", named)
    return named


def _records(schema: Schema, named: dict[str, Schema]) -> list[Schema]:
    return [branch for branch in _branches(schema, named) if _type(branch) in {"record", "error"}]


def _is_recursive(schema: Schema, named: dict[str, Schema], inside: dict[int, bool]) -> bool:
    """Whether the schema is recursive; `inside` has true for parts that enclose it, false for parts already checked."""
    if isinstance(schema, str):
        schema = None if schema in _KEYWORDS else named.get(schema)
    if isinstance(schema, list):
        return any(_is_recursive(part, named, inside) for part in cast("list[Any]", schema))
    if not isinstance(schema, dict):
        return False
    schema = cast("dict[str, Any]", schema)
    if id(schema) not in inside:
        inside[id(schema)] = True
        parts = (schema.get(key) for key in ("type", "items", "values", "fields"))
        inside[id(schema)] = any(_is_recursive(part, named, inside) for part in parts)
    return inside[id(schema)]


def _collect_names(schema: Schema, namespace: str, named: dict[str, Schema]) -> None:
    if isinstance(schema, list):
        for part in cast("list[Any]", schema):
            _collect_names(part, namespace, named)
    elif isinstance(schema, dict):
        schema = cast("dict[str, Any]", schema)
        if schema.get("type") in _NAMED:
            name = str(schema.get("name", ""))
            namespace = name.rpartition(".")[0] or str(schema.get("namespace", namespace))
            # By short and by full name: a reference may use either, and short names are rarely equal.
            named.setdefault(name.rpartition(".")[2], schema)
            named[f"{namespace}.{name.rpartition('.')[2]}"] = schema
        for key in ("type", "items", "values", "fields"):
            _collect_names(schema.get(key), namespace, named)


def _problem(schema: Schema, wanted: Any, named: dict[str, Schema], *, path: str) -> str | None:
    branches = list(_branches(schema, named))
    if isinstance(wanted, str):
        promoted = {"string": {"string", "bytes"}, "long": {"long", "int"}}[wanted]
        return None if promoted & {_type(b) for b in branches} else f"{path} does not read as {wanted}"
    records = _records(schema, named)
    if not records:
        return f"{path or 'the value'} is not a record"
    problems = [_field_problems(record, wanted, named, path) for record in records]
    return None if None in problems else problems[0]


def _field_problems(record: Schema, wanted: dict[str, Any], named: dict[str, Schema], path: str) -> str | None:
    types = {field["name"]: field["type"] for field in record["fields"]}
    for name, inner in wanted.items():
        full = f"{path}.{name}" if path else name
        if name not in types:
            return f"{full} is missing"
        if problem := _problem(types[name], inner, named, path=full):
            return problem
    return None


def _branches(schema: Schema, named: dict[str, Schema]) -> Iterable[Schema]:
    if isinstance(schema, list):
        for part in cast("list[Any]", schema):
            yield from _branches(part, named)
    elif isinstance(schema, str):
        yield schema if schema in _KEYWORDS else named.get(schema, schema)
    elif isinstance(schema["type"], dict | list) or schema["type"] not in _KEYWORDS:
        yield from _branches(schema["type"], named)
    else:
        yield schema


def _type(schema: Schema) -> str:
    return schema if isinstance(schema, str) else str(schema["type"])
