"""All dead letters, as far as a comparison needs them: whose they are, a digest of their bytes, how often they failed.

It takes memory for each dead letter, some 300 bytes; nothing for any other record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from streamapp.dlq.index import parse_letter
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.record import Origin, Record
from streamapp.mongodb import dead_letter_counts
from streamapp.verify.checks import manifest

_TOLD_EVERY = 1_000


class Failure(NamedTuple):
    """What is known of an event that failed."""

    origin: Origin
    #: Of key and value; of no use where two letters of the same event differ.
    digest: bytes
    #: Why it failed first.
    reason: str
    #: See `sent.of_value`.
    content: bytes

    def is_of(self, record: Record) -> bool:
        """Whether its bytes are those of the record."""
        return self.digest == _digest(record)


@dataclass(slots=True)
class LetterIndex:
    """What has failed, by the `_id` that the event has, or would have."""

    failures: dict[str, Failure] = field(default_factory=dict[str, Failure])
    #: Ids of the events counted by reason and hour, as in the collection `dead_letters`.
    counted: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Whether dead letters have been deleted from their topic.
    is_cut: bool = False
    _read_upto: dict[int, int] = field(default_factory=dict[int, int])

    def read(self, reader: TopicReader, on_read: Callable[[int], None] = lambda _: None) -> None:
        """Add all that is in the topic and was not read before."""
        for partition in reader.partitions():
            low, high = reader.bounds(partition)
            start = max(low, self._read_upto.get(partition, low))
            self.is_cut |= low > 0
            for record in _counted(reader.read(partition, start, high), on_read):
                self.add(record)
            self._read_upto[partition] = high

    def add(self, record: Record) -> None:
        """Add one record of the dead-letter topic; what is no dead letter of ours is left out."""
        if (letter := parse_letter(record)) is None:
            return
        failure = Failure(letter.origin, _digest(record), letter.reason, manifest.of_value(record.value))
        before = self.failures.get(letter.event_id)
        self.failures[letter.event_id] = failure if before is None else _both(before, failure)
        self.counted[dead_letter_counts.key_of(letter.reason, letter.origin.timestamp)].add(letter.event_id)

    def counted_of(self, topic: str) -> Mapping[str, int]:
        """How many events of a topic must be counted; one of another may have come here as a replay, or by mistake."""
        return {key: sum(self.failures[id_].origin.topic == topic for id_ in ids) for key, ids in self.counted.items()}


def _counted(records: Iterator[Record], on_read: Callable[[int], None]) -> Iterator[Record]:
    for done, record in enumerate(records, start=1):
        yield record
        if done % _TOLD_EVERY == 0:
            on_read(_TOLD_EVERY)


def _both(before: Failure, failure: Failure) -> Failure:
    first = min(before, failure, key=lambda each: each.origin.failures)
    last = max(before, failure, key=lambda each: each.origin.failures)
    return first._replace(origin=last.origin, digest=last.digest if first.digest == last.digest else b"")


def _digest(record: Record) -> bytes:
    parts = (b"-" if part is None else b"%d+" % len(part) + part for part in (record.key, record.value))
    return blake2b(b"".join(parts), digest_size=8).digest()
