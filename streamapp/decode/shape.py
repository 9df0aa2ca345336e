"""The canonical shape of documents: that of the latest schema, whichever version an event is written with.

A field that the writer lacks is added with the default of the latest schema. A field that the latest schema has
renamed, with an alias, has its new name. All other fields of the writer stay. A shape is computed once for a writer
schema: the readers of both paths are compiled for it.

What events are counted by does not depend on the shape: an optional field of events that the writer lacks is null,
whatever its default is, no other field is renamed to it, and if it is renamed, it is stored under both names.

Records in arrays and in maps, records that contain themselves and unions of several records are stored as written. So
an event has each record of a shape at most once, and what is added to it is bounded: MAX_FIELDS, MAX_ADDED_BYTES.

Source: Avro specification 1.12, "Schema Resolution" and "Aliases".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import bson
from bson.errors import BSONError

from streamapp.decode.avro_schema import AvroType, ParsedSchema
from streamapp.decode.default_value import UnfitDefaultError, default_value
from streamapp.model.event import RESERVED
from streamapp.model.user_event import OPTIONAL

#: Fields that are compared, and bytes that are added to a document; beyond, events are stored as written.
MAX_FIELDS = 10_000
MAX_ADDED_BYTES = 4 * 1024

#: Names with a meaning of their own at the top of a document.
_TAKEN = RESERVED | {"extra"}
_OURS = frozenset(each.path for each in OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordShape:
    """How a record is stored in another shape than it is written in."""

    #: Written name → stored name, where they differ.
    renames: Mapping[str, str] = field(default_factory=dict[str, str])
    #: Name → value of fields that the writer lacks.
    fills: Mapping[str, Any] = field(default_factory=dict[str, Any])
    #: Optional field of an event that is renamed → its stored name. It is stored under both.
    copies: Mapping[str, str] = field(default_factory=dict[str, str])
    #: Written name → the shape of the record in this field.
    nested: Mapping[str, RecordShape] = field(default_factory=dict[str, "RecordShape"])
    #: Stored name of a renamed or added field → names under which earlier documents can have it, the written one last.
    former: Mapping[str, Sequence[str]] = field(default_factory=dict[str, "Sequence[str]"])

    @property
    def is_as_written(self) -> bool:
        """Whether the two shapes are the same."""
        return not (self.renames or self.fills or self.copies or self.nested)


_AS_WRITTEN = RecordShape()


def shape_of(written: AvroType, latest: AvroType) -> RecordShape:
    """The shape in which the events of a schema are stored.

    Args:
        written: the schema that they are written with.
        latest: the latest schema; both are schemas of events.
    """
    record, wanted = only_record(written), only_record(latest)
    if record is None or wanted is None:
        return _AS_WRITTEN
    try:
        return _Comparison().shape(record, wanted)
    except (_TooLargeError, _RecursiveError):
        return _AS_WRITTEN


def only_record(type_: AvroType) -> AvroType | None:
    """The record of a type: the type itself, or the only branch that is stored as a document; None if there is none."""
    found = [branch for branch in type_.branches if branch.kind in {"record", "map"}]
    return found[0] if len(found) == 1 and found[0].kind == "record" else None


def shaped(schema: ParsedSchema, shape: RecordShape) -> ParsedSchema:
    """The schema, with the record in it that has the shape; both read the same bytes."""
    records = [*schema.records]
    return ParsedSchema(_with_shape(schema.root, shape, records), records)


def _with_shape(type_: AvroType, shape: RecordShape, records: list[AvroType]) -> AvroType:
    if type_.kind == "union":
        return AvroType("union", parts=[_with_shape(part, shape, records) for part in type_.parts])
    if type_.kind != "record":
        return type_
    fields = [
        (
            shape.renames.get(name, name),
            _with_shape(each, shape.nested[name], records) if name in shape.nested else each,
        )
        for name, each in type_.fields
    ]
    made = AvroType(
        "record",
        name=type_.name,
        fields=fields,
        constants=shape.fills,
        copies=shape.copies,
        written_names={new: name for name, new in shape.renames.items()},
    )
    records.append(made)
    return made


class _TooLargeError(Exception):
    """An event has too many fields, or too much would be added to it."""


class _RecursiveError(Exception):
    """A record contains itself."""

    def __init__(self, record: AvroType) -> None:
        super().__init__()
        self.record = record


class _Comparison:
    """Compares the records of one event."""

    def __init__(self) -> None:
        self._open: list[AvroType] = []
        self._fields = self._added = 0

    def shape(self, written: AvroType, latest: AvroType) -> RecordShape:
        """The shape of a record."""
        self._fields += len(written.fields) + len(latest.fields)
        if self._fields > MAX_FIELDS:
            raise _TooLargeError
        if any(each is written for each in self._open):
            raise _RecursiveError(written)
        self._open.append(written)
        try:
            return self._shape(written, latest)
        except _RecursiveError as exc:
            if exc.record is not written:
                raise
            return _AS_WRITTEN
        finally:
            self._open.pop()

    def _shape(self, written: AvroType, latest: AvroType) -> RecordShape:
        own = {name for name, _ in written.fields}
        if len(own) != len(written.fields) or len(dict(latest.fields)) != len(latest.fields):
            return _AS_WRITTEN  # a name stands for two fields
        is_event = len(self._open) == 1
        kept = _TAKEN | _OURS if is_event else frozenset[str]()
        stored = _stored_names(written, latest, kept)
        renames = {name: new for name, new in stored.items() if name != new}
        fills = dict(self._fills(latest, kept | (own - renames.keys()) | {*stored.values()}))
        copies = {ours: renames[ours] for ours in _OURS & renames.keys()} if is_event else {}
        return RecordShape(
            renames=renames,
            fills=fills,
            copies=copies,
            nested=dict(self._nested(written, latest, stored)),
            former=dict(_former(latest, own | kept, renames, fills)),
        )

    def _fills(self, latest: AvroType, names: AbstractSet[str]) -> Iterator[tuple[str, Any]]:
        for name, type_ in latest.fields:
            if name in names or name not in latest.defaults or not _is_name(name):
                continue
            try:
                value = default_value(latest.defaults[name], type_, len(self._open))
                self._added += len(bson.encode({name: value}))
            except (UnfitDefaultError, BSONError, ValueError, OverflowError):  # as for a field without a default
                continue
            if self._added > MAX_ADDED_BYTES:
                raise _TooLargeError
            yield name, value

    def _nested(
        self, written: AvroType, latest: AvroType, stored: Mapping[str, str]
    ) -> Iterator[tuple[str, RecordShape]]:
        types = dict(latest.fields)
        for name, type_ in written.fields:
            if name not in stored:
                continue
            record, wanted = only_record(type_), only_record(types[stored[name]])
            if record and wanted and not (shape := self.shape(record, wanted)).is_as_written:
                yield name, shape


def _stored_names(written: AvroType, latest: AvroType, kept: frozenset[str]) -> dict[str, str]:
    """Written name → name in the latest schema, for each field that it has; no field gets a name in `kept`."""
    own, wanted = {name for name, _ in written.fields}, [name for name, _ in latest.fields]
    found = {name: name for name in wanted if name in own}
    for new in wanted:
        if new in own or new in kept or not _is_name(new):
            continue
        free = (name for name in latest.aliases.get(new, ()) if name in own and name not in found)
        former = next((name for name in free if name not in _TAKEN and _is_name(name)), None)
        if former is not None:
            found[former] = new
    return found


def _former(
    latest: AvroType, other: set[str], renames: Mapping[str, str], fills: Mapping[str, Any]
) -> Iterator[tuple[str, Sequence[str]]]:
    now = {name for name, _ in latest.fields}
    written = {new: name for name, new in renames.items()}
    for new in (*written, *fills):
        aliases = [name for name in latest.aliases.get(new, ()) if name not in other | now and _is_name(name)]
        yield new, [*aliases, written[new]] if new in written else aliases


def _is_name(name: str) -> bool:
    """Whether a name has a meaning neither for MongoDB nor for the code of the fast path."""
    return name.isascii() and name.isidentifier()
