"""The least number of bytes that a value of an Avro type takes.

A body with fewer bytes than its counts ask for is refused before any item is read; see `streamapp.decode.body_reader`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamapp.decode.avro_schema import AvroType, SchemaError

_LEAST = {"null": 0, "float": 4, "double": 8}
#: Of a record that contains itself in every value: none can be encoded.
UNLIMITED = 1 << 40
#: Records that contain each other may need several rounds, few in any schema that somebody uses.
_MAX_ROUNDS = 100


def encoded_size(type_: AvroType, records: Mapping[int, int]) -> int:
    """The least size of a type, by those of the records in it (see `record_sizes`)."""
    if type_.kind == "record":
        return records[id(type_)]
    if type_.kind == "union":
        return 1 + min((encoded_size(part, records) for part in type_.parts), default=UNLIMITED)
    if type_.kind == "fixed":
        return type_.size
    return _LEAST.get(type_.kind, 1)


def record_sizes(records: Sequence[AvroType]) -> Mapping[int, int]:
    """The least size of each record, by its `id`; given in the order of `ParsedSchema.records`.

    Raises:
        SchemaError: the records contain each other in too many ways.
    """
    sizes = {id(record): UNLIMITED for record in records}
    for _ in range(_MAX_ROUNDS):
        before = dict(sizes)
        for record in records:
            found = sum(encoded_size(type_, sizes) for _, type_ in record.fields)
            sizes[id(record)] = min(found, UNLIMITED)
        if sizes == before:
            return sizes
    message = f"after {_MAX_ROUNDS} rounds the least sizes of its records are not known: too many contain each other"
    raise SchemaError(message)
