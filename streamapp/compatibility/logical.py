"""Changes of logical types: they do not decide whether a schema can be read, and they can change what is read.

Sources: Avro specification 1.12, "Logical Types": implementations ignore an invalid logical type, and two decimals
match if their precisions and scales do; `SchemaCompatibility` of Avro 1.12 for Java, which compares none of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamapp.compatibility.pairs import pairs_of
from streamapp.compatibility.schema import AvroType


def logical_notes(old: AvroType, new: AvroType) -> Iterator[str]:
    """A sentence for each logical type that the new schema changes."""
    for path, before, after in pairs_of(old, new):
        if before.logical == after.logical:
            continue
        where = path or "the whole schema"
        changed = f"{where}: the logical type changes from {logical_text(before)} to {logical_text(after)}"
        if "decimal" in {before.logical.get("logicalType"), after.logical.get("logicalType")}:
            yield (
                f"{changed}. The specification wants equal precision and scale; Java and the registries ignore it,"
                " and consumers read other numbers."
            )
        else:
            yield f"{changed}. No rule forbids it, and consumers read the same bytes as another value."


def logical_text(type_: AvroType) -> str:
    """A logical type as messages name it: `decimal(8, 2)`, `timestamp-millis`, `none`."""
    if not type_.logical:
        return "none"
    precision, scale = type_.logical.get("precision"), type_.logical.get("scale", 0)
    name = str(type_.logical["logicalType"])
    return name if precision is None else f"{name}({precision}, {scale})"
