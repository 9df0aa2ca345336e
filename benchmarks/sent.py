"""The events that were sent to a topic, compared field by field with those that a program has stored."""

from __future__ import annotations

import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from pymongo.collection import Collection

from benchmarks.programs.documents import Decoder

_BATCH = 5_000
_GIVE_UP_AFTER_SECONDS = 300.0
#: The fields of an event that each document has, whichever program stored it; `metadata` has fields itself.
_FIELDS = ("user_id", "event_type", "event_timestamp", "browser", "schema_id")
_METADATA, _PLACE = "metadata", "kafka"


class SentEvents:
    """What was sent to a topic: hashes of the events, without and with their place in Kafka, eight bytes for each."""

    def __init__(self) -> None:
        self._events, self._placed = array("q"), array("q")

    def add(self, event: Mapping[str, Any], place: Mapping[str, Any]) -> None:
        """Add an event, and topic, partition, offset and timestamp of its record."""
        self._events.append(_hash(event))
        self._placed.append(_hash(event, place))

    def wrong(self, documents: Iterable[Mapping[str, Any]], *, with_place: bool) -> int:
        """How many documents are not a sent event, or are there more often than they were sent.

        Args:
            documents: the stored events.
            with_place: whether they must hold the place of their records, too.
        """
        if with_place:
            sent, stored = self._placed, (_hash(each, each.get(_PLACE, {})) for each in documents)
        else:
            sent, stored = self._events, (_hash(each) for each in documents)
        return (Counter(stored) - Counter(sent)).total()


def read(topic: str, events: int, *, partitions: int, consumer: Consumer, registry_url: str) -> SentEvents:
    """Read what was sent to a topic; the consumer is closed."""
    found, decoder = SentEvents(), Decoder(registry_url)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
    for message in _messages(consumer, events):
        place = {
            "topic": topic,
            "partition": message.partition(),
            "offset": message.offset(),
            "timestamp": message.timestamp()[1],
        }
        found.add(decoder.event(message.value() or b""), place)
    consumer.close()
    return found


def check(sent: SentEvents, collection: Collection[dict[str, Any]], *, with_place: bool) -> None:
    """Exit unless each stored event is a sent one, and none is stored more often than it was sent."""
    fields = [*_FIELDS, _METADATA, *([_PLACE] if with_place else [])]
    if wrong := sent.wrong(collection.find({}, fields), with_place=with_place):
        sys.exit(f"{wrong} stored events are not as they were sent: the figures are not valid")


def _messages(consumer: Consumer, count: int) -> Iterator[Message]:
    give_up_at = time.monotonic() + _GIVE_UP_AFTER_SECONDS
    while count > 0:
        messages = consumer.consume(min(count, _BATCH), timeout=1)
        yield from messages
        count -= len(messages)
        if time.monotonic() > give_up_at:
            sys.exit(f"{count} events are still to be read: given up")


def _hash(event: Mapping[str, Any], place: Mapping[str, Any] | None = None) -> int:
    """A hash of all fields; a field that is missing has its name as the value."""
    values = (*[event.get(name, name) for name in _FIELDS], *sorted(event.get(_METADATA, {}).items()))
    if place is None:
        return hash(values)
    at = place.get("timestamp")
    milliseconds = round(at.replace(tzinfo=UTC).timestamp() * 1000) if isinstance(at, datetime) else at
    return hash((values, place.get("topic"), place.get("partition"), place.get("offset"), milliseconds))
