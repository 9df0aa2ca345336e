"""The keys of a rollup: its `_id`, and the keys under which it counts values.

A key is a value in which the characters with a meaning for MongoDB or for a cell are escaped: see `key_of`.
`value_of` returns the value of a key. A cell is the key of several dimensions together, see `cell_of`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote

from streamapp.model.record import PartitionId
from streamapp.model.user_event import CELL_DIMENSIONS, DIMENSIONS

#: A document as MongoDB returns it, or one to store.
Document = Mapping[str, Any]
D = TypeVar("D", bound=Document)

LG_K = 12
#: Distinct keys of one map in one document, besides OTHER; see `streamapp.rollups.frequent`.
MAX_KEYS = 100
#: Distinct cells in one document; see `streamapp.rollups.cells`.
MAX_CELLS = 1_000
#: Characters of a value; a longer one is cut.
MAX_KEY_LENGTH = 100

#: No value is escaped to these: "%" itself always becomes "%25".
NULL, OTHER = "%null", "%other"

#: In place of the key of a dimension that was added after the cell was stored.
ABSENT = "%absent"

#: Names of the maps whose keys make a cell, in its order; names of all maps, in the order of the document.
CUBE = tuple(each.plural for each in CELL_DIMENSIONS)
MAPS = tuple(each.plural for each in DIMENSIONS)

_ESCAPES = str.maketrans({character: f"%{ord(character):02X}" for character in "%.$|\0"})

#: The length of a topic id in an `_id`.
_TOPIC_ID_LENGTH = 22

#: The partition of documents that streamapp did not store.
FOREIGN = PartitionId("", -1)


def id_of(partition_id: PartitionId, bucket_ms: int) -> str:
    """The `_id` of a rollup."""
    return f"{partition_id.topic_id}:{partition_id.partition}:{bucket_ms}"


def partition_id_of(event: Document) -> PartitionId:
    """The partition whose rollups count an event document; FOREIGN for a document that streamapp did not store."""
    try:
        kafka, event_id = event["kafka"], str(event["_id"])
        ours = f"-{kafka['partition']}-{kafka['offset']}"
        # Without a topic id, the `_id` ends with the record's timestamp. After an offset that Kafka used again, it ends
        # with a timestamp and a checksum.
        topic_id = event_id[:_TOPIC_ID_LENGTH] if event_id.startswith(ours, _TOPIC_ID_LENGTH) else kafka["topic"]
        if event_id.endswith(ours):
            topic_id = event_id.removesuffix(ours)
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
    """The key under which a value is counted; no character in it has a meaning for MongoDB or for a cell."""
    if value is None:
        return NULL
    text = value if isinstance(value, str) else str(value)
    if len(text) > MAX_KEY_LENGTH:
        text = text[: MAX_KEY_LENGTH - 1] + "…"
    return text.translate(_ESCAPES)


def value_of(key: str) -> str | None:
    """The value of a key: None for null; OTHER and ABSENT stand for themselves."""
    if key == NULL:
        return None
    return key if key in {OTHER, ABSENT} else unquote(key)


def cell_of(keys: Iterable[str]) -> str:
    """The cell of a key of each of CUBE."""
    return "|".join(keys)


def keys_of(cell: str) -> Sequence[str]:
    """The keys in a cell, one of each of CUBE; a cell stored before a dimension existed has ABSENT for it."""
    keys = cell.split("|")
    return [*keys, *[ABSENT] * (len(CUBE) - len(keys))]
