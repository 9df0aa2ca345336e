"""Make the program of a writer schema for the compiled kernel: a table of numbers, and the texts that it refers to.

A program converts the same bodies as the generic path (`streamapp.decode.body_reader`) to the same BSON, or declines
them; kernel/program.h runs it. It has the generic path's figures for memory and for least sizes, so that no body gets
further than there. What it does not support, it declines: unions within unions, items of arrays that take no bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import pack
from typing import Any

import bson

from streamapp.decode.avro_binary import NotOnFastPathError
from streamapp.decode.avro_schema import AvroType, ParsedSchema
from streamapp.decode.body_reader import ENTRY_BYTES, SLOT_BYTES, dict_memory, value_memory
from streamapp.decode.code_generator import NUMBERS, fields_of
from streamapp.decode.encoded_size import UNLIMITED, encoded_size, record_sizes
from streamapp.decode.logical_types import EVENT_TIME, UNITS
from streamapp.model.event import RESERVED
from streamapp.model.user_event import DIMENSIONS, OPTIONAL, TIME, USER, WRITER_FIELDS, Field

#: The operations, in the order of kernel/program.h.
(
    DECLINE,
    NULL,
    BOOLEAN,
    INT,
    LONG,
    FLOAT,
    DOUBLE,
    BYTES,
    STRING,
    FIXED,
    ENUM,
    DATE,
    INSTANT,
    EVENT_DATE,
    EVENT_UNIT,
    DECIMAL,
    UUID,
    ARRAY,
    MAP,
    UNION,
    RECORD,
) = range(21)
_PRIMITIVES = {
    "null": NULL,
    "boolean": BOOLEAN,
    "int": INT,
    "long": LONG,
    "float": FLOAT,
    "double": DOUBLE,
    "bytes": BYTES,
    "string": STRING,
}
#: Of a decimal that is supported: more digits than it would fit into Decimal128 without rounding, and less than that.
_MAX_SCALE = 34
#: Numbers of a program; a schema with a larger one is left to the generic path.
_MAX_WORDS = 1_000_000
_NO_SLOT = -1
#: Bytes of a fixed that fit into every processor's sizes; no value has as many.
_MAX_SIZE = 2**31 - 1

#: The dimensions that a writer has, in the order of their slots.
_WRITER_DIMENSIONS = tuple(each for each in DIMENSIONS if each.type)
#: Path → slot, in which the kernel finds what rollups count by; see kernel/event.h.
_SLOTS = {TIME: 0, USER: 1, **{each.path: 2 + index for index, each in enumerate(_WRITER_DIMENSIONS)}}
#: Number of dimensions that a writer has.
WRITER_DIMENSIONS = len(_WRITER_DIMENSIONS)
#: Of each dimension: which of the writer's it is; -1: the schema version.
ORDER = tuple(_WRITER_DIMENSIONS.index(each) if each.type else -1 for each in DIMENSIONS)
#: Bits of the writer's dimensions that may be null or absent.
NULLABLE = sum(1 << index for index, each in enumerate(_WRITER_DIMENSIONS) if each.is_optional)


#: The table, the texts, and the index of the event's record in the table.
Program = tuple[bytes, bytes, int]


def program_of(schema: ParsedSchema) -> Program | None:
    """The program of an event's schema, whose event time is in milliseconds; None if the kernel does not support it."""
    try:
        return _Compiler(schema).program(schema.root)
    except Exception:  # noqa: BLE001 - a foreign schema may make the compiler fail in any way
        return None


class _Compiler:
    def __init__(self, schema: ParsedSchema) -> None:
        self._words: list[int] = []
        self._blob = bytearray()
        self._sizes = record_sizes(schema.records)
        #: The nodes of types that can stand anywhere: not those on the way to a slot.
        self._nodes: dict[int, int] = {}
        self._kinds: dict[str, str] = {}

    def program(self, root: AvroType) -> Program:
        names = {name for name, _ in fields_of(root)}
        if not RESERVED.isdisjoint(names):
            raise NotOnFastPathError
        absent = [each.path for each in OPTIONAL if each.path not in names | root.copies.keys()]
        node = self._record(root, path="", constants={**root.constants, **dict.fromkeys(absent)})
        if any(self._kinds.get(each.path, "absent") not in _kinds(each) for each in WRITER_FIELDS):
            raise NotOnFastPathError
        return pack(f"={len(self._words)}q", *self._words), bytes(self._blob), node

    def _add(self, *words: int) -> int:
        at = len(self._words)
        self._words += words
        if len(self._words) > _MAX_WORDS:
            raise NotOnFastPathError
        return at

    def _text(self, text: bytes) -> tuple[int, int]:
        """Place and size of a text in the blob."""
        at = len(self._blob)
        self._blob += text
        return at, len(text)

    def _node(self, type_: AvroType) -> int:
        if id(type_) not in self._nodes:
            if type_.kind == "record":
                return self._record(type_)
            self._nodes[id(type_)] = self._other(type_)
        return self._nodes[id(type_)]

    def _other(self, type_: AvroType) -> int:
        if type_.kind == "union":
            return self._union(type_)
        if type_.kind in {"array", "map"}:
            return self._container(type_)
        if type_.logical:
            return self._logical(type_)
        if type_.kind == "enum":
            return self._add(
                ENUM, len(type_.symbols), *(n for each in type_.symbols for n in self._text(each.encode()))
            )
        if type_.kind == "fixed":
            return self._add(FIXED, min(type_.size, _MAX_SIZE))
        return self._add(_PRIMITIVES[type_.kind])

    def _union(self, type_: AvroType) -> int:
        if any(part.kind == "union" for part in type_.parts):
            raise NotOnFastPathError
        return self._add(UNION, len(type_.parts), *[self._node(part) for part in type_.parts])

    def _container(self, type_: AvroType) -> int:
        (item,) = type_.parts
        is_map, least = type_.kind == "map", encoded_size(item, self._sizes)
        memory = (ENTRY_BYTES if is_map else SLOT_BYTES) + value_memory(item)
        if not is_map and not least:
            raise NotOnFastPathError
        return self._add(MAP if is_map else ARRAY, self._node(item), is_map + min(least, UNLIMITED), memory)

    def _logical(self, type_: AvroType) -> int:
        unit = type_.logical.rpartition("-")[2]
        is_event_time = type_.logical.startswith(EVENT_TIME)
        if type_.logical == "decimal" and type_.scale <= _MAX_SCALE:
            return self._add(DECIMAL, type_.scale, type_.size if type_.kind == "fixed" else -1)
        if type_.logical == "uuid":
            return self._add(UUID)
        if unit == "date":
            return self._add(EVENT_DATE if is_event_time else DATE)
        return self._add(EVENT_UNIT if is_event_time else INSTANT, UNITS[unit])

    def _record(self, record: AvroType, path: str | None = None, constants: Mapping[str, Any] | None = None) -> int:
        """The node of a record; `path` is that of the event's own record, or of one that contains its fields."""
        fields = fields_of(record)
        if not self._sizes[id(record)]:
            raise NotOnFastPathError
        copied = {name: copy for copy, name in record.copies.items()}
        if len(copied) != len(record.copies) or (copied and path is None):
            raise NotOnFastPathError
        width = 6 + 4 * len(fields) + 3 * len(copied)
        node = self._add(*[DECLINE] * width)
        if path is None:
            self._nodes[id(record)] = node  # before its fields, which may contain it
        of_fields = [self._field(name, type_, copied.get(name, name), path) for name, type_ in fields]
        of_copies = [(_SLOTS[copy], *self._text(copy.encode() + b"\0")) for copy in copied.values()]
        # One by one: PyMongo moves an `_id` to the front of a document, but not within it.
        elements = (record.constants if constants is None else constants).items()
        after = b"".join(bson.encode({name: value})[4:-1] for name, value in elements)
        words = [RECORD, len(fields), self._memory(record), len(copied), *self._text(after)]
        words += [word for each in (*of_fields, *of_copies) for word in each]
        self._words[node : node + width] = words
        return node

    def _memory(self, record: AvroType) -> int:
        return sum(value_memory(type_) for _, type_ in record.fields) + dict_memory(record)

    def _field(self, name: str, type_: AvroType, known_as: str, path: str | None) -> Sequence[int]:
        full = None if path is None else path + known_as
        slot = _NO_SLOT if full is None else _SLOTS.get(full, _NO_SLOT)
        if slot != _NO_SLOT:
            self._kinds[str(full)] = _kind(type_)
        is_on_the_way = full is not None and any(each.startswith(f"{full}.") for each in _SLOTS)
        node = self._record(type_, f"{full}.") if is_on_the_way else self._node(type_)
        return (node, *self._text(name.encode() + b"\0"), slot)


def _kind(type_: AvroType) -> str:
    """The kind of a field with a slot; "string?" for one that may be null."""
    if type_.kind == "union":
        kinds = [each.kind for each in type_.parts]
        return "string?" if sorted(kinds) == ["null", "string"] else "union"
    return type_.kind if type_.kind in NUMBERS or not type_.logical else type_.logical


def _kinds(field: Field) -> set[str]:
    """The kinds that a field may have."""
    if field.type == "long":
        return {*NUMBERS}
    return {"string", "string?", "absent"} if field.is_optional else {"string"}
