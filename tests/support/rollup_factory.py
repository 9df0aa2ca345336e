"""Rollups of event documents, as a worker that stored them would have written them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pymongo import ReplaceOne
from pymongo.database import Database

from streamapp.model.record import PartitionId
from streamapp.rollups.keys import CUBE, NULL, by_partition, cell_of, id_of
from streamapp.rollups.levels import LEVELS, Level
from streamapp.rollups.pending import PendingCounts
from streamapp.rollups.rollup import Rollup
from tests.support.factories import NOW, TOPIC_ID

Document = dict[str, Any]


def an_event(offset: int, **changes: Any) -> Document:
    """Return the document of an event that came in partition 0."""
    document = {
        "_id": f"{TOPIC_ID}-0-{offset}",
        "user_id": f"user-{offset}",
        "event_type": "click",
        "event_timestamp": NOW,
        "metadata": {"device": "mobile", "location": "DE"},
        "browser": None,
        "schema_version": "v1",
        "kafka": {"topic": "user_events", "partition": 0, "offset": offset},
    }
    return document | changes


def a_cell(*keys: str) -> str:
    """Return the cell of these keys of the first dimensions; the others are null."""
    return cell_of([*keys, *[NULL] * (len(CUBE) - len(keys))])


def rollups(documents: Iterable[Document], level: Level) -> list[Document]:
    """Return the rollups of one level."""
    return [
        rollup
        for partition_id, of_partition in by_partition(sorted(documents, key=_offset)).items()
        for rollup in _of_partition(partition_id, of_partition, level)
    ]


def insert(database: Database[Any], documents: Sequence[Document]) -> None:
    """Store more events, and the rollups of all of them."""
    database["events"].insert_many(documents)
    everything = list(database["events"].find())
    for level in LEVELS:
        found = rollups(everything, level)
        database[level.collection].bulk_write([ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in found])


def _of_partition(partition_id: PartitionId, documents: Sequence[Document], level: Level) -> Iterable[Document]:
    offsets = {level.start_of(int(each["event_timestamp"])): _offset(each) for each in documents}
    for bucket_ms, delta in PendingCounts.of(documents).after(-1, level).items():
        rollup = Rollup(id_of(partition_id, bucket_ms))
        rollup.add(delta)
        rollup.offset = offsets[bucket_ms]
        yield rollup.document()


def _offset(document: Document) -> int:
    return document["kafka"]["offset"]
