"""Parse Avro writer schemas: how records become values that MongoDB stores, and whether they are events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from streamapp.decode import avro_schema, kernel
from streamapp.decode.avro_schema import AvroType, ParsedSchema
from streamapp.decode.body_reader import BodyReader, DecodedBody
from streamapp.decode.canonical_form import canonical_form as canonical_form_of
from streamapp.decode.logical_types import as_event_time
from streamapp.decode.shape import RecordShape, shape_of, shaped
from streamapp.decode.transcoder import Transcode, compiled
from streamapp.errors import Undecodable
from streamapp.model.event import RESERVED, Schema, required_types
from streamapp.model.record import Reason
from streamapp.model.user_event import TIME

UNREGISTERED = "unregistered"

#: Types that Avro's promotion rules read as the required one.
_PROMOTED = {"string": {"string", "bytes"}, "long": {"long", "int"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterSchema:
    """A schema that records are written with, and its id and version in the registry."""

    schema_id: int
    #: "v" + its version under the subject, or "unregistered".
    version: str
    #: Why none of its records can be an event; None if they can.
    problem: str | None
    #: Parsing Canonical Form (Avro specification): equal forms read the same bytes. Empty if it cannot be read.
    canonical: str
    #: Names of its top-level fields; empty if it has a problem.
    names: frozenset[str]
    #: Reads a body on the generic path, see `BodyReader.read`; raises Undecodable if the schema has a problem.
    read: Callable[[bytes, int], DecodedBody]
    #: Converts its records to BSON on the fast path; None if the fast path does not support the schema.
    transcode: Transcode | None = None
    #: Its program for the compiled kernel; None if there is no kernel, or if it does not support the schema.
    program: object = None
    #: Whether the registry may have the schema complete later: it lacks a schema that this one refers to.
    is_incomplete: bool = False
    #: The schema itself; None if it has a problem.
    parsed: ParsedSchema | None = None
    #: The schemas that it refers to, each after those that it refers to itself, and then the schema, in JSON form.
    sources: Sequence[Schema] = ()

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the Parsing Canonical Form (Avro specification, "Schema Fingerprints"); None if it has no form."""
        return sha256(self.canonical.encode()).hexdigest() if self.canonical else None


def writer_schema(schema: Schema, *, schema_id: int, version: str, definitions: Sequence[Schema] = ()) -> WriterSchema:
    """Parse a schema from the registry; never raises, a schema that cannot be parsed has a `problem`.

    Args:
        schema: in JSON form, or what `avro_schema.from_text` returns.
        schema_id: see `WriterSchema`.
        version: see `WriterSchema`.
        definitions: the schemas that it refers to by name, each after the schemas that it refers to.
    """
    return replace(_parsed(schema, schema_id, version, definitions), sources=(*definitions, schema))


def _parsed(schema: Schema, schema_id: int, version: str, definitions: Sequence[Schema]) -> WriterSchema:
    try:
        return _writer_schema(schema, schema_id, version, definitions)
    except RecursionError:
        problem = "the schema cannot be read: its types are nested too deeply"
    except Exception as exc:  # noqa: BLE001 - a foreign schema may make the parser fail in any way; its records are dead letters
        problem = f"the schema cannot be read: {exc}"
    return _of_no_event(problem, schema_id=schema_id, version=version, canonical="")


def _writer_schema(schema: Schema, schema_id: int, version: str, definitions: Sequence[Schema]) -> WriterSchema:
    parsed = avro_schema.parse(schema, definitions)
    problem, canonical = _problem(parsed.root, required_types(), path=""), canonical_form_of(parsed.root)
    if problem:
        return _of_no_event(problem, schema_id=schema_id, version=version, canonical=canonical)
    events = _records(parsed.root)
    for record in events:
        record.fields = [(name, as_event_time(type_) if name == TIME else type_) for name, type_ in record.fields]
    return WriterSchema(
        schema_id=schema_id,
        version=version,
        problem=None,
        canonical=canonical,
        names=frozenset(name for record in events for name, _ in record.fields),
        read=BodyReader(parsed).read,
        transcode=compiled(parsed.root, version=version, reserved=RESERVED),
        program=kernel.compiled(parsed, version=version),
        parsed=parsed,
    )


def in_shape_of(writer: WriterSchema, latest: WriterSchema) -> WriterSchema:
    """The schema, whose events are stored in the canonical shape that the latest schema gives."""
    shape = shape_between(writer, latest)
    if writer.parsed is None or shape.is_as_written:
        return writer
    parsed = shaped(writer.parsed, shape)
    transcode = compiled(parsed.root, version=writer.version, reserved=RESERVED)
    program = kernel.compiled(parsed, version=writer.version)
    return replace(writer, read=BodyReader(parsed).read, transcode=transcode, program=program)


def shape_between(writer: WriterSchema, latest: WriterSchema) -> RecordShape:
    """The shape in which the events of a writer schema are stored; never raises."""
    if writer.parsed is None or latest.parsed is None:
        return RecordShape()
    try:
        return shape_of(writer.parsed.root, latest.parsed.root)
    except Exception:  # noqa: BLE001 - two foreign schemas may make the comparison fail in any way
        return RecordShape()


def _of_no_event(problem: str, *, schema_id: int, version: str, canonical: str) -> WriterSchema:
    def refuse(_value: bytes, _at: int) -> DecodedBody:
        raise Undecodable(Reason.INCOMPATIBLE_SCHEMA, problem)

    return WriterSchema(
        schema_id=schema_id, version=version, problem=problem, canonical=canonical, names=frozenset(), read=refuse
    )


def canonical_form(schema: Schema) -> str:
    """The schema's Parsing Canonical Form."""
    return canonical_form_of(avro_schema.parse(schema).root)


def _records(type_: AvroType) -> list[AvroType]:
    return [branch for branch in type_.branches if branch.kind == "record"]


def _problem(type_: AvroType, wanted: Any, *, path: str) -> str | None:
    """Why no record of this type can be an event; None if some can.

    It must have every required field, nested ones too, with a type that Avro's promotion rules read as the required one
    (Avro specification 1.12, "Schema Resolution"); names of records and namespaces do not matter.
    """
    if isinstance(wanted, str):
        is_readable = any(branch.kind in _PROMOTED[wanted] for branch in type_.branches)
        return None if is_readable else f"{path} does not read as {wanted}"
    records = _records(type_)
    if not records:
        return f"{path or 'the value'} is not a record"
    problems = [_field_problems(record, wanted, path) for record in records]
    return None if None in problems else problems[0]


def _field_problems(record: AvroType, wanted: dict[str, Any], path: str) -> str | None:
    types = dict(record.fields)
    for name, inner in wanted.items():
        full = f"{path}.{name}" if path else name
        if name not in types:
            return f"{full} is missing"
        if problem := _problem(types[name], inner, path=full):
            return problem
    return None
