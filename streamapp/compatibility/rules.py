"""Whether a reader's schema can read all that a writer's schema writes.

The rules are those of Apache Avro's Java library, which the registries use. Names of types are compared without their
namespaces; an alias of the reader is compared with the writer's full name. Logical types do not matter.

Sources: Avro specification 1.12, "Schema Resolution" and "Aliases"; `SchemaCompatibility` of Avro 1.12 for Java.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from streamapp.compatibility.schema import PRIMITIVES, AvroType, Field, item_token, join

#: Reader → writers that it can read, besides its own type.
PROMOTIONS: Final[Mapping[str, frozenset[str]]] = {
    "long": frozenset({"int"}),
    "float": frozenset({"int", "long"}),
    "double": frozenset({"int", "long", "float"}),
    "bytes": frozenset({"string"}),
    "string": frozenset({"bytes"}),
}
#: A type that is used at many places has its faults at each of them; more are not listed.
_MAX_FAULTS: Final = 500


class Kind(StrEnum):
    """Why a schema cannot read another one, by the names of Apache Avro; the last one is an error there."""

    NAME_MISMATCH = "NAME_MISMATCH"
    FIXED_SIZE_MISMATCH = "FIXED_SIZE_MISMATCH"
    MISSING_ENUM_SYMBOLS = "MISSING_ENUM_SYMBOLS"
    READER_FIELD_MISSING_DEFAULT_VALUE = "READER_FIELD_MISSING_DEFAULT_VALUE"
    TYPE_MISMATCH = "TYPE_MISMATCH"
    MISSING_UNION_BRANCH = "MISSING_UNION_BRANCH"
    AMBIGUOUS_ALIAS = "AMBIGUOUS_ALIAS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One reason why the reader cannot read what the writer writes."""

    #: Names of the reader's fields, `[]` for the items of an array and `{}` for the values of a map; "" is the root.
    path: str
    kind: Kind
    reader: AvroType
    writer: AvroType
    #: Symbols that the reader lacks, or names of the writer's fields that the reader's field may stand for.
    names: Sequence[str] = ()


def faults_of(reader: AvroType, writer: AvroType) -> Sequence[Fault]:
    """Return why the reader cannot read all that the writer writes; nothing if it can.

    Raises:
        RecursionError: the types are nested too deeply.
    """
    return _Comparison().faults(reader, writer)


class _Comparison:
    def __init__(self) -> None:
        #: By identity of reader and writer, with paths relative to them. A pair that is being compared has no fault
        #: until one is found, which ends the recursion.
        self._known: dict[tuple[int, int], Sequence[Fault]] = {}
        self._by_kind: Mapping[str, Callable[[AvroType, AvroType], Iterable[Fault]]] = {
            "record": self._record,
            "enum": self._enum,
            "fixed": self._fixed,
            "array": self._items,
            "map": self._items,
        }

    def faults(self, reader: AvroType, writer: AvroType) -> Sequence[Fault]:
        pair = id(reader), id(writer)
        if pair not in self._known:
            self._known[pair] = ()
            self._known[pair] = [*self._compare(reader, writer)][:_MAX_FAULTS]
        return self._known[pair]

    def _below(self, token: str, reader: AvroType, writer: AvroType) -> Iterable[Fault]:
        return (replace(fault, path=join(token, fault.path)) for fault in self.faults(reader, writer))

    def _compare(self, reader: AvroType, writer: AvroType) -> Iterable[Fault]:
        if writer.kind == "union":
            return [fault for branch in writer.parts for fault in self.faults(reader, branch)]
        if reader.kind == "union":
            return self._union(reader, writer)
        if reader.kind != writer.kind:
            is_promoted = writer.kind in PROMOTIONS.get(reader.kind, ())
            return () if is_promoted else [_fault(Kind.TYPE_MISMATCH, reader, writer)]
        return () if reader.kind in PRIMITIVES else self._by_kind[reader.kind](reader, writer)

    def _union(self, reader: AvroType, writer: AvroType) -> Iterable[Fault]:
        if any(not self.faults(branch, writer) for branch in reader.parts):
            return ()
        meant = next((branch for branch in reader.parts if _is_meant(branch, writer)), None)
        return [_fault(Kind.MISSING_UNION_BRANCH, reader, writer)] if meant is None else self.faults(meant, writer)

    def _items(self, reader: AvroType, writer: AvroType) -> Iterable[Fault]:
        return self._below(item_token(reader), reader.parts[0], writer.parts[0])

    def _record(self, reader: AvroType, writer: AvroType) -> Iterable[Fault]:
        yield from _name_faults(reader, writer)
        for field in reader.fields:
            yield from self._field(field, reader, writer)

    def _field(self, field: Field, reader: AvroType, writer: AvroType) -> Iterable[Fault]:
        found = [each for each in writer.fields if each.name == field.name or each.name in field.aliases]
        if len(found) == 1:
            yield from self._below(field.name, field.type, found[0].type)
        elif found:
            names = [each.name for each in found]
            yield _fault(Kind.AMBIGUOUS_ALIAS, reader, writer, path=field.name, names=names)
        elif not field.has_default:
            names = [*_renamed(field, reader, writer)]
            yield _fault(Kind.READER_FIELD_MISSING_DEFAULT_VALUE, field.type, writer, path=field.name, names=names)

    def _enum(self, reader: AvroType, writer: AvroType) -> Iterable[Fault]:
        yield from _name_faults(reader, writer)
        lacking = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
        if lacking and reader.default_symbol is None:
            yield _fault(Kind.MISSING_ENUM_SYMBOLS, reader, writer, names=lacking)

    def _fixed(self, reader: AvroType, writer: AvroType) -> Iterable[Fault]:
        yield from _name_faults(reader, writer)
        if reader.size != writer.size:
            yield _fault(Kind.FIXED_SIZE_MISMATCH, reader, writer)


def _fault(kind: Kind, reader: AvroType, writer: AvroType, *, path: str = "", names: Sequence[str] = ()) -> Fault:
    return Fault(path=path, kind=kind, reader=reader, writer=writer, names=names)


def _has_name_of(reader: AvroType, writer: AvroType) -> bool:
    return reader.short_name == writer.short_name or writer.name in reader.aliases


def _name_faults(reader: AvroType, writer: AvroType) -> Iterable[Fault]:
    return () if _has_name_of(reader, writer) else [_fault(Kind.NAME_MISMATCH, reader, writer)]


def _is_meant(branch: AvroType, writer: AvroType) -> bool:
    """Whether a branch that cannot read the writer is a version of it, so that its own faults say more."""
    return branch.kind == writer.kind and _has_name_of(branch, writer)


def _renamed(field: Field, reader: AvroType, writer: AvroType) -> Iterable[str]:
    """Fields of the writer that the reader's field may be under another name: unread ones of the same type."""
    read = {name for each in reader.fields for name in (each.name, *each.aliases)}
    return (each.name for each in writer.fields if each.name not in read and str(each.type) == str(field.type))
