"""Documents in earlier shapes: which event they are, and what brings them to the latest shape.

A document has the shape that was the latest one when it was stored or migrated last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import bson

from streamapp.decode.avro_schema import AvroType
from streamapp.decode.shape import RecordShape, only_record

#: The type of a field that a document does not have, as MongoDB's `$type` names it.
MISSING = "missing"
_DOCUMENT = "object"


class Change(NamedTuple):
    """One change of a document: a field gets a value, or that of another field."""

    name: str
    #: Where the field is: empty, or a path that ends in a dot; in the document before all changes, and after them.
    before: str
    after: str
    #: The name of the other field; None: the field gets `value`.
    source: str | None = None
    #: Whether the other field stays.
    is_copy: bool = False
    value: Any = None


def changes(
    shape: RecordShape, type_at: Callable[[str], str], *, before: str = "", after: str = ""
) -> Iterator[Change]:
    """The changes that bring a document to a shape, in their order; they keep every value that it has.

    Args:
        shape: the shape of its event.
        type_at: returns the type of the field at a path, MISSING if there is none.
        before: see `Change`.
        after: likewise.
    """
    for name, former in shape.former.items():
        if type_at(f"{before}{name}") != MISSING:
            continue
        source = next((each for each in former if type_at(f"{before}{each}") != MISSING), None)
        if source is not None:
            yield Change(name, before, after, source, is_copy=source in shape.copies)
        elif name in shape.fills:
            yield Change(name, before, after, value=shape.fills[name])
    for name, nested in shape.nested.items():
        stored = shape.renames.get(name, name)
        found = next((each for each in _names(shape, name) if type_at(f"{before}{each}") != MISSING), None)
        if found is not None and type_at(f"{before}{found}") == _DOCUMENT:
            yield from changes(nested, type_at, before=f"{before}{found}.", after=f"{after}{stored}.")


def paths(shape: RecordShape, *, here: str = "") -> Iterator[str]:
    """The paths at which `changes` looks."""
    for name, former in shape.former.items():
        yield from (f"{here}{each}" for each in (name, *former))
    for name, nested in shape.nested.items():
        for each in _names(shape, name):
            yield f"{here}{each}"
            yield from paths(nested, here=f"{here}{each}.")


def _names(shape: RecordShape, written: str) -> Sequence[str]:
    """The names under which a document can have a written field, the latest one first."""
    stored = shape.renames.get(written, written)
    return [stored, *shape.former.get(stored, ())]


def as_written(document: Mapping[str, Any], record: AvroType, shapes: Sequence[RecordShape]) -> dict[str, Any]:
    """The document as it would be if it were stored as written, without what the shapes have changed.

    A field that no shape explains stays, and so does an added field with a value that none of them adds.

    Args:
        document: the document, or one in it.
        record: the record that was written.
        shapes: all shapes that its documents may have had.
    """
    rest, found = dict(document), dict[str, Any]()
    for name, type_ in record.fields:
        names = dict.fromkeys([name, *(each for shape in shapes for each in _other_names(shape, name))])
        if (at := next((each for each in names if each in rest), None)) is not None:
            found[name] = _value_as_written(rest.pop(at), type_, [s.nested[name] for s in shapes if name in s.nested])
    for shape in shapes:
        _remove_copies(rest, found, shape)
    added = {name: value for name, value in rest.items() if not _is_added(name, value, shapes)}
    return {**found, **added}


def _value_as_written(value: Any, type_: AvroType, shapes: Sequence[RecordShape]) -> Any:
    record = only_record(type_)
    if not shapes or record is None or not isinstance(value, dict):
        return value
    return as_written(cast("dict[str, Any]", value), record, shapes)


def _other_names(shape: RecordShape, name: str) -> Sequence[str]:
    """The names that a shape gives a written field in its stead."""
    return () if name in shape.copies else _names(shape, name)


def _remove_copies(rest: dict[str, Any], found: Mapping[str, Any], shape: RecordShape) -> None:
    """Remove what repeats a written field under its new name, and has the same value."""
    for ours in shape.copies.keys() & found.keys():
        for each in _names(shape, ours):
            if each in rest and _bytes(rest[each]) == _bytes(found[ours]):
                del rest[each]


def _is_added(name: str, value: Any, shapes: Sequence[RecordShape]) -> bool:
    """Whether one of the shapes adds a field with this value, under this name or one that it had before."""
    former = {name, *(each for shape in shapes if name in shape.fills for each in shape.former[name])}
    fills = (shape.fills[each] for shape in shapes for each in former if each in shape.fills)
    return any(_bytes(value) == _bytes(each) for each in fills)


def _bytes(value: Any) -> bytes:
    return bson.encode({"": value})
