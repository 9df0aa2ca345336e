"""Convert the Avro body of an event to BSON on the fast path, with Python code generated for the writer's schema.

The generic path decodes a record to values, builds a document of them and encodes it, which takes several times as long
as copying the bytes of the strings. The fields that rollups count by have few different values: their BSON elements are
cached by their Avro bytes.
The fast path supports strings, numbers, booleans, each nullable, and records of them; other schemas have no
transcoder. The generated code raises for a body that it does not support; callers then use the generic path, which
decodes the record or reports the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from streamapp.decode import avro_binary
from streamapp.decode.avro_binary import NotOnFastPathError
from streamapp.decode.avro_schema import AvroType
from streamapp.decode.code_generator import INT32, INT64, NUMBERS, SIZES, Generator, constant_element, fields_of, joined
from streamapp.model.user_event import DIMENSIONS, OPTIONAL, TIME, USER, WRITER_FIELDS, DimensionValues, Field

#: Wire bytes, the BSON elements before the event's own elements and those after → the BSON document, the event time in
#: epoch ms, the user id and the values of the dimensions.
Transcode = Callable[[bytes, bytes, bytes], tuple[bytes, int, str, DimensionValues]]

_HEADER_SIZE = 5
#: Combinations of values with more bytes are not cached.
_MAX_CACHED_BYTES = 512
#: Combinations that are cached; then the cache is cleared.
_MAX_CACHED = 10_000


def compiled(schema: AvroType, *, version: str, reserved: frozenset[str]) -> Transcode | None:
    """The transcoder of a schema; None if the fast path does not support the schema.

    Args:
        schema: an event's schema, whose event time is in milliseconds.
        version: the schema version, one of the values that rollups count by.
        reserved: names that no field of the event may have.
    """
    scope: dict[str, Any] = {
        "number": avro_binary.number,
        "time": avro_binary.time,
        "length": avro_binary.length,
        "NotOnFastPathError": NotOnFastPathError,
        "Cache": _Cache,
        "DimensionValues": DimensionValues,
    }
    scope |= {"SIZES": SIZES, "INT32": INT32, "INT64": INT64}
    try:
        source = "\n".join(_functions(schema, version, reserved))
        exec(source, scope)  # noqa: S102 - from the schema it contains names only, see `fields_of`
    except Exception:  # noqa: BLE001 - a foreign schema may make the generator fail in any way
        return None
    return scope["transcode"]


class _Cache(dict[bytes, tuple[Any, ...]]):
    """Results of the function that reads the cached fields, by their bytes."""

    def __init__(self, read: Callable[[bytes], tuple[Any, ...]]) -> None:
        self._read = read

    def __missing__(self, value: bytes) -> tuple[Any, ...]:
        found = self._read(value)
        if len(value) <= _MAX_CACHED_BYTES:
            if len(self) >= _MAX_CACHED:
                self.clear()
            self[value] = found
        return found


def _functions(schema: AvroType, version: str, reserved: frozenset[str]) -> Iterator[str]:
    """Two functions: one reads the cached fields only; the other reads all others and looks those up in the cache."""
    code, names = Generator(), {name for name, _ in fields_of(schema)}
    if not reserved.isdisjoint(names):
        raise NotOnFastPathError
    elements = code.elements(schema)
    code.end()
    for field in OPTIONAL:
        if field.path not in names | schema.copies.keys():
            code.kinds[field.path], code.values[field.path] = "null", "None"
            elements.append(constant_element(field.path, None))
    if any(code.kinds.get(field.path) not in _kinds(field) for field in WRITER_FIELDS):
        raise NotOnFastPathError
    values = [code.values[each.path] if each.type else repr(version) for each in DIMENSIONS]
    yield from _function("read_cached(value)", "0", code.cached_lines)
    yield f"    return {', '.join(code.cached_elements)}, DimensionValues({', '.join(values)})"
    yield "cache = Cache(read_cached)"
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
    variables = [f"m{number}" for number in range(len(code.cached_elements))]
    yield f"    {', '.join(variables)}, values = cache[{' + '.join(code.spans)}]"
    yield f"    return {joined(parts)}, {code.values[TIME]}, {code.values[USER]}, values"


def _function(signature: str, begin: str, lines: Sequence[str]) -> Iterator[str]:
    """A function that reads a value from an index on, without its return statement."""
    yield f"def {signature}:"
    yield f"    p = {begin}"
    yield from (f"    {line}" for line in lines)


def _kinds(field: Field) -> set[str]:
    """The kinds that a field may have on the fast path; a kind that ends in "?" is nullable."""
    kinds = NUMBERS if field.type == "long" else {"string"}
    return {*kinds, "null", *(f"{kind}?" for kind in kinds)} if field.is_optional else {*kinds}
