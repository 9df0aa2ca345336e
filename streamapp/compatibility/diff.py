"""In what two schemas differ: fields, types, names, aliases, defaults and documentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from streamapp.compatibility.json_form import shown
from streamapp.compatibility.logical import logical_text
from streamapp.compatibility.pairs import field_before, pairs_of
from streamapp.compatibility.schema import AvroType, Field, join


class What(StrEnum):
    """What differs."""

    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"
    TYPE = "type"
    LOGICAL_TYPE = "logical type"
    NAME = "name"
    ALIAS = "alias"
    DEFAULT = "default"
    DOC = "doc"
    TYPE_DOC = "doc of the type"
    ORDER = "order"
    SIZE = "size"
    SYMBOL = "symbol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference."""

    #: Names of fields from the root on, with `[]` and `{}`, in the new schema unless the field is removed.
    path: str
    what: What
    #: As text; None if the old schema has nothing here.
    before: str | None
    #: As text; None if the new schema has nothing here.
    after: str | None


def changes_of(old: AvroType, new: AvroType) -> list[Change]:
    """Return the differences, outermost first; a named type that is used at many places is compared once."""
    return [change for path, before, after in pairs_of(old, new) for change in _changes(path, before, after)]


def _changes(path: str, old: AvroType, new: AvroType) -> Iterator[Change]:
    if old.kind != new.kind or (new.kind == "union" and str(old) != str(new)):
        yield Change(path=path, what=What.TYPE, before=str(old), after=str(new))
    if old.kind != new.kind:
        return
    yield from _changed(path, What.NAME, old.name, new.name)
    yield from _changed(path, What.LOGICAL_TYPE, logical_text(old), logical_text(new))
    yield from _changed(path, What.SIZE, str(old.size), str(new.size))
    yield from _changed(path, What.DEFAULT, old.default_symbol, new.default_symbol)
    yield from _listed(path, What.SYMBOL, old.symbols, new.symbols)
    yield from _listed(path, What.ALIAS, old.aliases, new.aliases)
    yield from _changed(path, What.TYPE_DOC, old.doc or None, new.doc or None)
    yield from _field_changes(path, old, new)


def _field_changes(path: str, old: AvroType, new: AvroType) -> Iterator[Change]:
    kept: set[str] = set()
    for field in new.fields:
        at, before = join(path, field.name), field_before(field, old)
        if before is None:
            yield Change(path=at, what=What.ADDED, before=None, after=_text(field))
        else:
            kept.add(before.name)
            yield from _changed(at, What.RENAMED, before.name, field.name)
            yield from _changed(at, What.DEFAULT, _default(before), _default(field))
            yield from _listed(at, What.ALIAS, before.aliases, field.aliases)
            yield from _changed(at, What.ORDER, before.order, field.order)
            yield from _changed(at, What.DOC, before.doc or None, field.doc or None)
    for field in old.fields:
        if field.name not in kept:
            yield Change(path=join(path, field.name), what=What.REMOVED, before=_text(field), after=None)


def _changed(path: str, what: What, before: str | None, after: str | None) -> Iterator[Change]:
    if before != after:
        yield Change(path=path, what=what, before=before, after=after)


def _listed(path: str, what: What, before: Sequence[str], after: Sequence[str]) -> Iterator[Change]:
    yield from _changed(path, what, ", ".join(before) or None, ", ".join(after) or None)


def _default(field: Field) -> str | None:
    return shown(field.default) if field.has_default else None


def _text(field: Field) -> str:
    return f"{field.type}, default {shown(field.default)}" if field.has_default else str(field.type)
