"""Read Avro bodies as strictly as the specification describes them, into values that MongoDB stores.

A reader is compiled from a schema: one function for each type in it. Whatever the bytes are, a record costs a bounded
amount of work and memory: each value that is built either takes bytes of the body or is counted, and all of them
together have a limit in bytes (`cursor.MAX_BUILT`), in depth (`cursor.MAX_DEPTH`) and, where items take no bytes, in
number (`cursor.MAX_EMPTY_ITEMS`).

Source: Avro specification 1.12, "Binary Encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct, unpack_from
from sys import getsizeof
from typing import Any, NamedTuple

from streamapp.decode import cursor as primitives
from streamapp.decode.avro_schema import AvroType, ParsedSchema
from streamapp.decode.cursor import (
    MAX_LENGTH,
    BodyError,
    Cursor,
    malformed,
    read_index,
    read_length,
    read_long,
    read_string,
    truncated,
)
from streamapp.decode.encoded_size import encoded_size, record_sizes
from streamapp.decode.logical_types import conversion
from streamapp.errors import Undecodable
from streamapp.model.record import Reason

Read = Callable[[Cursor], Any]

#: Approximate memory of a value in bytes, without what the body bounds: the contents of strings and bytes.
_MEMORY = {"int": 32, "long": 32, "float": 24, "double": 24, "bytes": 40, "string": 56, "fixed": 40, "array": 64}
_CONVERTED_MEMORY = 120
SLOT_BYTES = 8
#: Of an entry of a map: its place and its key.
ENTRY_BYTES = 104 + 56
_FORMATS = {"float": "f", "double": "d"}


class DecodedBody(NamedTuple):
    """A record's value, and about how many bytes of memory it takes."""

    value: Any
    size: int


class BodyReader:
    """Reads bodies that were written with one schema."""

    def __init__(self, schema: ParsedSchema) -> None:
        self._records: dict[int, Read] = {}
        self._fields: dict[int, list[tuple[str, Read]]] = {}
        self._sizes = record_sizes(schema.records)
        # Each record's function exists before the fields of any are compiled: they may contain each other.
        for record in schema.records:
            fields: list[tuple[str, Read]] = []
            self._fields[id(record)] = fields
            memory = sum(value_memory(type_) for _, type_ in record.fields) + dict_memory(record)
            is_empty = not self._sizes[id(record)]
            read = (_empty_record if is_empty else _record)(fields, memory)
            has_shape = record.constants or record.copies or record.written_names
            self._records[id(record)] = _shaped(read, record) if has_shape else read
        for record in schema.records:
            self._fields[id(record)] += [(name, self._compiled(type_)) for name, type_ in record.fields]
        self._read = self._compiled(schema.root)

    def read(self, value: bytes, at: int) -> DecodedBody:
        """The value of the body that begins at `at` and ends with `value`.

        Raises:
            Undecodable: the body is malformed, or has more than MongoDB can store; names the field, never its value.
        """
        cursor = Cursor(value, at)
        try:
            found = self._read(cursor)
        except BodyError as exc:
            where = ".".join(name[:100] for name in reversed(exc.path[-10:]))
            message = f"{where}: {exc.what}" if where else exc.what
            raise Undecodable(exc.reason, message, built=cursor.built) from None
        except (RecursionError, MemoryError) as exc:
            message = f"the body is too large to read: {type(exc).__name__}"
            raise Undecodable(Reason.UNDECODABLE, message, built=cursor.built) from None
        if cursor.at != cursor.end:
            # Written with another schema than the id says: the decoded values are wrong.
            message = f"{cursor.end - cursor.at} bytes are left over after the body"
            raise Undecodable(Reason.UNDECODABLE, message, built=cursor.built)
        return DecodedBody(found, cursor.built)

    def _compiled(self, type_: AvroType) -> Read:
        if type_.kind == "record":
            return self._records[id(type_)]
        if type_.kind == "union":
            return _union([self._compiled(part) for part in type_.parts], [part.kind for part in type_.parts])
        if type_.kind in {"array", "map"}:
            (item,) = type_.parts
            read_item, least = self._compiled(item), encoded_size(item, self._sizes)
            if type_.kind == "map":
                return _map(read_item, 1 + least, ENTRY_BYTES + value_memory(item))
            return _array(_items(item, read_item), least, SLOT_BYTES + value_memory(item))
        return _converted(plain_reader(type_), conversion(type_))


def value_memory(type_: AvroType) -> int:
    """Approximate memory of a value in bytes, see `_MEMORY`."""
    if type_.kind == "union":
        return max(map(value_memory, type_.parts), default=0)
    return _CONVERTED_MEMORY if type_.logical else _MEMORY.get(type_.kind, 0)


def dict_memory(record: AvroType) -> int:
    """Approximate memory of a record without its values, in bytes."""
    return getsizeof(dict.fromkeys(name for name, _ in record.fields)) + 16


def _record(fields: Sequence[tuple[str, Read]], memory: int) -> Read:
    def read(cursor: Cursor) -> dict[str, Any]:
        found: dict[str, Any] = {}
        name = ""
        cursor.enter()
        cursor.build(memory)
        try:
            for name, read_field in fields:
                found[name] = read_field(cursor)
        except BodyError as exc:
            exc.path.append(name)
            raise
        cursor.depth -= 1
        return found

    return read


def _shaped(read: Read, record: AvroType) -> Read:
    """Add the fields of the record's shape; they count for no limit, so that no shape makes a record a dead letter."""
    copies, constants, written = [*record.copies.items()], record.constants, record.written_names

    def read_shaped(cursor: Cursor) -> dict[str, Any]:
        try:
            found = read(cursor)
        except BodyError as exc:
            exc.path[-1:] = [written.get(name, name) for name in exc.path[-1:]]
            raise
        for name, repeated in copies:
            found[name] = found[repeated]
        found.update(constants)
        return found

    return read_shaped


def _empty_record(fields: Sequence[tuple[str, Read]], memory: int) -> Read:
    read_record = _record(fields, memory)

    def read(cursor: Cursor) -> dict[str, Any]:
        cursor.count_empty(1)
        return read_record(cursor)

    return read


def _union(branches: Sequence[Read], kinds: Sequence[str]) -> Read:
    count = len(branches)

    def read(cursor: Cursor) -> Any:
        return branches[read_index(cursor, count, "a union")](cursor)

    if count == 2 and kinds.count("null") == 1:  # noqa: PLR2004 - null and one other type
        null = 2 * kinds.index("null")
        other, read_other = 2 - null, branches[1 - kinds.index("null")]

        def read_nullable(cursor: Cursor) -> Any:
            index = cursor.value[cursor.at] if cursor.at < cursor.end else -1
            if index == null:
                cursor.at += 1
                return None
            if index == other:
                cursor.at += 1
                return read_other(cursor)
            return read(cursor)  # which refuses it

        return read_nullable
    return read


def _array(read_items: Callable[[Cursor, int], list[Any]], least: int, memory: int) -> Read:
    def read(cursor: Cursor) -> list[Any]:
        found: list[Any] = []
        cursor.enter()
        for count in _blocks(cursor, least, memory):
            found += read_items(cursor, count)
        cursor.depth -= 1
        return found

    return read


def _items(item: AvroType, read_item: Read) -> Callable[[Cursor, int], list[Any]]:
    if format_ := _FORMATS.get(item.kind):
        size = Struct(f"<{format_}").size

        def read_numbers(cursor: Cursor, count: int) -> list[Any]:
            begin = cursor.at
            cursor.at += size * count  # `_blocks` has seen that they are there
            return [*unpack_from(f"<{count}{format_}", cursor.value, begin)]

        return read_numbers
    return lambda cursor, count: [read_item(cursor) for _ in range(count)]


def _map(read_item: Read, least: int, memory: int) -> Read:
    def read(cursor: Cursor) -> dict[str, Any]:
        found: dict[str, Any] = {}
        cursor.enter()
        for count in _blocks(cursor, least, memory):
            for _ in range(count):
                key = read_string(cursor)
                found[key] = read_item(cursor)
        cursor.depth -= 1
        return found

    return read


def _blocks(cursor: Cursor, least: int, memory: int) -> Iterator[int]:
    """The number of items in each block of an array or a map."""
    while count := read_long(cursor):
        size = read_length(cursor) if count < 0 else None
        begin, count = cursor.at, abs(count)
        if count > MAX_LENGTH:
            raise malformed(f"a block of {count} items")
        if count * least > cursor.end - begin:
            raise truncated()
        if not least:
            cursor.count_empty(count)
        cursor.build(count * memory)
        yield count
        if size is not None and cursor.at != begin + size:
            raise malformed(f"a block has another size than the {size} bytes that it says")


def plain_reader(type_: AvroType) -> Read:
    """The reader of a type that contains no other types."""
    if type_.kind == "enum":
        symbols = type_.symbols
        return lambda cursor: symbols[read_index(cursor, len(symbols), "an enum")]
    if type_.kind == "fixed":
        return lambda cursor: cursor.take(type_.size)
    return primitives.PRIMITIVES[type_.kind]


def _converted(read: Read, convert: Callable[[Any], Any] | None) -> Read:
    return read if convert is None else lambda cursor: convert(read(cursor))
