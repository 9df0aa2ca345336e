"""Parse a schema strictly: what the Avro specification does not allow is refused, with its place and the reason.

Apache Avro's Java library, and with it the registries, accepts some schemas that the specification refuses: a name
before its definition, a definition that is repeated word by word, letters outside ASCII in names, defaults that no
value of their type can have. A registered schema may be such a schema: its faults are notes.

Source: Avro specification 1.12, "Schema Declaration", "Complex Types", "Names" and "Aliases".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, cast

from streamapp.compatibility import defaults
from streamapp.compatibility.json_form import UnusableSchemaError, shown
from streamapp.compatibility.schema import (
    MISSING,
    PRIMITIVES,
    AvroType,
    Field,
    ParsedSchema,
    item_token,
    join,
    logical_of,
)

#: Types within types, unions included; more would exceed Python's stack.
MAX_NESTING: Final = 150

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ORDERS: Final = ("ascending", "descending", "ignore")
_MAX_FIXED: Final = 2**31


def parse(schema: Any, *, definitions: Sequence[Any] = (), is_registered: bool = False) -> ParsedSchema:
    """Parse a schema in JSON form.

    Args:
        schema: the schema.
        definitions: schemas that it refers to by name, each after the schemas that it refers to itself.
        is_registered: whether a registry has it, so that records are written with it: what only the specification
            refuses is a note.

    Raises:
        UnusableSchemaError: it is not a schema, or not a legal one.
    """
    parser = _Parser(is_registered=is_registered)
    try:
        for definition in definitions:
            parser.parse(definition, "", "", 0)
        root = parser.parse(schema, "", "", 0)
        parser.check_references()
        parser.check_defaults()
    except RecursionError:
        raise UnusableSchemaError("its types or default values are nested too deeply") from None
    return ParsedSchema(root=root, notes=tuple(dict.fromkeys(parser.notes)))


def _fail(path: str, problem: str) -> NoReturn:
    raise UnusableSchemaError(f"{path}: {problem}" if path else problem)


class _Parser:
    def __init__(self, *, is_registered: bool) -> None:
        self.notes: list[str] = []
        self._is_registered = is_registered
        #: By full name.
        self._named: dict[str, AvroType] = {}
        #: JSON forms of the definitions, by full name.
        self._definitions: dict[str, Any] = {}
        #: Names that are used before they are defined: full name → path, name as used, and type.
        self._forward: dict[str, tuple[str, str, AvroType]] = {}
        #: Checked once all types are complete: a default may be of a type that contains its field.
        self._defaults: list[tuple[str, Field]] = []
        self._complex: Mapping[str, Callable[[Mapping[str, Any], str, str, int], AvroType]] = {
            "record": self._record,
            "error": self._record,
            "enum": self._enum,
            "fixed": self._fixed,
            "array": self._container,
            "map": self._container,
        }

    def parse(self, schema: Any, path: str, namespace: str, depth: int) -> AvroType:
        """The type that a JSON value stands for, at a path, within a namespace."""
        if depth > MAX_NESTING:
            raise UnusableSchemaError(f"types are nested more than {MAX_NESTING} deep")
        if isinstance(schema, str):
            return self._resolved(schema, path, namespace)
        if isinstance(schema, list):
            return self._union(cast("list[Any]", schema), path, namespace, depth)
        if not isinstance(schema, dict):
            _fail(path, f"a type is a text, an object or an array, not {shown(schema)}")
        attributes = cast("dict[str, Any]", schema)
        kind = attributes.get("type", MISSING)
        if kind is MISSING:
            _fail(path, "an object without a type is not a schema")
        if kind in PRIMITIVES:
            return AvroType(str(kind), logical=logical_of(attributes))
        if isinstance(kind, str) and kind in self._complex:
            return self._complex[kind](attributes, path, namespace, depth)
        kinds = ", ".join((*PRIMITIVES, *self._complex))
        return _fail(path, f"the type of an object is one of {kinds}, not {shown(kind)}")

    def _resolved(self, name: str, path: str, namespace: str) -> AvroType:
        if name in PRIMITIVES:
            return AvroType(name)
        full = f"{namespace}.{name}" if namespace and "." not in name else name
        # As Java does: a name that the namespace does not have may be one without a namespace.
        found = self._named.get(full) or self._named.get(name)
        if found is not None:
            return found
        if full in self._forward:
            return self._forward[full][2]
        unresolved = AvroType("", full)
        self._forward[full] = path, name, unresolved
        return unresolved

    def check_references(self) -> None:
        """Refuse names that are not defined, or not before they are used."""
        for full, (path, name, unresolved) in self._forward.items():
            defined = self._named.get(full) or self._named.get(name)
            if defined is None:
                _fail(path, f"the type {shown(name)} is not defined")
            self._illegal(path, f"the type {shown(name)} is used before it is defined")
            for slot in AvroType.__dataclass_fields__:
                setattr(unresolved, slot, getattr(defined, slot))

    def check_defaults(self) -> None:
        """Refuse default values that do not fit their types."""
        for path, field in self._defaults:
            problem = defaults.problem_of(field.default, field.type)
            if problem is not None:
                self._illegal(path, f"the default {problem}")
            elif field.type.kind == "union" and defaults.first_branch_of(field.default, field.type):
                self.notes.append(
                    f"{path}: the default {shown(field.default)} does not fit the first branch of the union;"
                    " Avro libraries before 1.12 refuse it"
                )

    def _illegal(self, path: str, problem: str) -> None:
        if not self._is_registered:
            _fail(path, problem)
        self.notes.append(f"{path}: {problem}" if path else problem)

    # Named types

    def _define(self, kind: str, attributes: Mapping[str, Any], path: str, namespace: str) -> tuple[AvroType, bool]:
        """The type that an object defines, and whether it was defined before, word by word as now."""
        space, full = self._full_name(kind, attributes, path, namespace)
        if full in self._named:
            if attributes != self._definitions[full]:
                _fail(path, f"{full} is defined twice")
            self._illegal(path, f"{full} is defined twice")
            return self._named[full], True
        made = AvroType(kind, full, doc=_doc(attributes), logical=logical_of(attributes))
        made.aliases = [
            f"{space}.{alias}" if space and "." not in alias else alias for alias in _aliases(attributes, path)
        ]
        self._named[full], self._definitions[full] = made, attributes
        return made, False

    def _full_name(self, kind: str, attributes: Mapping[str, Any], path: str, namespace: str) -> tuple[str, str]:
        name, own = attributes.get("name"), attributes.get("namespace")
        if not isinstance(name, str) or not name:
            _fail(path, f"a type {kind} needs a name, and has {shown(name)}")
        if not isinstance(own, str | None):
            _fail(path, f"the namespace of {name} is a text, not {shown(own)}")
        space, _, short = name.rpartition(".")
        if "." not in name:
            space = namespace if own is None else own
        full = f"{space}.{short}" if space else short
        for part in full.split("."):
            self._check_name(part, path, f"the name {shown(full)}")
        if short in PRIMITIVES:
            self._illegal(path, f"the name {shown(full)} is that of a primitive type")
        return space, full

    def _check_name(self, name: str, path: str, what: str) -> None:
        if _NAME.fullmatch(name):
            return
        problem = f"{what} is illegal: names have letters A to Z, digits and _, and do not begin with a digit"
        if name.isidentifier():
            self._illegal(path, problem)
        else:
            _fail(path, problem)

    def _record(self, attributes: Mapping[str, Any], path: str, namespace: str, depth: int) -> AvroType:
        made, is_known = self._define("record", attributes, path, namespace)
        fields = attributes.get("fields")
        if not isinstance(fields, list):
            _fail(path, f"the record {made.name} needs an array of fields")
        if is_known:
            return made
        space = made.name.rpartition(".")[0]
        made.fields = [self._field(each, made, path, space, depth) for each in cast("list[Any]", fields)]
        self._check_unique("field", [each.name for each in made.fields], made, path)
        self._note_aliases(made, path)
        return made

    def _note_aliases(self, record: AvroType, path: str) -> None:
        names = {each.name for each in record.fields}
        for each in record.fields:
            self.notes += [
                f"{join(path, each.name)}: the alias {shown(alias)} is also the name of a field, so that readers differ"
                for alias in each.aliases
                if alias in names
            ]

    def _field(self, attributes: Any, record: AvroType, path: str, namespace: str, depth: int) -> Field:
        if not isinstance(attributes, dict):
            _fail(path, f"a field of {record.name} is an object, not {shown(attributes)}")
        found = cast("dict[str, Any]", attributes)
        name = found.get("name")
        if not isinstance(name, str):
            _fail(path, f"a field of {record.name} needs a name, and has {shown(name)}")
        path = join(path, name)
        self._check_name(name, path, f"the name {shown(name)} of a field")
        if "type" not in found:
            _fail(path, "the field has no type")
        order = found.get("order", "ascending")
        if order not in _ORDERS:
            problem = f"the order of a field is one of {', '.join(_ORDERS)}, not {shown(order)}"
            if str(order).lower() not in _ORDERS:
                _fail(path, problem)
            self._illegal(path, problem)
        made = Field(
            name=name,
            type=self.parse(found["type"], path, namespace, depth + 1),
            aliases=_aliases(found, path),
            default=found.get("default", MISSING),
            doc=_doc(found),
            order=order,
        )
        if "logicalType" in found and not made.type.logical:
            self.notes.append(f"{path}: the logicalType of a field has no effect; it is an attribute of its type")
        if made.has_default:
            self._defaults.append((path, made))
        return made

    def _check_unique(self, what: str, names: Sequence[str], type_: AvroType, path: str) -> None:
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            _fail(path, f"{type_} has the {what} {shown(twice)} twice")

    def _enum(self, attributes: Mapping[str, Any], path: str, namespace: str, _depth: int) -> AvroType:
        made, _ = self._define("enum", attributes, path, namespace)
        symbols = attributes.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(each, str) for each in cast("list[Any]", symbols)):
            _fail(path, f"{made} needs an array of symbols, which are texts")
        made.symbols = [*cast("list[str]", symbols)]
        for symbol in made.symbols:
            self._check_name(symbol, path, f"the symbol {shown(symbol)} of {made}")
        self._check_unique("symbol", made.symbols, made, path)
        default = attributes.get("default")
        if default is not None and default not in made.symbols:
            _fail(path, f"the default {shown(default)} of {made} is not one of its symbols")
        made.default_symbol = default
        return made

    def _fixed(self, attributes: Mapping[str, Any], path: str, namespace: str, _depth: int) -> AvroType:
        made, _ = self._define("fixed", attributes, path, namespace)
        size = attributes.get("size")
        if type(size) is not int or not 0 <= size < _MAX_FIXED:
            _fail(path, f"{made} needs a size in bytes, an integer from 0 on, and has {shown(size)}")
        made.size = size
        return made

    # Unnamed types

    def _container(self, attributes: Mapping[str, Any], path: str, namespace: str, depth: int) -> AvroType:
        made = AvroType(str(attributes["type"]), logical=logical_of(attributes))
        key = "items" if made.kind == "array" else "values"
        if key not in attributes:
            _fail(path, f"a type {made.kind} needs {key}")
        made.parts = [self.parse(attributes[key], join(path, item_token(made)), namespace, depth + 1)]
        return made

    def _union(self, branches: Sequence[Any], path: str, namespace: str, depth: int) -> AvroType:
        made = AvroType("union", parts=[self.parse(branch, path, namespace, depth + 1) for branch in branches])
        if any(part.kind == "union" for part in made.parts):
            _fail(path, "a union has a union as a branch")
        self._check_unique("branch", [part.name or part.kind for part in made.parts], made, path)
        return made


def _doc(attributes: Mapping[str, Any]) -> str:
    doc = attributes.get("doc", "")
    return doc if isinstance(doc, str) else ""


def _aliases(attributes: Mapping[str, Any], path: str) -> list[str]:
    aliases = attributes.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(each, str) for each in cast("list[Any]", aliases)):
        _fail(path, f"aliases are an array of texts, not {shown(aliases)}")
    return [*cast("list[str]", aliases)]
