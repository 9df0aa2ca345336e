"""Turn the Avro body of an event into BSON, by Python code that is made for its schema.

To read a record into values, to make a document of them and to encode that takes several times as long as to move the
bytes of its texts. This is for the fields that most events have: texts, numbers, booleans, each of them or null, and
records of them. Other schemas have no such code. It raises for a body that is out of the ordinary in any way: whoever
calls then reads the record the ordinary way, which knows what is wrong, or that nothing is.

Sources: Avro specification 1.12, "Binary Encoding"; BSON specification 1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import Any, NamedTuple, cast

from streamapp.event import Schema

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
_READ_NUMBER = ("v{i}, p = number(value, p)",)
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
    scope: dict[str, Any] = {"number": _number, "length": _length, "Unusual": _Unusual}
    scope |= {"SIZES": SIZES, "INT32": INT32, "INT64": INT64}
    try:
        source = "\n".join(_function(reading, version, reserved))
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


def _length(value: bytes, at: int) -> tuple[int, int]:
    """The length of a text, and where the text begins."""
    length, at = _number(value, at)
    if length < 0:
        raise _Unusual
    return length, at


class _Element(NamedTuple):
    """A field as an element of a BSON document."""

    #: Bytes that are always the same, and expressions of others.
    parts: Sequence[bytes | str]
    #: What they are long together: bytes, and expressions of more.
    size: int
    sizes: Sequence[str] = ()


class _Code:
    """Lines that read one field after the other."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        #: The kind of each field, by its path, and the variable that holds its value.
        self.kinds: dict[str, str] = {}
        self.values: dict[str, str] = {}

    def read(self, name: str, type_: Schema, path: str) -> _Element:
        """Add the lines for a field."""
        if isinstance(type_, list):
            return self._nullable(name, cast("list[Schema]", type_), path)
        if _kind(type_) == "record":
            return self._record(name, type_, path)
        return self._plain(name, _kind(type_), path)

    def _plain(self, name: str, kind: str, path: str) -> _Element:
        if kind not in _READ:
            raise _Unusual
        i = len(self.kinds)
        self.kinds[path], self.values[path] = kind, f"v{i}"
        self.lines += [line.format(i=i) for line in _READ[kind]]
        if kind in _NUMBER:
            int32, int64 = _start(0x10, name), _start(0x12, name)
            fits = f"-2147483648 <= v{i} <= 2147483647"
            self.lines.append(f"s{i} = {int32!r} + INT32(v{i}) if {fits} else {int64!r} + INT64(v{i})")
            return _Element([f"s{i}"], 0, [f"len(s{i})"])
        if kind == "string":
            start = _start(0x02, name)
            return _Element([start, f"SIZES[n{i} + 1]", f"s{i}", b"\0"], len(start) + 5, [f"n{i}"])
        start, size = (_start(0x08, name), 1) if kind == "boolean" else (_start(0x01, name), 8)
        return _Element([start, f"s{i}"], len(start) + size)

    def _record(self, name: str, record: Schema, path: str) -> _Element:
        elements = [self.read(inner, type_, f"{path}.{inner}") for inner, type_ in _fields(record)]
        size = 5 + sum(element.size for element in elements)
        sizes = [each for element in elements for each in element.sizes]
        start = _start(0x03, name)
        parts = [part for element in elements for part in element.parts]
        return _Element([start, f"SIZES[{' + '.join([str(size), *sizes])}]", *parts, b"\0"], len(start) + size, sizes)

    def _nullable(self, name: str, branches: Sequence[Schema], path: str) -> _Element:
        if "null" not in branches or len(branches) != 2:  # noqa: PLR2004 - it and another
            raise _Unusual
        null = branches.index("null")
        before, self.lines = self.lines, []
        element = self._plain(name, _kind(branches[1 - null]), path)
        self.kinds[path] += "?"
        value = self.values[path]
        whole = f"x{value}"
        self.lines = [
            *before,
            "p += 1",
            f"if value[p - 1] == {2 * null}:",
            f"    {whole}, {value} = {_start(0x0A, name)!r}, None",
            f"elif value[p - 1] == {2 * (1 - null)}:",
            *(f"    {line}" for line in self.lines),
            f"    {whole} = {_joined(element.parts)}",
            "else:",
            "    raise Unusual",
        ]
        return _Element([whole], 0, [f"len({whole})"])


def _function(reading: Schema, version: str, reserved: frozenset[str]) -> Iterator[str]:
    code, fields = _Code(), _fields(reading)
    if not reserved.isdisjoint(name for name, _ in fields):
        raise _Unusual
    elements = [code.read(name, type_, name) for name, type_ in fields]
    if "browser" not in [name for name, _ in fields]:
        code.kinds["browser"], code.values["browser"] = "string?", "None"
        null = _start(0x0A, "browser")
        elements.append(_Element([null], len(null)))
    if any(code.kinds.get(path) not in kinds for path, kinds in _FACTS.items()):
        raise _Unusual
    size = 5 + sum(element.size for element in elements)
    sizes = [str(size), "len(before)", "len(after)", *(each for element in elements for each in element.sizes)]
    parts = [
        f"SIZES[{' + '.join(sizes)}]",
        "before",
        *(part for each in elements for part in each.parts),
        "after",
        b"\0",
    ]
    yield "def transcode(value, before, after):"
    yield f"    p = {_HEADER_SIZE}"
    yield from (f"    {line}" for line in code.lines)
    yield "    if p != len(value):"
    yield "        raise Unusual"
    at, user, *values = [code.values[path] for path in _FACTS]
    yield f"    return {_joined(parts)}, ({at}, {user}, ({', '.join(values)}, {version!r}))"


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
