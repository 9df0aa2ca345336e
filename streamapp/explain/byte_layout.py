"""Which bytes of a record hold which field, and where the first byte is that cannot be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from streamapp.decode.avro_schema import AvroType
from streamapp.decode.body_reader import plain_reader
from streamapp.decode.cursor import BodyError, Cursor, read_index, read_length, read_long, read_string
from streamapp.decode.wire_format import HEADER, MAGIC_BYTE

#: Spans that are listed; a record with more is cut.
MAX_SPANS = 500
_MAX_TEXT = 60
_WORD = re.compile(r"[\w.]*\w")


class Span(NamedTuple):
    """Some bytes of a record and what they hold."""

    start: int
    end: int
    #: Path of the field, or the name of a part of the header.
    what: str
    #: The value as text.
    text: str


@dataclass(slots=True)
class Layout:
    """The bytes of a record, as far as they can be read."""

    spans: list[Span] = field(default_factory=list[Span])
    #: What is wrong with the bytes, and which ones; None if all are read.
    problem: str | None = None
    problem_at: tuple[int, int] | None = None
    #: Whether there are further spans.
    is_cut: bool = False

    def named_in(self, text: str) -> list[Span]:
        """Return the spans of the fields that an error names."""
        words = {*_WORD.findall(text)}
        return [span for span in self.spans if span.what in words]


class _TooManySpansError(Exception):
    """The layout has MAX_SPANS."""


def layout_of(value: bytes, root: AvroType | None) -> Layout:
    """Return the bytes of a value in Confluent's wire format.

    Args:
        value: the record's value.
        root: the writer's schema; None if it is unknown.
    """
    found = Layout()
    if not value or value[0] != MAGIC_BYTE or len(value) < HEADER.size:
        found.problem, found.problem_at = _header_problem(value), (0, min(len(value), HEADER.size))
        return found
    found.spans += [
        Span(0, 1, "(magic byte)", "0"),
        Span(1, HEADER.size, "(schema id)", str(HEADER.unpack_from(value)[1])),
    ]
    if root is None:
        found.spans.append(Span(HEADER.size, len(value), "(body)", "its schema is unknown"))
        return found
    _Walk(found, Cursor(value, HEADER.size)).run(root)
    return found


def _header_problem(value: bytes) -> str:
    if not value:
        return "the value has no bytes"
    if value[0] != MAGIC_BYTE:
        return f"the first byte is {value[0]}, not {MAGIC_BYTE}"
    return f"{len(value)} bytes are too few for magic byte and schema id"


class _Walk:
    """Reads a body value by value."""

    def __init__(self, layout: Layout, cursor: Cursor) -> None:
        self._layout = layout
        self._cursor = cursor
        #: Where the value begins that is read.
        self._start = cursor.at
        self._path = ""

    def run(self, root: AvroType) -> None:
        cursor, layout = self._cursor, self._layout
        try:
            self._read(root, "")
        except BodyError as exc:
            end = cursor.at if cursor.at > self._start else cursor.end
            layout.problem = f"{self._path}: {exc.what}" if self._path else exc.what
            layout.problem_at = self._start, end
        except (_TooManySpansError, RecursionError):
            layout.is_cut = True
        else:
            if cursor.at != cursor.end:
                layout.problem = f"{cursor.end - cursor.at} bytes are left over after the body"
                layout.problem_at = cursor.at, cursor.end

    def _read(self, type_: AvroType, path: str) -> None:
        read = {"record": self._record, "union": self._union, "array": self._array, "map": self._map}
        read.get(type_.kind, self._plain)(type_, path)

    def _begin(self, path: str) -> int:
        self._start, self._path = self._cursor.at, path
        return self._start

    def _add(self, what: str, text: str) -> None:
        if len(self._layout.spans) >= MAX_SPANS:
            raise _TooManySpansError
        self._layout.spans.append(Span(self._start, self._cursor.at, what, text))

    def _plain(self, type_: AvroType, path: str) -> None:
        self._begin(path)
        self._add(path, _text(plain_reader(type_)(self._cursor)))

    def _record(self, type_: AvroType, path: str) -> None:
        self._cursor.enter()
        for name, inner in type_.fields:
            self._read(inner, f"{path}.{name}" if path else name)
        self._cursor.depth -= 1

    def _union(self, type_: AvroType, path: str) -> None:
        self._begin(path)
        index = read_index(self._cursor, len(type_.parts), "a union")
        branch = type_.parts[index]
        self._add(path, f"(branch {index}: {branch.kind})")
        if branch.kind != "null":
            self._read(branch, path)

    def _array(self, type_: AvroType, path: str) -> None:
        for number in self._items(path):
            self._read(type_.parts[0], f"{path}[{number}]")

    def _map(self, type_: AvroType, path: str) -> None:
        for _ in self._items(path):
            self._begin(path)
            key = read_string(self._cursor)
            self._add(path, f"(key {_text(key)})")
            self._read(type_.parts[0], f"{path}{{{_text(key)}}}")

    def _items(self, path: str) -> Iterator[int]:
        cursor, number = self._cursor, 0
        cursor.enter()
        while True:
            self._begin(path)
            count = read_long(cursor)
            if count < 0:
                read_length(cursor)
            self._add(path, f"({abs(count)} items)" if count else "(end of items)")
            for _ in range(abs(count)):
                before = cursor.at
                yield number
                number += 1
                if cursor.at == before:
                    cursor.count_empty(1)
            if not count:
                break
        cursor.depth -= 1


def _text(value: object) -> str:
    text = value.hex(" ") if isinstance(value, bytes) else "null" if value is None else repr(value)
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
