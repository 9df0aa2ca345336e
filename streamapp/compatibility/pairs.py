"""The types of two schemas that stand for each other."""

from __future__ import annotations

from collections.abc import Iterator

from streamapp.compatibility.schema import AvroType, Field, item_token, join


def pairs_of(old: AvroType, new: AvroType) -> Iterator[tuple[str, AvroType, AvroType]]:
    """Each pair of types that stand for each other, outermost first, with its path in the new schema; a pair once."""
    seen: set[tuple[int, int]] = set()
    pending = [("", old, new)]
    while pending:
        path, before, after = pending.pop()
        if (id(before), id(after)) in seen:
            continue
        seen.add((id(before), id(after)))
        yield path, before, after
        pending += reversed([*_below(path, before, after)])


def field_before(field: Field, old: AvroType) -> Field | None:
    """The field of the old record that a field of the new one stands for: of its name, else of one of its aliases."""
    by_name = {each.name: each for each in old.fields}
    return next((by_name[name] for name in (field.name, *field.aliases) if name in by_name), None)


def _below(path: str, before: AvroType, after: AvroType) -> Iterator[tuple[str, AvroType, AvroType]]:
    if "union" in {before.kind, after.kind}:
        yield from _branches(path, before, after)
    elif before.kind == after.kind and before.parts:
        yield join(path, item_token(after)), before.parts[0], after.parts[0]
    elif before.kind == after.kind == "record":
        for field in after.fields:
            if found := field_before(field, before):
                yield join(path, field.name), found.type, field.type


def _branches(path: str, before: AvroType, after: AvroType) -> Iterator[tuple[str, AvroType, AvroType]]:
    old = before.parts if before.kind == "union" else [before]
    for branch in after.parts if after.kind == "union" else [after]:
        same = [each for each in old if each.kind == branch.kind]
        named = [each for each in same if each.short_name == branch.short_name or each.name in branch.aliases]
        if found := [*named, *(same if len(same) == 1 else ())]:
            yield path, found[0], branch
