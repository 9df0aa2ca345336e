"""Recognise how other serializers say which schema a value has, for the error of a dead letter.

Only the Confluent wire format is read: byte 0, a schema id of four bytes, and the Avro body.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamapp.model.record import Reason

#: Reasons that another format leads to.
_REASONS = frozenset(
    {Reason.BAD_MAGIC_BYTE, Reason.TRUNCATED, Reason.UNKNOWN_SCHEMA_ID, Reason.UNDECODABLE, Reason.INCOMPATIBLE_SCHEMA}
)
_CONFLUENT_HEADER = "__value_schema_id"
_APICURIO_HEADERS = "apicurio.value."
_LONG_ID = 8
#: Apicurio counts its ids from 1. A larger number is the start of a body behind the id 0.
_MAX_LONG_ID = 2**24
_GLUE_HEADER_BYTES, _GLUE_VERSION, _GLUE_COMPRESSIONS = 18, 3, (0, 5)


def hint(reason: str, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> str:
    """Return the format that a record seems to have, and how its producer can be corrected; empty if unknown."""
    if reason not in _REASONS or not value:
        return ""
    names = [name for name, _ in headers or ()]
    if _CONFLUENT_HEADER in names:
        return (
            f"; the header {_CONFLUENT_HEADER} holds the schema id, as Confluent's HeaderSchemaIdSerializer writes it,"
            " which is not supported: set value.schema.id.serializer="
            "io.confluent.kafka.serializers.schema.id.PrefixSchemaIdSerializer in the producer"
        )
    if any(name.startswith(_APICURIO_HEADERS) for name in names):
        return (
            "; a header holds the schema id, as Apicurio Registry's serializer writes it, which is not supported: set"
            " apicurio.registry.headers.enabled=false and a four-byte id handler in the producer"
        )
    if _has_long_id(value):
        return (
            f"; the value seems to have an eight-byte schema id ({_long_id(value)}), as Apicurio Registry's serializer"
            " writes it, which is not supported: set a four-byte apicurio.registry.id-handler in the producer"
            " (io.apicurio.registry.serde.Legacy4ByteIdHandler in version 2, Default4ByteIdHandler in version 3)"
        )
    if len(value) >= _GLUE_HEADER_BYTES and value[0] == _GLUE_VERSION and value[1] in _GLUE_COMPRESSIONS:
        return "; the value seems to have the format of AWS Glue Schema Registry, which is not supported"
    return ""


def _long_id(value: bytes) -> int:
    return int.from_bytes(value[1 : 1 + _LONG_ID], "big")


def _has_long_id(value: bytes) -> bool:
    return len(value) > _LONG_ID and value[0] == 0 and 0 < _long_id(value) < _MAX_LONG_ID
