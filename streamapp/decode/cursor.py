"""Read the primitive types of Avro's binary encoding, and refuse what the specification does not allow.

The generic path reads with it; see `streamapp.decode.body_reader`.

Source: Avro specification 1.12, "Binary Encoding".
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from streamapp.model.record import Reason

#: Bytes of memory that the values of one record may take, by `BodyReader`'s estimate: at the most, and depending on the
#: bytes of the body. A record of one boolean takes some 200. MongoDB stores documents of 16 MB.
MAX_BUILT = 64 * 1024 * 1024
_BUILT_ALWAYS, _BUILT_PER_BYTE = 4 * 1024 * 1024, 512
#: Documents and arrays within each other, as MongoDB documents it.
MAX_DEPTH = 100
#: Items of arrays, and records, that take no bytes, in one record: nothing else bounds their number.
MAX_EMPTY_ITEMS = 1_000
#: Lengths and counts beyond this are an error even where the bytes end earlier.
MAX_LENGTH = 2**31 - 1

_INT_RANGE = range(-(2**31), 2**31)
#: A long has ten bytes at most, and of the tenth one bit.
_MAX_SHIFT = 63
_FLOAT, _DOUBLE = Struct("<f"), Struct("<d")


class BodyError(Exception):
    """A body cannot be read; the path is completed by the readers that enclose the one that raises it."""

    def __init__(self, reason: Reason, what: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what
        #: Names of fields, the innermost first.
        self.path: list[str] = []


class Cursor:
    """A place in a body, and what has been built of the record so far."""

    __slots__ = ("_limit", "at", "built", "depth", "empty_items", "end", "value")

    def __init__(self, value: bytes, at: int) -> None:
        self.value = value
        self.at = at
        self.end = len(value)
        self.depth = 0
        #: Bytes of the values; strings and bytes have, unless they are not ASCII, at most the bytes of the body.
        self.built = self.end
        self.empty_items = 0
        self._limit = min(MAX_BUILT, _BUILT_ALWAYS + _BUILT_PER_BYTE * self.end)

    def build(self, size: int) -> None:
        """Count values that are built next, in bytes."""
        self.built += size
        if self.built > self._limit:
            raise malformed(f"the values of {self.end} bytes take more than {self._limit} bytes of memory")

    def count_empty(self, count: int) -> None:
        """Count items that take no bytes."""
        self.empty_items += count
        if self.empty_items > MAX_EMPTY_ITEMS:
            raise malformed(f"more than {MAX_EMPTY_ITEMS} items take no bytes")

    def enter(self) -> None:
        """Count a document or an array that begins."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise malformed(f"values are nested more than {MAX_DEPTH} deep")

    def take(self, size: int) -> bytes:
        """The next bytes."""
        begin = self.at
        if size > self.end - begin:
            raise truncated()
        self.at = begin + size
        return self.value[begin : self.at]


def truncated() -> BodyError:
    """The error where the bytes end before the value."""
    return BodyError(Reason.TRUNCATED, "the body ends early")


def malformed(what: str) -> BodyError:
    """The error where the bytes are not what the specification allows."""
    return BodyError(Reason.UNDECODABLE, what)


def read_long(cursor: Cursor) -> int:
    """A long."""
    value, at = cursor.value, cursor.at
    try:
        byte = value[at]
        found, shift = byte & 127, 7
        while byte & 128:
            if shift > _MAX_SHIFT:
                raise malformed("a number has more than 64 bits")
            at += 1
            byte = value[at]
            found |= (byte & 127) << shift
            shift += 7
    except IndexError:
        raise truncated() from None
    if not byte and shift > 7:  # noqa: PLR2004 - more than one byte
        raise malformed("a number has more bytes than it needs")
    if found >> 64:
        raise malformed("a number has more than 64 bits")
    cursor.at = at + 1
    return (found >> 1) ^ -(found & 1)


def read_int(cursor: Cursor) -> int:
    """An int."""
    found = read_long(cursor)
    if found not in _INT_RANGE:
        raise malformed("an int has more than 32 bits")
    return found


def read_length(cursor: Cursor) -> int:
    """The length of what follows."""
    found = read_long(cursor)
    if not 0 <= found <= MAX_LENGTH:
        raise malformed(f"a length is {found}")
    return found


def read_null(_: Cursor) -> None:
    """Null, which takes no bytes."""


def read_boolean(cursor: Cursor) -> bool:
    """A boolean."""
    (byte,) = cursor.take(1)
    if byte > 1:
        raise malformed(f"a boolean is {byte}, neither 0 nor 1")
    return byte == 1


def read_float(cursor: Cursor) -> float:
    """A float."""
    return _FLOAT.unpack(cursor.take(4))[0]


def read_double(cursor: Cursor) -> float:
    """A double."""
    return _DOUBLE.unpack(cursor.take(8))[0]


def read_bytes(cursor: Cursor) -> bytes:
    """Bytes."""
    return cursor.take(read_length(cursor))


def read_string(cursor: Cursor) -> str:
    """A string."""
    value, begin, end = cursor.value, cursor.at, cursor.end
    if begin < end and not value[begin] & 129:  # a length of one byte
        size, begin = value[begin] >> 1, begin + 1
    else:
        size, begin = read_length(cursor), cursor.at
    if size > end - begin:
        raise truncated()
    cursor.at = begin + size
    try:
        text = value[begin : begin + size].decode()
    except UnicodeDecodeError:
        raise malformed("a string is not UTF-8") from None
    if not text.isascii():
        cursor.build(3 * size)  # up to four bytes for a character
    return text


def read_index(cursor: Cursor, count: int, of: str) -> int:
    """An index into `count` symbols or branches."""
    found = read_long(cursor)
    if not 0 <= found < count:
        raise malformed(f"index {found} of {of}, which has {count}")
    return found


#: Primitive type → its reader.
PRIMITIVES: dict[str, Any] = {
    "null": read_null,
    "boolean": read_boolean,
    "int": read_int,
    "long": read_long,
    "float": read_float,
    "double": read_double,
    "bytes": read_bytes,
    "string": read_string,
}
