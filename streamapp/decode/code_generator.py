"""Generate the lines of a transcoder: read Avro fields and make BSON elements of them.

Sources: Avro specification 1.12, "Binary Encoding"; BSON specification 1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, NamedTuple

import bson

from streamapp.decode.avro_binary import NotOnFastPathError
from streamapp.decode.avro_schema import AvroType
from streamapp.model.user_event import DIMENSIONS, TIME

#: BSON's int32 of each size up to that of the largest document on the fast path.
SIZES = tuple(map(Struct("<i").pack, range(16_385)))
INT32 = Struct("<i").pack
INT64 = Struct("<q").pack

#: Kinds that BSON's two integer types hold.
NUMBERS = frozenset({"int", "long"})
#: Fields with few different values, whose elements are cached; see `streamapp.decode.transcoder`.
_CACHED_PATHS = frozenset(each.path for each in DIMENSIONS if each.type)

_SKIP_STRING = (
    "n = value[p]",
    "if n & 129:",
    "    n, p = length(value, p)",
    "    p += n",
    "else:",
    "    p += (n >> 1) + 1",
)
_CHECK_END = ("if p != len(value):", "    raise NotOnFastPathError")
_READ_NUMBER = ("v{i}, p = number(value, p)",)
#: A schema with more fields, those of records in it included, has no transcoder. Python up to 3.12 refuses to compile
#: more than some 3,000 fields; Python 3.13 compiles any number.
_MAX_FIELDS = 1_000
_READ_TIME = ("v{i}, p = time(value, p)",)
#: Lines that read a kind: into `v` as a value, if rollups count by this kind, and into `s` as bytes, if BSON has the
#: same bytes.
_READ = {
    "string": (
        "n{i} = value[p]",
        "if n{i} & 129:",  # more than one byte of length, or a negative length
        "    n{i}, p = length(value, p)",
        "else:",
        "    n{i}, p = n{i} >> 1, p + 1",
        "s{i} = value[p : p + n{i}]",
        "p += n{i}",
        "v{i} = s{i}.decode()",
    ),
    "int": _READ_NUMBER,
    "long": _READ_NUMBER,
    "boolean": ("s{i} = (b'\\0', b'\\1')[value[p]]", "p += 1"),
    "double": ("s{i} = value[p : p + 8]", "p += 8"),
}


class Element(NamedTuple):
    """A field as an element of a BSON document."""

    #: Constant bytes, and expressions of bytes.
    parts: Sequence[bytes | str]
    #: The size of the parts: a constant, and expressions to add to it.
    size: int
    sizes: Sequence[str] = ()
    #: Whether the expressions belong to the function that reads the cached fields.
    is_cached: bool = False


class Generator:
    """Generates the lines that read one field after the other; they skip cached fields, which have their own lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.cached_lines: list[str] = []
        #: Expressions of the bytes of cached fields, one for each run of adjacent fields.
        self.spans: list[str] = []
        #: Expressions of the cached elements.
        self.cached_elements: list[str] = []
        #: Path → the field's kind, and the variable that holds its value.
        self.kinds: dict[str, str] = {}
        self.values: dict[str, str] = {}
        #: Number of lines before the open span; None: no span is open.
        self._span_start: int | None = None
        #: Elements of fields that repeat another one; see `streamapp.decode.shape`.
        self._copies: list[Element] = []
        #: Number of fields so far: a record counts each time that a field has its type.
        self._count = 0

    def elements(self, record: AvroType, path: str = "") -> list[Element]:
        """Add the lines for the fields of a record and return their elements: all cached, or none."""
        copied = {name: copy for copy, name in record.copies.items()}
        found = [
            self._read(name, type_, path + copied.get(name, name), copied.get(name))
            for name, type_ in fields_of(record)
        ]
        if not path:
            found += self._copies
        found += [constant_element(name, value) for name, value in record.constants.items()]
        return found if all(each.is_cached for each in found) else [*map(self._uncached, found)]

    def end(self) -> None:
        """Add the last lines."""
        if self._span_start is None:
            self.lines += _CHECK_END
        else:  # the span extends to the end of the value: its fields need not be skipped
            del self.lines[self._span_start :]
            self.spans.append("value[p:]")
        self.cached_lines += _CHECK_END

    def _uncached(self, found: Element) -> Element:
        """The same element with expressions of the function that skips cached fields."""
        if not found.is_cached or all(isinstance(part, bytes) for part in found.parts):
            return found
        variable = f"m{len(self.cached_elements)}"
        self.cached_elements.append(joined(found.parts))
        return Element([variable], 0, [f"len({variable})"])

    def _read(self, name: str, type_: AvroType, path: str, copy: str | None) -> Element:
        self._count += 1
        if self._count > _MAX_FIELDS:
            raise NotOnFastPathError
        if type_.kind == "union":
            return self._nullable(name, type_.parts, path, copy)
        if type_.kind == "record":
            return self._record(name, type_, path)
        element, lines = self._plain(name, _kind(type_), path)
        self._add(path, lines, _SKIP_STRING)
        if copy:
            self._copies.append(self._copy(copy, path))
        return element

    def _copy(self, name: str, path: str) -> Element:
        """The value of a text as another element."""
        if self.kinds[path] != "string":
            raise NotOnFastPathError
        return _text(name, self.values[path].removeprefix("v"), is_cached=path in _CACHED_PATHS)

    def _add(self, path: str, lines: Sequence[str], skip_lines: Sequence[str]) -> None:
        if path not in _CACHED_PATHS:
            self._close_span()
            self.lines += lines
            return
        if self._span_start is None:
            self._span_start = len(self.lines)
            self.lines.append(f"b{len(self.spans)} = p")
        self.lines += skip_lines
        self.cached_lines += lines

    def _close_span(self) -> None:
        if self._span_start is not None:
            i = len(self.spans)
            self.lines.append(f"e{i} = p")
            self.spans.append(f"value[b{i}:e{i}]")
            self._span_start = None

    def _plain(self, name: str, kind: str, path: str) -> tuple[Element, list[str]]:
        if kind not in _READ:
            raise NotOnFastPathError
        i, is_cached = len(self.kinds), path in _CACHED_PATHS
        self.kinds[path], self.values[path] = kind, f"v{i}"
        reading = _READ_TIME if path == TIME and kind in NUMBERS else _READ[kind]
        lines = [line.format(i=i) for line in reading]
        if kind in NUMBERS:
            int32, int64 = _start(0x10, name), _start(0x12, name)
            if kind == "int":  # `INT32` raises for a number of more than 32 bits
                return Element([int32, f"s{i}"], len(int32) + 4, (), is_cached), [*lines, f"s{i} = INT32(v{i})"]
            fits = f"-2147483648 <= v{i} <= 2147483647"
            lines.append(f"s{i} = {int32!r} + INT32(v{i}) if {fits} else {int64!r} + INT64(v{i})")
            return Element([f"s{i}"], 0, [f"len(s{i})"], is_cached), lines
        if kind == "string":
            return _text(name, str(i), is_cached=is_cached), lines
        start, size = (_start(0x08, name), 1) if kind == "boolean" else (_start(0x01, name), 8)
        return Element([start, f"s{i}"], len(start) + size, (), is_cached), lines

    def _record(self, name: str, record: AvroType, path: str) -> Element:
        elements = self.elements(record, f"{path}.")
        size = 5 + sum(element.size for element in elements)
        sizes = [each for element in elements for each in element.sizes]
        start = _start(0x03, name)
        parts = [part for element in elements for part in element.parts]
        whole = [start, f"SIZES[{' + '.join([str(size), *sizes])}]", *parts, b"\0"]
        return Element(whole, len(start) + size, sizes, all(element.is_cached for element in elements))

    def _nullable(self, name: str, branches: Sequence[AvroType], path: str, copy: str | None) -> Element:
        kinds = [branch.kind for branch in branches]
        if kinds.count("null") != 1 or len(kinds) != 2:  # noqa: PLR2004 - null and one other type
            raise NotOnFastPathError
        null = kinds.index("null")
        element, lines = self._plain(name, _kind(branches[1 - null]), path)
        value = self.values[path]
        whole = f"x{value}"
        if_null = [f"{whole}, {value} = {_start(0x0A, name)!r}, None"]
        lines.append(f"{whole} = {joined(element.parts)}")
        if copy:
            again = f"y{value}"
            if_null.append(f"{again} = {_start(0x0A, copy)!r}")
            lines.append(f"{again} = {joined(self._copy(copy, path).parts)}")
            self._copies.append(Element([again], 0, [f"len({again})"], element.is_cached))
        self.kinds[path] += "?"
        self._add(path, _union(null, if_null, lines), _union(null, ["pass"], _SKIP_STRING))
        return Element([whole], 0, [f"len({whole})"], element.is_cached)


def _text(name: str, i: str, *, is_cached: bool) -> Element:
    start = _start(0x02, name)
    return Element([start, f"SIZES[n{i} + 1]", f"s{i}", b"\0"], len(start) + 5, [f"n{i}"], is_cached)


def _union(null: int, if_null: Sequence[str], otherwise: Sequence[str]) -> list[str]:
    """Lines for a union of two branches; branch number `null` is null."""
    return [
        "p += 1",
        f"if value[p - 1] == {2 * null}:",
        *(f"    {line}" for line in if_null),
        f"elif value[p - 1] == {2 * (1 - null)}:",
        *(f"    {line}" for line in otherwise),
        "else:",
        "    raise NotOnFastPathError",
    ]


def _kind(type_: AvroType) -> str:
    """The kind of a type whose values are stored as they are."""
    if type_.logical:
        raise NotOnFastPathError
    return type_.kind


def fields_of(record: AvroType) -> list[tuple[str, AvroType]]:
    """Name and type of each field of a record; raises NotOnFastPathError for anything else."""
    if record.kind != "record":
        raise NotOnFastPathError
    names = {name for name, _ in record.fields if name.isascii() and name.isidentifier()}
    if len(names) != len(record.fields):  # a duplicate, or not a name in Avro
        raise NotOnFastPathError
    return record.fields


def constant_element(name: str, value: Any) -> Element:
    """A field that always has this value; it can stand among cached elements and others."""
    encoded = bson.encode({name: value})[4:-1]
    return Element([encoded], len(encoded), is_cached=True)


def _start(marker: int, name: str) -> bytes:
    return bytes([marker]) + name.encode() + b"\0"


def joined(parts: Sequence[bytes | str]) -> str:
    """The expression of all parts as one bytes object."""
    together: list[bytes | str] = []
    for part in parts:
        if isinstance(part, bytes) and together and isinstance(together[-1], bytes):
            together[-1] += part
        else:
            together.append(part)
    return f"b''.join(({', '.join(part if isinstance(part, str) else repr(part) for part in together)},))"
