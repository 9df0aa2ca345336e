"""A schema as a tree of types with resolved names, as the comparison of schemas needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

PRIMITIVES: Final = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
#: Attributes of a logical type.
_LOGICAL = ("logicalType", "precision", "scale")

#: In place of a default value that a field does not have; None is the default `null`.
MISSING: Final = object()


@dataclass(slots=True, eq=False, repr=False)
class AvroType:
    """A type of a schema; a recursive type contains itself."""

    #: A primitive type, record, enum, fixed, array, map or union.
    kind: str
    #: Full name of a record, an enum or a fixed.
    name: str = ""
    #: Full names.
    aliases: Sequence[str] = ()
    doc: str = ""
    #: `logicalType`, `precision` and `scale`, as far as the schema has them.
    logical: Mapping[str, Any] = field(default_factory=dict)
    #: Bytes of a fixed.
    size: int = 0
    #: Of an enum.
    symbols: Sequence[str] = ()
    #: Symbol of an enum that a reader takes for a symbol that it does not know.
    default_symbol: str | None = None
    #: Of a record.
    fields: Sequence[Field] = ()
    #: Of a union its branches; of an array or a map its only item.
    parts: Sequence[AvroType] = ()

    @property
    def short_name(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition(".")[2]

    def __str__(self) -> str:
        """The type as messages name it: `int`, `[null, string]`, `record streamapp.Metadata`."""
        if self.kind == "union":
            return f"[{', '.join(map(str, self.parts))}]"
        if self.kind in {"array", "map"}:
            return f"{self.kind} of {self.parts[0]}"
        return f"{self.kind} {self.name}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Field:
    """A field of a record."""

    name: str
    type: AvroType
    aliases: Sequence[str] = ()
    #: In JSON form; MISSING if it has none.
    default: Any = MISSING
    doc: str = ""
    order: str = "ascending"

    @property
    def has_default(self) -> bool:
        """Whether a reader can fill the field if the writer does not have it."""
        return self.default is not MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSchema:
    """A usable schema."""

    root: AvroType
    #: What is legal, but not what the author is likely to mean; each a sentence.
    notes: Sequence[str] = ()


def logical_of(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes of a type that belong to its logical type; empty if it has none."""
    return {key: attributes[key] for key in _LOGICAL if key in attributes} if "logicalType" in attributes else {}


def item_token(type_: AvroType) -> str:
    """What a path has for the items of a type: `[]` of an array, `{}` of a map, nothing for the branches of a union."""
    return {"array": "[]", "map": "{}"}.get(type_.kind, "")


def join(path: str, token: str) -> str:
    """A path and the path below it: `metadata` and `device` are `metadata.device`, `tags` and `[]` are `tags[]`."""
    return f"{path}.{token}" if path and token and token[0] not in "[{" else f"{path}{token}"
