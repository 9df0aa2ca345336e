"""The collection `failed_offsets`: which offsets were dead letters, and which were counted out of order.

An event is counted once also after its document was deleted from `events` and its record is read again. A rollup knows
by its `offset` which events it counted in order. This collection knows the rest: a dead letter was not counted, and the
event that a replay made of it was counted out of order.

A document holds MAX_OFFSETS offsets of one partition:

    _id       "<topic id>:<partition>:<number of the document, 15 digits>"; the topic's name without a topic id
    failed    {word: bits}: the records that were dead letters at their first delivery
    counted   {word: bits}: the events that were counted out of order

Bits are only set, so each update may be repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple

import pymongo
from bson import Int64
from pymongo import UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from streamapp.model.record import PartitionId

COLLECTION = "failed_offsets"
#: Offsets in one document, and in one of its words.
MAX_OFFSETS, _WORD_BITS = 4_096, 32

Field = Literal["failed", "counted"]


class Marks(NamedTuple):
    """The marked offsets among those that were looked up."""

    failed: AbstractSet[int]
    counted: AbstractSet[int]


def updates(offsets: Mapping[PartitionId, Iterable[int]], field: Field) -> list[UpdateOne]:
    """The updates that mark offsets; one for each document."""
    bits: defaultdict[tuple[str, str], int] = defaultdict(int)
    for partition_id, marked in offsets.items():
        for offset in marked:
            number, bit = divmod(offset, MAX_OFFSETS)
            bits[_id(partition_id, number), str(bit // _WORD_BITS)] |= 1 << bit % _WORD_BITS
    words: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for (id_, word), mask in bits.items():
        words[id_][f"{field}.{word}"] = {"or": Int64(mask)}
    return [UpdateOne({"_id": id_}, {"$bit": masks}, upsert=True) for id_, masks in words.items()]


def find(
    collection: Collection[Any], partition_id: PartitionId, offsets: Iterable[int], session: ClientSession | None = None
) -> Marks:
    """The marks of some offsets of a partition."""
    wanted = {*offsets}
    ids = [_id(partition_id, number) for number in {offset // MAX_OFFSETS for offset in wanted}]
    documents = [*collection.find({"_id": {"$in": ids}}, session=session)]
    failed, counted = ({offset for each in documents for offset in _offsets(each, name)} for name in Marks._fields)
    return Marks(failed & wanted, counted & wanted)


def highest(collection: Collection[Any], partition_id: PartitionId) -> int:
    """The highest marked offset of a partition; -1 for none."""
    # ";" is the character after ":", so this range holds the documents of the partition and no others.
    start = f"{partition_id.topic_id}:{partition_id.partition}"
    query = {"_id": {"$gte": f"{start}:", "$lt": f"{start};"}}
    found = collection.find_one(query, sort=[("_id", pymongo.DESCENDING)])
    return -1 if found is None else max((*_offsets(found, "failed"), *_offsets(found, "counted")), default=-1)


def _id(partition_id: PartitionId, number: int) -> str:
    return f"{partition_id.topic_id}:{partition_id.partition}:{number:015d}"


def _offsets(document: Mapping[str, Any], name: str) -> Iterator[int]:
    start = int(document["_id"].rpartition(":")[2]) * MAX_OFFSETS
    for word, mask in document.get(name, {}).items():
        for bit in range(_WORD_BITS):
            if mask >> bit & 1:
                yield start + int(word) * _WORD_BITS + bit
