"""Turn the Avro body of an event into BSON, by Python code that is made for its schema.

To read a record into values, to make a document of them and to encode that takes several times as long as to move the
bytes of its texts. What the texts become of which there are few different ones is remembered, see `_REMEMBERED`.
This is for the fields that most events have: texts, numbers, booleans, each of them or null, and records of them. Other
schemas have no such code. It raises for a body that is out of the ordinary in any way: whoever calls then reads the
record the generic path, which knows what is wrong, or that nothing is.

Sources: Avro specification 1.12, "Binary Encoding"; BSON specification 1.1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import Any, NamedTuple, cast

from streamapp.model.event import Schema

#: Location, event type, device, browser, schema version.
Values = tuple[str | None, str | None, str | None, str | None, str]
#: What rollups count by: event time in epoch ms, user id, values.
Facts = tuple[int, str, Values]
#: Wire bytes, the elements that come before the event's own and those that come after → the elements of a BSON document
#: with its size and its end, and the facts.
Transcode = Callable[[bytes, bytes, bytes], tuple[bytes, Facts]]

#: Numbers as BSON has them, for sizes up to those of the largest document that goes this way.
SIZES = tuple(map(Struct("<i").pack, range(16_385)))
INT32 = Struct("<i").pack
INT64 = Struct("<q").pack
_SIX_BYTES = Struct("6B").unpack_from

_HEADER_SIZE = 5
_TEXT, _NUMBER = {"string"}, {"int", "long"}
#: The fields that make `Facts`, in that order, and the kinds that each may have. A kind with a "?" may be null.
_FACTS = {
    "event_timestamp": _NUMBER,
    "user_id": _TEXT,
    "metadata.location": _TEXT,
    "event_type": _TEXT,
    "metadata.device": _TEXT,
    "browser": {"string", "string?"},
}
#: Those of them with few different values: what they become together is remembered, by their bytes …
_REMEMBERED = {*_FACTS} - {"event_timestamp", "user_id"}
#: … if they are no longer than this …
_REMEMBERED_BYTES = 512
#: … for so many at the most.
_REMEMBERED_MOST = 10_000
#: A schema with more fields has no such code. Without this bound, Python 3.13 compiles code for any number of fields,
#: while Python up to 3.12 refuses some 3,000 of them.
_MAX_FIELDS = 1_000
_STEP_OVER_TEXT = (
    "n = value[p]",
    "if n & 129:",
    "    n, p = length(value, p)",
    "    p += n",
    "else:",
    "    p += (n >> 1) + 1",
)
_ALL_READ = ("if p != len(value):", "    raise Unusual")
_READ_NUMBER = ("v{i}, p = number(value, p)",)
_READ_TIME = ("v{i}, p = time(value, p)",)
#: Lines that read a kind: into `v` as a value, where facts are of this kind, and into `s` as bytes, where it has such.
_READ = {
    "string": (
        "n{i} = value[p]",
        "if n{i} & 129:",  # more than one byte of length, or a negative one
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


class _Unusual(Exception):  # noqa: N818 - no error
    """A schema, or a body, that this is not for."""


def compiled(reading: Schema, *, version: str, reserved: frozenset[str]) -> Transcode | None:
    """The code for a schema; None if this is not for it.

    Args:
        reading: an event's schema, see `avro.reading_schema`.
        version: it stands in the facts.
        reserved: names that no field of the event may have.
    """
    scope: dict[str, Any] = {
        "number": _number,
        "time": _time,
        "length": _length,
        "Unusual": _Unusual,
        "Memory": _Memory,
    }
    scope |= {"SIZES": SIZES, "INT32": INT32, "INT64": INT64}
    try:
        source = "\n".join(_functions(reading, version, reserved))
        exec(source, scope)  # noqa: S102 - of the schema, it has names only, see `_fields`
    except Exception:  # noqa: BLE001 - a foreign schema may be too much for it in any way
        return None
    return scope["transcode"]


def _number(value: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends."""
    byte = value[at]
    found, shift = byte & 127, 7
    while byte & 128:
        if shift > 56:  # noqa: PLR2004 - bits: a tenth byte may make it more than 64
            raise _Unusual
        at += 1
        byte = value[at]
        found |= (byte & 127) << shift
        shift += 7
    return (found >> 1) ^ -(found & 1), at + 1


def _time(value: bytes, at: int) -> tuple[int, int]:
    """The same, faster for a number of six bytes, as epoch milliseconds have until the year 2039."""
    try:
        a, b, c, d, e, f = _SIX_BYTES(value, at)
    except struct.error:  # so close to the end
        return _number(value, at)
    if not a & b & c & d & e & 128 or f & 128:
        return _number(value, at)
    found = a & 127 | (b & 127) << 7 | (c & 127) << 14 | (d & 127) << 21 | (e & 127) << 28 | f << 35
    return (found >> 1) ^ -(found & 1), at + 6


def _length(value: bytes, at: int) -> tuple[int, int]:
    """The length of a text, and where the text begins."""
    length, at = _number(value, at)
    if length < 0:
        raise _Unusual
    return length, at


class _Memory(dict[bytes, tuple[Any, ...]]):
    """What the remembered fields of an event become, by their bytes."""

    def __init__(self, read: Callable[[bytes], tuple[Any, ...]]) -> None:
        self._read = read

    def __missing__(self, value: bytes) -> tuple[Any, ...]:
        found = self._read(value)
        if len(value) <= _REMEMBERED_BYTES:
            if len(self) >= _REMEMBERED_MOST:
                self.clear()
            self[value] = found
        return found


class _Element(NamedTuple):
    """A field as an element of a BSON document."""

    #: Bytes that are always the same, and expressions of others.
    parts: Sequence[bytes | str]
    #: What they are long together: bytes, and expressions of more.
    size: int
    sizes: Sequence[str] = ()
    #: Whether the expressions are those of the function that reads remembered fields.
    is_remembered: bool = False


class _Code:
    """Lines that read one field after the other, and step over those that are remembered, which have lines apart."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.remembered: list[str] = []
        #: Expressions of the bytes of remembered fields.
        self.spans: list[str] = []
        #: Expressions of what is remembered, but for the values.
        self.memories: list[str] = []
        #: The kind of each field, by its path, and the variable that holds its value.
        self.kinds: dict[str, str] = {}
        self.values: dict[str, str] = {}
        #: How many lines there were before the span began that has not ended.
        self._in_span_since: int | None = None

    def elements(self, fields: Sequence[tuple[str, Schema]], path: str = "") -> list[_Element]:
        """Add the lines for fields, and tell what elements they make: all remembered, or none."""
        found = [self._read(name, type_, path + name) for name, type_ in fields]
        return found if all(each.is_remembered for each in found) else [*map(self._element, found)]

    def end(self) -> None:
        """Add the last lines."""
        if self._in_span_since is None:
            self.lines += _ALL_READ
        else:  # no need to step over what goes on to the end
            del self.lines[self._in_span_since :]
            self.spans.append("value[p:]")
        self.remembered += _ALL_READ

    def _element(self, found: _Element) -> _Element:
        """An element whose expressions are those of the function that steps over remembered fields."""
        if not found.is_remembered:
            return found
        memory = f"m{len(self.memories)}"
        self.memories.append(_joined(found.parts))
        return _Element([memory], 0, [f"len({memory})"])

    def _read(self, name: str, type_: Schema, path: str) -> _Element:
        if isinstance(type_, list):
            return self._nullable(name, cast("list[Schema]", type_), path)
        if _kind(type_) == "record":
            return self._record(name, type_, path)
        element, lines = self._plain(name, _kind(type_), path)
        self._add(path, lines, _STEP_OVER_TEXT)
        return element

    def _add(self, path: str, lines: Sequence[str], lines_if_remembered: Sequence[str]) -> None:
        if path not in _REMEMBERED:
            self._leave_span()
            self.lines += lines
            return
        if self._in_span_since is None:
            self._in_span_since = len(self.lines)
            self.lines.append(f"b{len(self.spans)} = p")
        self.lines += lines_if_remembered
        self.remembered += lines

    def _leave_span(self) -> None:
        if self._in_span_since is not None:
            i = len(self.spans)
            self.lines.append(f"e{i} = p")
            self.spans.append(f"value[b{i}:e{i}]")
            self._in_span_since = None

    def _plain(self, name: str, kind: str, path: str) -> tuple[_Element, list[str]]:
        if kind not in _READ:
            raise _Unusual
        i, is_remembered = len(self.kinds), path in _REMEMBERED
        self.kinds[path], self.values[path] = kind, f"v{i}"
        reading = _READ_TIME if path == "event_timestamp" and kind in _NUMBER else _READ[kind]
        lines = [line.format(i=i) for line in reading]
        if kind in _NUMBER:
            int32, int64 = _start(0x10, name), _start(0x12, name)
            fits = f"-2147483648 <= v{i} <= 2147483647"
            lines.append(f"s{i} = {int32!r} + INT32(v{i}) if {fits} else {int64!r} + INT64(v{i})")
            return _Element([f"s{i}"], 0, [f"len(s{i})"], is_remembered), lines
        if kind == "string":
            start = _start(0x02, name)
            parts = [start, f"SIZES[n{i} + 1]", f"s{i}", b"\0"]
            return _Element(parts, len(start) + 5, [f"n{i}"], is_remembered), lines
        start, size = (_start(0x08, name), 1) if kind == "boolean" else (_start(0x01, name), 8)
        return _Element([start, f"s{i}"], len(start) + size, (), is_remembered), lines

    def _record(self, name: str, record: Schema, path: str) -> _Element:
        elements = self.elements(_fields(record), f"{path}.")
        size = 5 + sum(element.size for element in elements)
        sizes = [each for element in elements for each in element.sizes]
        start = _start(0x03, name)
        parts = [part for element in elements for part in element.parts]
        whole = [start, f"SIZES[{' + '.join([str(size), *sizes])}]", *parts, b"\0"]
        return _Element(whole, len(start) + size, sizes, all(element.is_remembered for element in elements))

    def _nullable(self, name: str, branches: Sequence[Schema], path: str) -> _Element:
        if "null" not in branches or len(branches) != 2:  # noqa: PLR2004 - it and another
            raise _Unusual
        null = branches.index("null")
        element, lines = self._plain(name, _kind(branches[1 - null]), path)
        self.kinds[path] += "?"
        value = self.values[path]
        whole = f"x{value}"
        is_null = f"{whole}, {value} = {_start(0x0A, name)!r}, None"
        self._add(
            path,
            _either(null, [is_null], [*lines, f"{whole} = {_joined(element.parts)}"]),
            _either(null, ["pass"], _STEP_OVER_TEXT),
        )
        return _Element([whole], 0, [f"len({whole})"], element.is_remembered)


def _either(null: int, if_null: Sequence[str], otherwise: Sequence[str]) -> list[str]:
    """Lines for a union of two branches, of which this one is null."""
    return [
        "p += 1",
        f"if value[p - 1] == {2 * null}:",
        *(f"    {line}" for line in if_null),
        f"elif value[p - 1] == {2 * (1 - null)}:",
        *(f"    {line}" for line in otherwise),
        "else:",
        "    raise Unusual",
    ]


def _functions(reading: Schema, version: str, reserved: frozenset[str]) -> Iterator[str]:
    """Two functions: one reads the remembered fields alone; the other reads all others, and asks a memory for those."""
    code, fields = _Code(), _fields(reading)
    if not reserved.isdisjoint(name for name, _ in fields):
        raise _Unusual
    elements = code.elements(fields)
    if len(code.kinds) > _MAX_FIELDS:
        raise _Unusual
    code.end()
    if "browser" not in [name for name, _ in fields]:
        code.kinds["browser"], code.values["browser"] = "string?", "None"
        null = _start(0x0A, "browser")
        elements.append(_Element([null], len(null)))
    if any(code.kinds.get(path) not in kinds for path, kinds in _FACTS.items()):
        raise _Unusual
    at, user, *values = [code.values[path] for path in _FACTS]
    yield from _function("remembered(value)", "0", code.remembered)
    yield f"    return {', '.join(code.memories)}, ({', '.join(values)}, {version!r})"
    yield "memory = Memory(remembered)"
    size = 5 + sum(element.size for element in elements)
    sizes = [str(size), "len(before)", "len(after)", *(each for element in elements for each in element.sizes)]
    parts = [
        f"SIZES[{' + '.join(sizes)}]",
        "before",
        *(part for each in elements for part in each.parts),
        "after",
        b"\0",
    ]
    yield from _function("transcode(value, before, after)", str(_HEADER_SIZE), code.lines)
    memories = [f"m{number}" for number in range(len(code.memories))]
    yield f"    {', '.join(memories)}, values = memory[{' + '.join(code.spans)}]"
    yield f"    return {_joined(parts)}, ({at}, {user}, values)"


def _function(signature: str, begin: str, lines: Sequence[str]) -> Iterator[str]:
    """A function that reads a value from an index on, but for what it returns."""
    yield f"def {signature}:"
    yield f"    p = {begin}"
    yield from (f"    {line}" for line in lines)


def _kind(type_: Schema) -> str:
    """The name of a type."""
    if isinstance(type_, str):
        return type_
    if not isinstance(type_, dict) or "logicalType" in type_:
        raise _Unusual
    return str(cast("Schema", type_)["type"])


def _fields(record: Schema) -> list[tuple[str, Schema]]:
    if isinstance(record, list) or _kind(record) != "record":
        raise _Unusual
    fields = [(field["name"], field["type"]) for field in record["fields"]]
    names = {name for name, _ in fields if isinstance(name, str) and name.isascii() and name.isidentifier()}
    if len(names) != len(fields):  # one comes twice, or is no name in Avro: fastavro does not mind
        raise _Unusual
    return fields


def _start(marker: int, name: str) -> bytes:
    return bytes([marker]) + name.encode() + b"\0"


def _joined(parts: Sequence[bytes | str]) -> str:
    together: list[bytes | str] = []
    for part in parts:
        if isinstance(part, bytes) and together and isinstance(together[-1], bytes):
            together[-1] += part
        else:
            together.append(part)
    return f"b''.join(({', '.join(part if isinstance(part, str) else repr(part) for part in together)},))"
