"""What the worker did to an event beyond copying its fields: added, renamed and moved fields of its document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, cast

from streamapp.compatibility.schema import AvroType, Field, join
from streamapp.model.event import RESERVED


class ReaderAction(StrEnum):
    """What was done."""

    #: The writer's schema has no such field.
    ADDED = "added"
    #: The writer has the field under a name that is an alias now.
    RENAMED = "renamed"
    #: The writer's name is one of streamapp's own.
    MOVED = "moved"


class ReaderChange(NamedTuple):
    """One field of a document that the writer did not write under this name."""

    action: ReaderAction
    #: In the document.
    path: str
    #: The writer's path; None for an added field.
    before: str | None
    value: Any


def reader_changes(document: Mapping[str, Any], writer: AvroType, latest: AvroType | None) -> Sequence[ReaderChange]:
    """Compare a stored document with the schema that its event was written with.

    Args:
        document: as stored.
        writer: the schema of the event.
        latest: the latest schema of the subject, whose aliases name renamed fields; None if there is none.
    """
    stored = {name: value for name, value in document.items() if name not in RESERVED}
    moved = [*_moved(stored, _fields(writer))]
    if moved:
        del stored["extra"]
    return [*_changes("", stored, _fields(writer), _fields(latest)), *moved]


def _moved(stored: Mapping[str, Any], written: Mapping[str, Field]) -> Iterator[ReaderChange]:
    extra = stored.get("extra")
    if "extra" not in written and isinstance(extra, dict):
        for name, value in cast("Mapping[str, Any]", extra).items():
            if name in RESERVED and name in written:
                yield ReaderChange(ReaderAction.MOVED, f"extra.{name}", name, value)


def _changes(
    path: str, stored: Mapping[str, Any], written: Mapping[str, Field], latest: Mapping[str, Field]
) -> Iterator[ReaderChange]:
    for name, value in stored.items():
        at = join(path, name)
        before = name if name in written else _name_before(name, stored, written, latest)
        if before is None:
            yield ReaderChange(ReaderAction.ADDED, at, None, value)
            continue
        if before != name:
            yield ReaderChange(ReaderAction.RENAMED, at, join(path, before), value)
        inner = _fields(written[before].type)
        if inner and isinstance(value, dict):
            now = _fields(latest[name].type) if name in latest else {}
            yield from _changes(at, cast("Mapping[str, Any]", value), inner, now)


def _name_before(
    name: str, stored: Mapping[str, Any], written: Mapping[str, Field], latest: Mapping[str, Field]
) -> str | None:
    aliases = latest[name].aliases if name in latest else ()
    return next((alias for alias in aliases if alias in written and alias not in stored), None)


def _fields(type_: AvroType | None) -> Mapping[str, Field]:
    """The fields of a record, or of the records of a union."""
    if type_ is None:
        return {}
    branches = type_.parts if type_.kind == "union" else (type_,)
    return {field.name: field for branch in branches for field in branch.fields}
