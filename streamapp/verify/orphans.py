"""Documents and dead letters at places where the topic has no record, found while workers go on.

A record is there before anything is made of it. So whatever lies beyond the known end of the topic is judged only once
the end has been asked again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from streamapp.kafka.topic_reader import TopicReader
from streamapp.mongodb.client import Mongo
from streamapp.verify.checks.offsets import Bits
from streamapp.verify.checks.verdict import PartitionFates

#: Ids that are read, and places that are judged, at the same time.
MAX_IDS_PER_QUERY = 5_000
_INCARNATION = 22
_PLACE = re.compile(r"(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})")
_COORDINATES = {"kafka.topic": 1, "kafka.partition": 1, "kafka.offset": 1}


class _Place(NamedTuple):
    """Where there should be a record, by what is said to be of it."""

    partition: int
    offset: int
    what: str = "a document without a record"
    is_document: bool = True


class OrphanSearch:
    """Looks for them in what a comparison has not read as records.

    Args:
        records: the offsets at which there are records, by partition, of all partitions that were there at the start.
        fates: where the findings go, by partition.
        nowhere: where those go that lie in no partition.
    """

    def __init__(  # noqa: PLR0913 - all that is known of the topic
        self,
        reader: TopicReader,
        mongo: Mongo,
        *,
        topic_id: str | None,
        is_compacted: bool,
        records: Mapping[int, Bits],
        fates: Mapping[int, PartitionFates],
        nowhere: PartitionFates,
    ) -> None:
        self._reader = reader
        self._events = mongo.primary["events"]
        self._topic_id = topic_id
        self._is_compacted = is_compacted
        self._records = records
        self._fates = fates
        self._nowhere = nowhere
        self._bounds: Mapping[int, tuple[int, int]] = {}

    def find(self, failed: Iterable[str], advance: Callable[[int], None]) -> None:
        """Judge all documents, and dead letters by the `_id` of their events; tells how many documents are read."""
        # Now that the records have been read: what was deleted meanwhile lies before the first that is left.
        self._bounds = self._ask_bounds()
        with self._events.find({}, {"_id": 1}, batch_size=MAX_IDS_PER_QUERY).hint([("_id", 1)]) as found:
            for documents in _chunks(found):
                self._judge(self._places_of([document["_id"] for document in documents]))
                advance(len(documents))
        for ids in _chunks(failed):
            places = (self._place_of(id_) for id_ in ids)
            self._judge(
                place._replace(what="a dead letter without a record", is_document=False) for place in places if place
            )

    def _place_of(self, id_: object) -> _Place | None:
        """The place of an `_id` of this topic id; None if it is another."""
        prefix = f"{self._topic_id}-"
        if self._topic_id is None or not isinstance(id_, str) or not id_.startswith(prefix):
            return None
        place = _PLACE.fullmatch(id_, len(prefix))
        return place and _Place(int(place[1]), int(place[2]))

    def _places_of(self, ids: Sequence[Any]) -> Iterator[_Place]:
        odd: list[Any] = []
        for id_ in ids:
            if place := self._place_of(id_):
                yield place
            elif "\ufffd" in str(id_):  # it could not be asked for
                self._nowhere.extra.add_placeless(f"_id {id_!r:.100} is not UTF-8")
            else:
                odd.append(id_)
        if odd:
            for document in self._events.find({"_id": {"$in": odd}}, _COORDINATES):
                if place := self._place_in(document["_id"], document.get("kafka")):
                    yield place

    def _place_in(self, id_: Any, kafka: Any) -> _Place | None:
        """The place that a document of another `_id` tells; None if there is nothing more to judge."""
        where = kafka if isinstance(kafka, dict) else {}
        topic, partition, offset = (where.get(name) for name in ("topic", "partition", "offset"))
        if not (isinstance(topic, str) and isinstance(partition, int) and isinstance(offset, int)):
            self._nowhere.extra.add_placeless(f"_id {id_!r:.100} has no coordinates")
            return None
        if topic != self._reader.topic:
            return None
        if _has_another_topic_id(id_, partition, offset):
            self._fates.get(partition, self._nowhere).older += 1
            return None
        if self._topic_id is None and str(id_).startswith(f"{topic}-{partition}-{offset}-"):
            return _Place(partition, offset)
        if self._has_record(partition, offset):
            self._fates[partition].double.add(offset, f"stored also as _id {id_!r:.100}")
            return None
        return _Place(partition, offset, f"a document without a record, _id {id_!r:.100}")

    def _has_record(self, partition: int, offset: int) -> bool:
        return partition in self._records and offset in self._records[partition]

    def _judge(self, places: Iterable[_Place]) -> None:
        strange = [place for place in places if not self._has_record(place.partition, place.offset)]
        if any(self._is_beyond(place) for place in strange):
            self._bounds = self._ask_bounds()
        for place in strange:
            self._judge_one(place)

    def _judge_one(self, place: _Place) -> None:
        if place.partition not in self._bounds:
            self._nowhere.extra.add(place.offset, f"{place.what}: there is no partition {place.partition}")
            return
        low, _ = self._bounds[place.partition]
        fates = self._fates.get(place.partition, self._nowhere)
        if place.offset < low or (self._is_compacted and self._is_within(place)):
            fates.older += place.is_document
        elif self._is_within(place) or self._is_beyond(place):
            where = "" if place.partition in self._fates else f" in partition {place.partition}"
            fates.extra.add(place.offset, f"{place.what}{where}")
        # Else it came meanwhile.

    def _is_within(self, place: _Place) -> bool:
        """Whether it lies where all records have been read."""
        return place.partition in self._records and place.offset < self._records[place.partition].end

    def _is_beyond(self, place: _Place) -> bool:
        """Whether the topic does not reach so far, as far as is known."""
        return place.partition not in self._bounds or place.offset >= self._bounds[place.partition][1]

    def _ask_bounds(self) -> Mapping[int, tuple[int, int]]:
        return {partition: self._reader.bounds(partition) for partition in self._reader.partitions()}


def _chunks(found: Iterable[Any]) -> Iterator[Sequence[Any]]:
    each = iter(found)
    while chunk := [*islice(each, MAX_IDS_PER_QUERY)]:
        yield chunk


def _has_another_topic_id(id_: Any, partition: int, offset: int) -> bool:
    """Whether it is the `_id` of these coordinates in an earlier topic id of the topic."""
    end = f"-{partition}-{offset}"
    return isinstance(id_, str) and len(id_) == _INCARNATION + len(end) and id_.endswith(end)
