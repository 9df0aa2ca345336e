"""The failed events, from the dead-letter topic: coordinates, number of failures, digests of key and value.

It takes some 300 bytes of memory for each dead letter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from streamapp.dlq.index import parse_letter
from streamapp.kafka.topic_reader import TopicReader
from streamapp.model.omitted import is_omitted, is_original
from streamapp.model.record import Origin, Record, UnreadableRecords
from streamapp.mongodb import dead_letter_counts
from streamapp.verify.checks import manifest
from streamapp.verify.checks.cut_record import CutRecord, cut_record_in

_ADVANCE_EVERY = 1_000


class Failure(NamedTuple):
    """An event that failed."""

    origin: Origin
    #: Digest of key and value; empty if two dead letters of the event differ.
    digest: bytes
    #: Reason of the first failure.
    reason: str
    #: See `manifest.value_content`.
    content: bytes
    #: The dead letter, if it was written without the value of its record.
    bare_letter: Record | None = None
    #: What the dead letter has of the record, if it may not have all of it.
    cut: CutRecord | None = None

    def is_of(self, record: Record) -> bool:
        """Whether its key and value are those of the record, as far as it has them."""
        if self.bare_letter is not None:
            return is_original(self.bare_letter, record)
        return self.digest == _digest(record) or self.is_cut_of(record)

    def is_cut_of(self, record: Record) -> bool:
        """Whether it has only a part of the record, which was compared."""
        return self.cut is not None and self.digest != _digest(record) and self.cut.is_of(record)


@dataclass(slots=True)
class FailureIndex:
    """Failures by the `_id` of the event, stored or not."""

    by_event_id: dict[str, Failure] = field(default_factory=dict[str, Failure])
    #: Event ids by reason and hour, as the collection `dead_letters` counts them.
    counted: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: Whether records of the dead-letter topic were deleted.
    is_truncated: bool = False
    #: Batches of the dead-letter topic that cannot be read.
    unreadable: list[str] = field(default_factory=list[str])
    _read_up_to: dict[int, int] = field(default_factory=dict[int, int])

    def read(self, reader: TopicReader, on_read: Callable[[int], None] = lambda _: None) -> None:
        """Add the records of the topic that were not read before."""
        for partition in reader.partitions():
            low, high = reader.bounds(partition)
            start = max(low, self._read_up_to.get(partition, low))
            self.is_truncated |= low > 0
            for record in _with_progress(reader.read(partition, start, high), on_read):
                if isinstance(record, UnreadableRecords):
                    self.unreadable.append(f"dead-letter topic, {record.place}")
                    self.is_truncated = True
                else:
                    self.add(record)
            self._read_up_to[partition] = high

    def add(self, record: Record) -> None:
        """Add a record of the dead-letter topic; ignore it if it is not a dead letter of streamapp."""
        if (letter := parse_letter(record)) is None:
            return
        content, cut = manifest.value_content(record.value), cut_record_in(record)
        failure = Failure(letter.origin, _digest(record), letter.reason, content, cut=cut)
        if is_omitted(record):
            failure = failure._replace(bare_letter=record)
        before = self.by_event_id.get(letter.event_id)
        self.by_event_id[letter.event_id] = failure if before is None else _merge(before, failure)
        self.counted[dead_letter_counts.key_of(letter.reason, letter.origin.timestamp)].add(letter.event_id)

    def counted_of(self, topic: str) -> Mapping[str, int]:
        """Return the number of failed events of an original topic by reason and hour."""
        return {
            key: sum(self.by_event_id[id_].origin.topic == topic for id_ in ids) for key, ids in self.counted.items()
        }


def _with_progress(records: Iterator[Record], on_read: Callable[[int], None]) -> Iterator[Record]:
    for done, record in enumerate(records, start=1):
        yield record
        if done % _ADVANCE_EVERY == 0:
            on_read(_ADVANCE_EVERY)


def _merge(before: Failure, failure: Failure) -> Failure:
    first = min(before, failure, key=lambda each: each.origin.failures)
    last = max(before, failure, key=lambda each: each.origin.failures)
    return first._replace(origin=last.origin, digest=last.digest if first.digest == last.digest else b"")


def _digest(record: Record) -> bytes:
    parts = (b"-" if part is None else b"%d+" % len(part) + part for part in (record.key, record.value))
    return blake2b(b"".join(parts), digest_size=8).digest()
