"""Random schemas, changed versions of them, and random values that they describe."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

DEFAULTS: dict[str, Any] = {
    "null": None,
    "boolean": False,
    "int": 1,
    "long": 2**40,
    "float": 0.5,
    "double": 1e100,
    "bytes": "\u00ff",
    "string": "x",
}
PRIMITIVES = [*DEFAULTS]
VALUES: dict[str, SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    # Bytes that are read as a string must be UTF-8, which no comparison of schemas can know.
    "bytes": st.text(max_size=5).map(str.encode),
    "string": st.text(max_size=5),
}


@st.composite
def schemas(draw: DrawFn) -> Any:
    """A schema with up to four types within each other."""
    return _Names().draw(draw, 3)


@st.composite
def pairs(draw: DrawFn) -> tuple[Any, Any]:
    """A schema and a changed version of it, so that many pairs are compatible in one direction at least."""
    old = draw(schemas())
    return old, _change(draw, copy.deepcopy(old))


class _Names:
    """Draws schemas; every named type of one schema has a name of its own."""

    def __init__(self) -> None:
        self._count = 0

    def draw(self, draw: DrawFn, depth: int) -> Any:
        kinds = ["primitive", "enum", "fixed", *(["record", "record", "array", "map", "union"] if depth else [])]
        return getattr(self, f"_{draw(st.sampled_from(kinds))}")(draw, depth)

    def _name(self) -> str:
        self._count += 1
        return f"N{self._count}"

    def _primitive(self, draw: DrawFn, _depth: int) -> Any:
        return draw(st.sampled_from(PRIMITIVES))

    def _enum(self, draw: DrawFn, _depth: int) -> Any:
        made = {"type": "enum", "name": self._name(), "symbols": ["A", "B", "C"][: draw(st.integers(1, 3))]}
        return {**made, "default": "A"} if draw(st.booleans()) else made

    def _fixed(self, draw: DrawFn, _depth: int) -> Any:
        return {"type": "fixed", "name": self._name(), "size": draw(st.integers(1, 3))}

    def _array(self, draw: DrawFn, depth: int) -> Any:
        return {"type": "array", "items": self.draw(draw, depth - 1)}

    def _map(self, draw: DrawFn, depth: int) -> Any:
        return {"type": "map", "values": self.draw(draw, depth - 1)}

    def _union(self, draw: DrawFn, depth: int) -> Any:
        branches = {_key(each): each for each in (self.draw(draw, depth - 1) for _ in range(draw(st.integers(1, 3))))}
        return [each for each in branches.values() if not isinstance(each, list)] or ["null"]

    def _record(self, draw: DrawFn, depth: int) -> Any:
        name = self._name()
        fields = [{"name": f"f{n}", "type": self.draw(draw, depth - 1)} for n in range(draw(st.integers(0, 3)))]
        for field in fields:
            if isinstance(field["type"], str) and draw(st.booleans()):
                field["default"] = DEFAULTS[field["type"]]
        if draw(st.booleans()):
            fields.append({"name": "next", "type": ["null", name], "default": None})
        return {"type": "record", "name": name, "fields": fields}


def _key(type_: Any) -> str:
    if not isinstance(type_, dict):
        return str(type_)
    return type_.get("name") or type_["type"]


def _change(draw: DrawFn, type_: Any) -> Any:
    """Change some types at random; types that are not changed stay as they are."""
    if isinstance(type_, list):
        return _change_union(draw, type_)
    if isinstance(type_, str):
        changed = draw(st.sampled_from(PRIMITIVES)) if type_ in PRIMITIVES and _rarely(draw) else type_
    else:
        changed = getattr(_Changes, type_["type"])(draw, type_)
    return ["null", changed] if changed != "null" and _rarely(draw) else changed


def _rarely(draw: DrawFn) -> bool:
    return draw(st.integers(0, 5)) == 0


def _change_union(draw: DrawFn, branches: list[Any]) -> Any:
    changed = [_change(draw, each) for each in branches]
    kept = {_key(each): each for each in changed if not isinstance(each, list)}
    if _rarely(draw):
        kept |= {kind: kind for kind in draw(st.lists(st.sampled_from(PRIMITIVES), max_size=2))}
    if len(kept) > 1 and _rarely(draw):
        kept.pop(draw(st.sampled_from(sorted(kept))))
    return [*kept.values()] or ["null"]


class _Changes:
    """A change of each complex type."""

    @staticmethod
    def enum(draw: DrawFn, type_: Any) -> Any:
        symbols = draw(st.sampled_from([type_["symbols"], ["A"], ["A", "B"], ["A", "C"], ["A", "B", "C", "D"]]))
        made = {**type_, "symbols": symbols}
        if _rarely(draw):
            made.pop("default", None)
        return made

    @staticmethod
    def fixed(draw: DrawFn, type_: Any) -> Any:
        return {**type_, "size": type_["size"] + _rarely(draw)}

    @staticmethod
    def array(draw: DrawFn, type_: Any) -> Any:
        return {**type_, "items": _change(draw, type_["items"])}

    @staticmethod
    def map(draw: DrawFn, type_: Any) -> Any:
        return {**type_, "values": _change(draw, type_["values"])}

    @staticmethod
    def record(draw: DrawFn, type_: Any) -> Any:
        fields = [
            _Changes._field(draw, each) for each in type_["fields"] if each["name"] == "next" or not _rarely(draw)
        ]
        if _rarely(draw):
            kind = draw(st.sampled_from(PRIMITIVES))
            fields.append(
                {"name": "added", "type": kind, **({"default": DEFAULTS[kind]} if draw(st.booleans()) else {})}
            )
        return {**type_, "fields": draw(st.permutations(fields)) if _rarely(draw) else fields}

    @staticmethod
    def _field(draw: DrawFn, field: Any) -> Any:
        made = {**field, "type": field["type"] if field["name"] == "next" else _change(draw, field["type"])}
        if made["type"] != field["type"]:
            made.pop("default", None)
        if _rarely(draw):
            made |= {"name": f"new_{field['name']}", "aliases": [field["name"]]}
        return made


@st.composite
def values(draw: DrawFn, schema: Any) -> Any:
    """A value that a schema describes, as fastavro takes it."""
    return _value(draw, schema, {}, 0)


def _value(draw: DrawFn, type_: Any, named: dict[str, Any], depth: int) -> Any:
    if isinstance(type_, list):
        # Lists end after some items.
        branches = ["null"] if depth > 3 and "null" in type_ else type_
        return _value(draw, draw(st.sampled_from(branches)), named, depth + 1)
    if isinstance(type_, str):
        return draw(VALUES[type_]) if type_ in VALUES else _value(draw, named[type_], named, depth + 1)
    if "name" in type_:
        named[type_["name"]] = type_
    return _COMPLEX[type_["type"]](draw, type_, named, depth)


def _items(draw: DrawFn, type_: Any, named: dict[str, Any], depth: int) -> Any:
    return [_value(draw, type_["items"], named, depth + 1) for _ in range(draw(st.integers(0, 2)))]


def _entries(draw: DrawFn, type_: Any, named: dict[str, Any], depth: int) -> Any:
    keys = draw(st.sets(st.text(max_size=2), max_size=2))
    return {key: _value(draw, type_["values"], named, depth + 1) for key in sorted(keys)}


def _fields(draw: DrawFn, type_: Any, named: dict[str, Any], depth: int) -> Any:
    return {each["name"]: _value(draw, each["type"], named, depth) for each in type_["fields"]}


_COMPLEX: dict[str, Any] = {
    "record": _fields,
    "array": _items,
    "map": _entries,
    "enum": lambda draw, type_, *_: draw(st.sampled_from(type_["symbols"])),
    "fixed": lambda draw, type_, *_: draw(st.binary(min_size=type_["size"], max_size=type_["size"])),
}
