"""The keys of a rollup: its `_id`, and the keys under which it counts values.

A key is a value in which the characters with a meaning for MongoDB or for a cell are escaped: see `key_of`.
`value_of` returns the value of a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

from streamapp.model.record import PartitionId

#: A document of MongoDB.
Document = Mapping[str, Any]
D = TypeVar("D", bound=Document)

LG_K = 12
#: Distinct keys of one map in one document; whatever comes after is counted under OTHER.
MAX_KEYS = 100
#: Distinct cells in one document; likewise.
MAX_CELLS = 1_000
#: Characters of a value; a longer one is cut.
MAX_KEY_LENGTH = 100

#: No value is escaped to these: "%" itself always becomes "%25".
NULL, OTHER = "%null", "%other"

#: The maps whose keys make a cell, in its order.
CUBE = ("types", "devices", "browsers", "versions")
MAPS = (*CUBE, "locations")

_ESCAPES = str.maketrans({character: f"%{ord(character):02X}" for character in "%.$|\0"})


#: Of documents that did not come by streamapp.
FOREIGN = PartitionId("", -1)


def id_of(partition_id: PartitionId, bucket_ms: int) -> str:
    """The `_id` of a rollup."""
    return f"{partition_id.topic_id}:{partition_id.partition}:{bucket_ms}"


def partition_id_of(event: Document) -> PartitionId:
    """The partition whose rollups count an event document; FOREIGN for a document that streamapp did not store."""
    try:
        kafka, event_id = event["kafka"], str(event["_id"])
        ours = f"-{kafka['partition']}-{kafka['offset']}"
        topic_id = event_id.removesuffix(ours) if event_id.endswith(ours) else kafka["topic"]
        # Without a topic id, the record's timestamp comes last.
        is_ours = event_id.startswith(f"{topic_id}{ours}") and isinstance(kafka["offset"], int)
        return PartitionId(topic_id, int(kafka["partition"])) if is_ours else FOREIGN
    except (KeyError, TypeError, ValueError):
        return FOREIGN


def by_partition(events: Iterable[D]) -> dict[PartitionId, list[D]]:
    """Event documents by their partition, in the order in which they are given."""
    partition_ids: dict[PartitionId, list[D]] = {}
    for event in events:
        partition_ids.setdefault(partition_id_of(event), []).append(event)
    return partition_ids


def key_of(value: object) -> str:
    """The key under which a value is counted: no character in it means anything to MongoDB or to a cell."""
    if value is None:
        return NULL
    text = value if isinstance(value, str) else str(value)
    if len(text) > MAX_KEY_LENGTH:
        text = text[: MAX_KEY_LENGTH - 1] + "…"
    return text.translate(_ESCAPES)


def value_of(key: str) -> str | None:
    """The value that a key stands for; None for a null, OTHER for those beyond the limit."""
    if key == NULL:
        return None
    return OTHER if key == OTHER else unquote(key)
